"""Inference on the embedded models, through the whole server and the official client."""

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest
from tests.support.embedded import CHAT, EMBEDDING, engine_host, models_folder, pulled
from tests.support.files import until
from tests.support.server import Server, running_server

from linarite.engines.client import Engines
from linarite.engines.place import host_socket

pytestmark = [pytest.mark.model, pytest.mark.timeout(300)]

CAPITAL: Any = [{"role": "user", "content": "What is the capital of France?"}]
STORY: Any = [{"role": "user", "content": "Tell me a long story about a king and his seven sons."}]


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Both embedded models, and an alias of the first."""
    pulled(CHAT)
    pulled(EMBEDDING)
    folder = tmp_path_factory.mktemp("embedded")
    aliases = {"gpt-4o-mini-2024-07-18": CHAT}
    with (
        engine_host(folder),
        running_server(folder, models_dir=models_folder(), aliases=aliases) as running,
    ):
        yield running


@pytest.fixture
def client(embedded: Server) -> Iterator[openai.AzureOpenAI]:
    with embedded.sdk(timeout=120) as one:
        yield one


def dot(one: list[float], other: list[float]) -> float:
    """The cosine of two vectors of length 1."""
    return sum(a * b for a, b in zip(one, other, strict=True))


def answers_in_the_making(server: Server) -> int:
    """What the chat model's engine works on, or will."""

    async def ask() -> int:
        async with Engines(host_socket(server.settings.data)) as engines:
            engine = await engines.reach(pulled(CHAT))
            return sum((await engine.in_use()).values())

    return asyncio.run(ask())


@pytest.mark.parametrize("name", [CHAT, "gpt-4o-mini-2024-07-18"])
def test_a_real_model_answers_under_its_own_name_and_an_alias(client, name):
    answer = client.chat.completions.create(
        model=name, messages=CAPITAL, temperature=0, max_tokens=24
    )

    assert "Paris" in (answer.choices[0].message.content or "")
    assert answer.model == CHAT
    assert answer.usage is not None
    assert answer.usage.completion_tokens <= 24


def test_its_stream_says_what_its_whole_answer_says(client):
    asked = {"model": CHAT, "messages": CAPITAL, "temperature": 0, "max_tokens": 16}
    whole = client.chat.completions.create(**asked)

    stream = client.chat.completions.create(
        **asked, stream=True, stream_options={"include_usage": True}
    )

    chunks = list(stream)
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert text == whole.choices[0].message.content
    assert chunks[-1].usage == whole.usage
    assert {chunk.model for chunk in chunks} == {CHAT}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_a_caller_who_leaves_frees_the_engine_within_a_second(embedded, client, stream):
    client.chat.completions.create(model=CHAT, messages=CAPITAL, max_tokens=1)  # it runs now
    url = f"/openai/deployments/{CHAT}/chat/completions"
    body = {"messages": STORY, "max_tokens": 2000, "stream": stream}

    with embedded.client() as caller:
        if stream:
            with caller.stream("POST", url, json=body) as answer:
                next(answer.iter_bytes())
                assert answers_in_the_making(embedded) == 1
        else:
            with pytest.raises(httpx.ReadTimeout):
                caller.post(url, json=body, timeout=0.3)
    left = time.monotonic()

    until(lambda: answers_in_the_making(embedded) == 0, "the slot is free")
    assert time.monotonic() - left < 1


def test_like_texts_have_like_embeddings(client):
    texts = ["eating food", "having a meal", "the orbit of Mars"]

    answer = client.embeddings.create(model=EMBEDDING, input=texts)

    food, meal, mars = (item.embedding for item in answer.data)
    assert len(food) == 384
    assert dot(food, meal) > 0.6 > dot(food, mars)


def test_a_chat_beyond_the_context_is_refused_in_openais_words(client):
    messages: Any = [{"role": "user", "content": "word " * 9000}]

    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(model=CHAT, messages=messages)

    assert (refused.value.code, refused.value.param) == ("context_length_exceeded", "messages")


def test_what_its_engine_cannot_is_refused_before_the_engine_hears_of_it(client):
    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(
            model=CHAT, messages=CAPITAL, response_format={"type": "json_object"}
        )

    assert refused.value.param == "response_format"


def test_the_embedded_models_are_listed_with_what_they_can(client):
    listed = {model.id: model.model_dump() for model in client.models.list()}

    assert listed[CHAT]["capabilities"]["chat_completion"]
    assert listed[EMBEDDING]["capabilities"]["embeddings"]
    assert listed["gpt-4o-mini-2024-07-18"]["model"] == CHAT
