"""Inference through the official clients, against a scripted engine."""

import asyncio
import base64
import struct

import httpx
import openai
import pytest
from tests.behaviour.inference.conftest import UPSTREAM_KEY

USER = [{"role": "user", "content": "Hello"}]


def said(text):
    return [{"role": "user", "content": f"[[say {text}]]"}]


@pytest.fixture(params=["azure", "v1"])
def client(request, server):
    made = server.sdk() if request.param == "azure" else server.v1()
    with made as one:
        yield one


def test_a_chat_is_answered_under_the_models_own_id(client):
    answer = client.chat.completions.create(model="chat", messages=said("Good day"))

    assert answer.choices[0].message.content == "Good day"
    assert answer.model == "org/chat-model"
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


def test_a_text_is_continued(client):
    answer = client.completions.create(model="chat", prompt="[[say and so on]]", max_tokens=5)

    assert (answer.choices[0].text, answer.model) == ("and so on", "org/chat-model")


@pytest.mark.parametrize("form", ["float", "base64"])
def test_embeddings_come_in_the_form_asked_for(server, form):
    with server.client() as client:
        answer = client.post(
            "/openai/deployments/embed/embeddings",
            json={"input": ["one", "two three"], "encoding_format": form},
        ).json()

    vectors = [item["embedding"] for item in answer["data"]]
    if form == "base64":
        vectors = [list(struct.unpack("<8f", base64.b64decode(vector))) for vector in vectors]
    assert [len(vector) for vector in vectors] == [8, 8]
    assert (answer["model"], answer["usage"]["prompt_tokens"]) == ("embedding-model", 3)


def test_the_official_client_decodes_embeddings(client):
    answer = client.embeddings.create(model="embed", input="one")

    assert len(answer.data[0].embedding) == 8


@pytest.mark.parametrize("name", ["chat", "gpt-4o-mini-2024-07-18", "org/chat-model"])
def test_a_deployment_an_alias_and_a_model_all_answer(client, name):
    answer = client.chat.completions.create(model=name, messages=USER)

    assert answer.model == "org/chat-model"


def test_the_path_goes_before_the_body(server):
    with server.client() as client:
        answer = client.post(
            "/openai/deployments/chat/chat/completions",
            json={"model": "nothing", "messages": USER},
        )

    assert answer.json()["model"] == "org/chat-model"


def test_a_stream_comes_word_by_word_with_its_usage(client):
    stream = client.chat.completions.create(
        model="chat",
        messages=said("one two three"),
        stream=True,
        stream_options={"include_usage": True},
    )

    chunks = list(stream)

    text = [chunk.choices[0].delta.content for chunk in chunks if chunk.choices]
    assert [piece for piece in text if piece] == ["one ", "two ", "three"]
    assert {chunk.model for chunk in chunks} == {"org/chat-model"}
    assert chunks[-1].usage.completion_tokens == 3


def test_a_text_streams_too(client):
    stream = client.completions.create(model="chat", prompt="[[say one two]]", stream=True)

    assert "".join(chunk.choices[0].text for chunk in stream) == "one two"


def test_a_stream_goes_out_as_it_comes(server, engine):
    body = {"messages": [{"role": "user", "content": "[[tokens 300000]]"}], "stream": True}
    url = "/openai/deployments/chat/chat/completions"

    with server.client() as client, client.stream("POST", url, json=body) as answer:
        pieces = answer.iter_bytes()
        first = next(pieces)
        still_answering = engine.asked()["in_flight"]

    assert first.startswith(b"data: {")
    assert still_answering == 1
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["x-accel-buffering"] == "no"


def test_a_stream_that_breaks_off_says_so(server):
    body = {"messages": [{"role": "user", "content": "[[say one two]] [[cut]]"}], "stream": True}

    with server.client() as client:
        answer = client.post("/openai/deployments/chat/chat/completions", json=body)

    assert answer.text.endswith('"code":"serviceUnavailable"}}\n\n')
    assert "[DONE]" not in answer.text


def test_the_official_client_raises_where_a_stream_breaks_off(client):
    stream = client.chat.completions.create(
        model="chat",
        messages=[{"role": "user", "content": "[[say one two]] [[cut]]"}],
        stream=True,
    )

    with pytest.raises(openai.APIError, match="ended while it answered"):
        list(stream)


def test_async_clients_are_answered_side_by_side(server, engine):
    slow = [{"role": "user", "content": "[[delay 300]]"}]

    async def ask():
        async with openai.AsyncAzureOpenAI(
            azure_endpoint=server.url,
            api_key=server.key,
            api_version="2025-02-01-preview",
            max_retries=0,
        ) as client:
            asked = [client.chat.completions.create(model="chat", messages=slow) for _ in range(20)]
            return await asyncio.gather(*asked)

    answers = asyncio.run(ask())

    assert len(answers) == 20
    assert engine.asked()["most_in_flight"] > 10


def test_the_engine_gets_its_own_key_and_never_the_callers(server, engine):
    with server.sdk() as client:
        client.chat.completions.create(
            model="chat", messages=USER, extra_headers={"Authorization": "Bearer caller"}
        )

    headers = engine.logged()[-1]["headers"]
    assert headers["authorization"] == f"Bearer {UPSTREAM_KEY}"
    assert server.key not in str(headers)
    assert "caller" not in str(headers)


def test_answers_carry_the_services_headers(server):
    with server.client() as client:
        answer = client.post("/openai/deployments/chat/chat/completions", json={"messages": USER})

    for name in ("apim-request-id", "x-request-id", "x-ms-region"):
        assert answer.headers[name]
    assert answer.headers["cache-control"] == "no-cache, must-revalidate"


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_a_caller_who_leaves_takes_the_request_along(server, engine, stream):
    body = {"messages": [{"role": "user", "content": "[[hang]]"}], "stream": stream}

    with server.client() as client, pytest.raises(httpx.ReadTimeout):
        client.post("/openai/deployments/chat/chat/completions", json=body, timeout=0.5)

    assert _soon(lambda: engine.asked()["cancelled"] == 1)
    assert engine.asked()["in_flight"] == 0


def test_a_caller_who_leaves_amid_a_stream_ends_it(server, engine):
    body = {"messages": [{"role": "user", "content": "[[tokens 2000000]]"}], "stream": True}
    url = "/openai/deployments/chat/chat/completions"

    with server.client() as client, client.stream("POST", url, json=body) as answer:
        pieces = answer.iter_bytes()
        next(pieces)
        assert engine.asked()["in_flight"] == 1

    assert _soon(lambda: engine.asked()["in_flight"] == 0)


def _soon(condition, seconds=1):
    async def wait():
        for _ in range(int(seconds / 0.05)):
            if condition():
                return True
            await asyncio.sleep(0.05)
        return False

    return asyncio.run(wait())
