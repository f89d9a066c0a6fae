"""Inference on the embedded models, through the whole server and the official client."""

import asyncio
import base64
import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import numpy as np
import openai
import pytest
from tests.support.embedded import CHAT, EMBEDDING, models_folder, pulled
from tests.support.files import until
from tests.support.server import Server
from tokenizers import Tokenizer

from linarite.engines import architecture, reference
from linarite.engines.client import Engines
from linarite.engines.installed import folder_of
from linarite.engines.place import host_socket

pytestmark = [pytest.mark.model, pytest.mark.timeout(300)]

CAPITAL: Any = [{"role": "user", "content": "What is the capital of France?"}]
STORY: Any = [{"role": "user", "content": "Tell me a long story about a king and his seven sons."}]


@pytest.fixture
def client(embedded: Server) -> Iterator[openai.AzureOpenAI]:
    with embedded.sdk(timeout=120) as one:
        yield one


def engines_of(server: Server, model_id: str) -> list[dict[str, Any]]:
    """The engines that run for a model, as their host tells it."""

    async def asked() -> list[dict[str, Any]]:
        async with Engines(host_socket(server.settings.data)) as engines:
            return await engines.state()

    return [engine for engine in asyncio.run(asked()) if engine["id"] == model_id]


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


def test_its_answers_tell_nothing_of_the_connection_to_its_engine(embedded):
    with embedded.client() as client:
        answer = client.post(
            f"/openai/deployments/{CHAT}/chat/completions",
            json={"messages": CAPITAL, "max_tokens": 1},
        )

    assert answer.status_code == 200
    assert len(answer.headers.get_list("date")) == 1
    assert not {"server", "connection"} & answer.headers.keys()


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


def said_by(client: openai.AzureOpenAI, **asked: Any) -> tuple[Any, ...]:
    """What a deterministic deployment says of itself and answers, to the last bit."""
    request = {"model": "exact", "messages": CAPITAL, "max_tokens": 16, "logprobs": True}
    answer = client.chat.completions.create(**request | asked)
    said = [choice.model_dump_json() for choice in answer.choices]
    return answer.system_fingerprint, *said, answer.usage.model_dump_json()


@pytest.mark.slow
def test_a_deterministic_deployment_says_the_same_whatever_else_is_done(client, embedded):
    """Beside chats with the same model's other engine, and by a new engine."""
    once = said_by(client, n=2, seed=3)
    is_over = threading.Event()

    def compete(number: int) -> None:
        while not is_over.is_set():
            asked: Any = [{"role": "user", "content": f"Tell me {number} stories of the sea."}]
            client.chat.completions.create(model=CHAT, messages=asked, max_tokens=30)

    with ThreadPoolExecutor(10) as pool:
        others = [pool.submit(compete, number) for number in range(8)]
        try:
            # two at a time, so that one waits for the other
            again = list(pool.map(lambda _: said_by(client, n=2, seed=3), range(20)))
        finally:
            is_over.set()
        for other in others:
            other.result()
    leaving = client.chat.completions.create(
        model="exact", messages=CAPITAL, max_tokens=500, temperature=2, stream=True
    )
    next(iter(leaving))
    leaving.close()
    after_a_client_left = said_by(client, n=2, seed=3)
    engine = {one["deterministic"]: one for one in engines_of(embedded, CHAT)}[True]
    os.kill(engine["pid"], signal.SIGKILL)
    by_a_new_engine = said_by(client.with_options(max_retries=5), n=2, seed=3)

    assert {*again, after_a_client_left, by_a_new_engine} == {once}
    assert once[0].endswith("_deterministic")
    assert once[1] != once[2]  # each of the answers has a seed of its own


def test_a_deterministic_deployment_without_a_seed_takes_always_the_same(client):
    assert said_by(client) == said_by(client)
    assert said_by(client, seed=0) == said_by(client)
    assert said_by(client, seed=5) != said_by(client)


def test_a_stored_chat_of_a_deterministic_deployment_has_the_seed_that_it_took(client):
    chats = client.chat.completions

    answer = chats.create(model="exact", messages=CAPITAL, max_tokens=1, store=True)

    assert chats.retrieve(answer.id).seed == 0


def test_a_deterministic_deployments_vectors_do_not_depend_on_what_stands_beside_them(client):
    texts = ["a", "the orbit of Mars " * 30, "eating food"]

    together = client.embeddings.create(model="exact-vectors", input=texts).data
    alone = [client.embeddings.create(model="exact-vectors", input=t).data[0] for t in texts]

    assert [one.embedding for one in together] == [one.embedding for one in alone]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_a_caller_who_leaves_frees_the_engine_within_a_second(embedded, client, stream):
    client.chat.completions.create(model=CHAT, messages=CAPITAL, max_tokens=1)  # it runs now
    url = f"/openai/deployments/{CHAT}/chat/completions"
    # drawn at random, some stories are over before somebody looks
    body = {"messages": STORY, "max_tokens": 2000, "temperature": 0, "stream": stream}

    with embedded.client() as caller:
        if stream:
            with caller.stream("POST", url, json=body) as answer:
                next(answer.iter_bytes())
                until(lambda: answers_in_the_making(embedded) == 1, "the answer is being made")
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


@pytest.mark.parametrize("prompt", ["Once upon a time", [504, 1977, 282]])
def test_an_echo_stands_before_each_answer_streamed_or_whole(client, prompt):
    asked: Any = {"model": "exact", "prompt": prompt, "max_tokens": 6, "n": 2}
    plain = client.completions.create(**asked)

    whole = client.completions.create(**asked, echo=True)
    stream = client.completions.create(**asked, echo=True, stream=True)

    streamed = ["", ""]
    for chunk in stream:
        streamed[chunk.choices[0].index] += chunk.choices[0].text
    said = [choice.text for choice in whole.choices]
    echo = said[0].removesuffix(plain.choices[0].text)
    assert said == [echo + choice.text for choice in plain.choices] == streamed
    assert echo == (prompt if isinstance(prompt, str) else "The story of")
    assert whole.usage == plain.usage


def test_the_best_of_several_has_the_likeliest_tokens(client):
    asked: Any = {"model": "exact", "prompt": "Once upon", "max_tokens": 6, "seed": 2}
    every = client.completions.create(**asked, n=4, logprobs=0)

    best = client.completions.create(**asked, n=2, best_of=4)

    def mean(choice: Any) -> float:
        return sum(choice.logprobs.token_logprobs) / len(choice.logprobs.token_logprobs)

    ranked = sorted(every.choices, key=mean, reverse=True)
    assert [one.text for one in best.choices] == [one.text for one in ranked[:2]]
    assert [one.index for one in best.choices] == [0, 1]
    assert best.usage == every.usage


@pytest.mark.parametrize("penalty", ["presence_penalty", "frequency_penalty"])
def test_a_penalty_keeps_the_model_from_repeating_itself(client, penalty):
    asked: Any = {"model": CHAT, "prompt": "la la la la la la la la", "max_tokens": 16}
    asked |= {"temperature": 0, "logprobs": 0}

    def most_repeated(**more: float) -> int:
        tokens = client.completions.create(**asked, **more).choices[0].logprobs.tokens
        return max(map(tokens.count, tokens))

    assert most_repeated(**{penalty: 2}) < most_repeated()


def test_token_lists_are_the_models_own(client):
    words = Tokenizer.from_file(str(folder_of(models_folder(), EMBEDDING) / "hf/tokenizer.json"))
    texts = ["eating food", "the orbit of Mars"]
    lists = [words.encode(text).ids for text in texts]
    lists = [[token for token in tokens if token] for tokens in lists]  # which is padding

    by_text = client.embeddings.create(model="exact-vectors", input=texts)
    by_tokens = client.embeddings.create(model="exact-vectors", input=lists)
    one = client.embeddings.create(model="exact-vectors", input=lists[1], dimensions=384)

    assert [x.embedding for x in by_tokens.data] == [x.embedding for x in by_text.data]
    assert one.data[0].embedding == by_text.data[1].embedding
    with pytest.raises(openai.BadRequestError, match="100257; this model knows those below 30522"):
        client.embeddings.create(model=EMBEDDING, input=[[5, 100_257]])
    with pytest.raises(openai.BadRequestError, match="`dimensions` of 64 is not supported"):
        client.embeddings.create(model=EMBEDDING, input="a", dimensions=64)
    for empty in ("", [], [""], [[]]):
        with pytest.raises(openai.BadRequestError) as refused:
            client.embeddings.create(model=EMBEDDING, input=empty)
        assert (refused.value.param or "").startswith("input")


def test_two_thousand_inputs_keep_their_order_in_either_form(client):
    inputs = [f"number {at % 5}" for at in range(2048)]

    numbers = client.embeddings.create(model=EMBEDDING, input=inputs, encoding_format="float")
    packed = client.embeddings.create(model=EMBEDDING, input=inputs, encoding_format="base64")

    assert [one.index for one in numbers.data] == list(range(2048))
    alike = [
        dot(one.embedding, numbers.data[at % 5].embedding) for at, one in enumerate(numbers.data)
    ]
    assert min(alike) > 0.999 > dot(numbers.data[0].embedding, numbers.data[1].embedding)
    assert len(base64.b64decode(packed.data[0].embedding)) == 4 * 384
    with pytest.raises(openai.BadRequestError):
        client.embeddings.create(model=EMBEDDING, input=[*inputs, "one more"])


def test_a_chat_beyond_the_context_is_refused_in_openais_words(client):
    messages: Any = [{"role": "user", "content": "word " * 9000}]

    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(model=CHAT, messages=messages)

    assert (refused.value.code, refused.value.param) == ("context_length_exceeded", "messages")


def test_what_its_engine_cannot_is_refused_before_the_engine_hears_of_it(client):
    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(model=CHAT, messages=CAPITAL, logit_bias={"5": 100})

    assert refused.value.param == "logit_bias"
    assert "an upstream chat engine (vLLM" in refused.value.message


def test_the_embedded_models_are_listed_with_what_they_can(client):
    listed = {model.id: model.model_dump() for model in client.models.list()}

    assert listed[CHAT]["capabilities"]["chat_completion"]
    assert listed[EMBEDDING]["capabilities"]["embeddings"]
    assert listed["gpt-4o-mini-2024-07-18"]["model"] == CHAT
