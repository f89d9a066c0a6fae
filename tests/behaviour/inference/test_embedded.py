"""Inference on the embedded models, through the whole server and the official client."""

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import openai
import pytest
from tests.support.embedded import CHAT, EMBEDDING, engine_host, models_folder, pulled
from tests.support.server import Server, running_server
from tokenizers import Tokenizer

from linarite.engines import architecture, reference
from linarite.engines.installed import folder_of

pytestmark = [pytest.mark.model, pytest.mark.timeout(300)]

CAPITAL: Any = [{"role": "user", "content": "What is the capital of France?"}]


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


def own_logprobs(prompt: str, said: list[str]) -> list[float]:
    """What the model itself gives an answer's tokens, computed in 32 bits without an engine."""
    folder = folder_of(models_folder(), CHAT) / "hf"
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    asked = tokenizer.encode(prompt).ids
    names = [token.replace(" ", "\u0120").replace("\n", "\u010a") for token in said]
    answered = [tokenizer.token_to_id(name) for name in names]
    arch = architecture.from_hf_config(json.loads((folder / "config.json").read_text()))
    logits = reference.logits(arch, folder, [asked + answered])[0][len(asked) - 1 : -1]
    logits -= logits.max(axis=-1, keepdims=True)
    logprobs = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
    return [float(logprobs[at, token]) for at, token in enumerate(answered)]


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


def test_logprobs_are_the_models_own_however_tokens_are_chosen(client):
    prompt = "Every morning the fox"
    chosen = {"temperature": 1.4, "top_p": 0.8, "presence_penalty": 1.5, "seed": 4}

    answer = client.completions.create(
        model=CHAT, prompt=prompt, max_tokens=12, logprobs=0, **chosen
    )

    told, text = answer.choices[0].logprobs, answer.choices[0].text
    assert "".join(told.tokens) == text
    assert all(
        text.startswith(token, start)
        for token, start in zip(told.tokens, told.text_offset, strict=True)
    )
    expected = own_logprobs(prompt, told.tokens)
    assert told.token_logprobs == pytest.approx(expected, abs=0.4)  # it computes in 16 bits


def test_a_streams_logprobs_are_those_of_the_whole_answer_and_end_with_its_text(client):
    asked: Any = {"model": CHAT, "temperature": 0, "max_tokens": 24, "logprobs": True}
    asked["messages"] = [{"role": "user", "content": "Say hello in Japanese and add an emoji."}]
    for stop in (None, ["\u30c3"]):
        whole = client.chat.completions.create(**asked, stop=stop).choices[0]
        stream = client.chat.completions.create(**asked, stop=stop, stream=True)

        choices = [chunk.choices[0] for chunk in stream]
        streamed = [one for choice in choices if choice.logprobs for one in choice.logprobs.content]
        told = whole.logprobs.content
        assert [one.token for one in streamed] == [one.token for one in told]
        written = b"".join(bytes(one.bytes) for one in told).decode("utf-8", "ignore")
        assert written == whole.message.content
        assert all(one.top_logprobs == [] and one.logprob <= 0 for one in told)


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
