"""Inference on the embedded models, through the whole server and the official client."""

from collections.abc import Iterator
from typing import Any

import openai
import pytest
from tests.support.embedded import CHAT, EMBEDDING
from tests.support.server import Server

pytestmark = [pytest.mark.model, pytest.mark.timeout(300)]

CAPITAL: Any = [{"role": "user", "content": "What is the capital of France?"}]


@pytest.fixture
def client(embedded: Server) -> Iterator[openai.AzureOpenAI]:
    with embedded.sdk(timeout=120) as one:
        yield one


def dot(one: list[float], other: list[float]) -> float:
    """The cosine of two vectors of length 1."""
    return sum(a * b for a, b in zip(one, other, strict=True))


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
        client.chat.completions.create(model=CHAT, messages=CAPITAL, logit_bias={"5": 1})

    assert refused.value.param == "logit_bias"


def test_the_embedded_models_are_listed_with_what_they_can(client):
    listed = {model.id: model.model_dump() for model in client.models.list()}

    assert listed[CHAT]["capabilities"]["chat_completion"]
    assert listed[EMBEDDING]["capabilities"]["embeddings"]
    assert listed["gpt-4o-mini-2024-07-18"]["model"] == CHAT
