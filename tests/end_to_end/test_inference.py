"""Chats, completions and embeddings of the embedded models through the newest official SDK."""

from typing import Any

import openai
import pytest
from tests.end_to_end.conftest import Sdk
from tests.support.embedded import CHAT, EMBEDDING

QUESTION = [{"role": "user", "content": "What is the capital of France?"}]


def test_a_chat_is_answered(client: Any):
    answer = client.chat.completions.create(
        model=CHAT, messages=QUESTION, temperature=0, max_tokens=12
    )

    assert "Paris" in answer.choices[0].message.content
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


def test_a_streamed_chat_says_the_same_in_pieces(client: Any):
    asked = {"model": CHAT, "messages": QUESTION, "temperature": 0, "max_tokens": 12}
    whole = client.chat.completions.create(**asked)

    chunks = list(
        client.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True})
    )

    pieces = [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]
    assert "".join(pieces) == whole.choices[0].message.content
    assert len(pieces) > 3
    assert chunks[-1].usage == whole.usage


def test_a_stream_that_is_left_early_leaves_the_server_well(client: Any):
    stream = client.chat.completions.create(
        model=CHAT, messages=QUESTION, max_tokens=500, stream=True
    )

    next(iter(stream))
    stream.close()

    assert client.models.retrieve(CHAT).id == CHAT


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_a_prompt_is_completed(client: Any, stream: bool):
    asked = {"model": CHAT, "prompt": "One, two, three,", "max_tokens": 4, "temperature": 0}

    said = client.completions.create(**asked, stream=stream)

    answers = list(said) if stream else [said]
    assert "four" in "".join(answer.choices[0].text for answer in answers)


def test_alike_texts_have_alike_embeddings(client: Any):
    texts = ["a cat", "a kitten", "the stock exchange"]

    answer = client.embeddings.create(model=EMBEDDING, input=texts)

    cat, kitten, exchange = [one.embedding for one in answer.data]
    assert len(cat) == 384
    assert _dot(cat, kitten) > 0.5 > _dot(cat, exchange)


def test_embeddings_are_the_same_as_numbers_and_as_the_sdks_own_base64(client: Any):
    asked = {"model": EMBEDDING, "input": "a cat"}

    packed = client.embeddings.create(**asked).data[0].embedding
    numbers = client.embeddings.create(**asked, encoding_format="float").data[0].embedding

    assert packed == pytest.approx(numbers, abs=1e-6)


def test_an_unknown_deployment_is_not_found(client: Any):
    with pytest.raises(openai.NotFoundError) as refusal:
        client.chat.completions.create(model="nobody", messages=QUESTION)

    assert refusal.value.code == "DeploymentNotFound"
    assert refusal.value.request_id


def test_a_parameter_out_of_range_is_a_bad_request(client: Any):
    with pytest.raises(openai.BadRequestError) as refusal:
        client.chat.completions.create(model=CHAT, messages=QUESTION, temperature=7)

    assert refusal.value.param == "temperature"


def test_more_tokens_than_the_context_holds_are_a_bad_request(client: Any):
    with pytest.raises(openai.BadRequestError) as refusal:
        client.chat.completions.create(model=CHAT, messages=QUESTION, max_tokens=100_000)

    assert refusal.value.code == "context_length_exceeded"


def test_a_wrong_key_is_an_authentication_error(sdk: Sdk):
    stranger = sdk.make(api_key="x" * 40)

    with pytest.raises(openai.AuthenticationError) as refusal:
        stranger.chat.completions.create(model=CHAT, messages=QUESTION)

    assert refusal.value.code == "401"


def _dot(one: list[float], other: list[float]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))
