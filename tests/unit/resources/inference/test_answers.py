"""What callers get of an engine's answers."""

import asyncio
import base64
import json
import struct

import pytest

from linarite.engines.client import Reply
from linarite.errors import InferenceRefused
from linarite.resources.inference.answers import (
    as_json,
    refusal,
    renamed_events,
    whole_answer,
)


def reply(status, body=b"", **headers):
    sent = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Reply(status, headers, sent)


def events(*chunks, model="ours"):
    """What comes out of `renamed_events` for each chunk that goes in, without the empty ones."""

    async def given():
        for chunk in chunks:
            yield chunk

    async def collect():
        return [chunk async for chunk in renamed_events(given(), model)]

    return asyncio.run(collect())


def embeddings(vector):
    return reply(200, {"object": "list", "model": "theirs", "data": [{"embedding": vector}]})


def vector_of(answer):
    return json.loads(answer.body)["data"][0]["embedding"]


@pytest.mark.parametrize("separator", [":", ": ", " : "])
def test_each_event_names_our_model(separator):
    event = f'data: {{"id":"1","model"{separator}"theirs","choices":[]}}\n\n'.encode()

    assert events(event * 2) == [b'data: {"id":"1","model":"ours","choices":[]}\n\n' * 2]


def test_a_word_model_in_the_text_stays():
    text = json.dumps({"model": "theirs", "text": '"model":"theirs"'}, separators=(",", ":"))

    (event,) = events(f"data: {text}\n\n".encode())

    assert json.loads(event.removeprefix(b"data: ")) == {
        "model": "ours",
        "text": '"model":"theirs"',
    }


def test_events_cut_anywhere_come_out_whole():
    stream = b'data: {"model":"theirs","n":1}\n\ndata: {"model":"theirs","n":2}\n\ndata: [DONE]\n\n'
    expected = stream.replace(b"theirs", b"ours")

    for cut in range(len(stream)):
        assert b"".join(events(stream[:cut], stream[cut:])) == expected


def test_whole_events_are_not_held_back():
    chunks = [b'data: {"model":"theirs"}\n\n', b"data: [DONE]\n\n"]

    assert len(events(*chunks)) == 2


def test_an_odd_name_of_a_model_is_written_as_json():
    (event,) = events(b'data: {"model":"a\\"b"}\n\n', model='c\\1"d')

    assert json.loads(event.removeprefix(b"data: ")) == {"model": 'c\\1"d'}


def test_a_whole_answer_names_our_model():
    answer = whole_answer(reply(200, {"id": "x", "model": "theirs"}), "ours", None)

    assert json.loads(answer.body) == {"id": "x", "model": "ours"}


def test_only_headers_for_callers_pass():
    answer = whole_answer(reply(200, {}, server="vllm", **{"x-request-id": "theirs"}), "ours", None)

    assert answer.headers == {}


@pytest.mark.parametrize("body", [b"<html>", b"", b"[]", b"{"])
def test_an_answer_that_is_no_object_is_a_failure(body):
    with pytest.raises(InferenceRefused) as refused:
        whole_answer(reply(200, body), "ours", None)

    assert refused.value.status == 502


def test_embeddings_come_in_the_form_asked_for():
    """1.5 and -2.0 are 0x3FC00000 and 0xC0000000: little-endian, `0000c03f` and `000000c0`."""
    packed = base64.b64encode(bytes.fromhex("0000c03f000000c0")).decode()

    assert vector_of(whole_answer(embeddings([1.5, -2.0]), "ours", "base64")) == packed
    assert vector_of(whole_answer(embeddings(packed), "ours", "float")) == [1.5, -2.0]
    assert vector_of(whole_answer(embeddings([1.5, -2.0]), "ours", "float")) == [1.5, -2.0]
    assert vector_of(whole_answer(embeddings(packed), "ours", "base64")) == packed


def test_a_thousand_numbers_survive_both_ways():
    numbers = list(struct.unpack("<1000f", struct.pack("<1000f", *(n / 7 for n in range(1000)))))

    packed = vector_of(whole_answer(embeddings(numbers), "ours", "base64"))

    assert vector_of(whole_answer(embeddings(packed), "ours", "float")) == numbers


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"error": {"message": "Too long.", "code": "c", "param": "p", "type": "t"}}, "Too long."),
        ({"object": "error", "message": "Too long.", "type": "t", "param": "p", "code": "c"}, None),
        ({"detail": "Too long."}, "Too long."),
        ({"error": "Too long."}, "Too long."),
        (b"Too long.", "The engine of this model answered 400: Too long."),
        (b"", "The engine of this model answered 400"),
        (b"\xff\xfe", "The engine of this model answered 400: \ufffd\ufffd"),
        ({"detail": [{"loc": ["a"]}]}, None),
    ],
)
def test_a_refusal_is_told_in_openais_form(body, message):
    told = json.loads(as_json(refusal(reply(400, body), is_upstream=True)))["error"]

    assert set(told) == {"message", "type", "param", "code"}
    assert told["message"] == message or message is None
    if isinstance(body, dict) and "type" in str(body):
        assert (told["type"], told["param"], told["code"]) == ("t", "p", "c")


def test_a_number_as_code_becomes_text():
    told = refusal(reply(400, {"message": "No.", "code": 40001}), is_upstream=True)

    assert told.openai_code == "40001"


def test_too_many_requests_pass_with_the_time_to_wait():
    told = refusal(reply(429, {}, **{"retry-after": "7"}), is_upstream=True)

    assert (told.status, told.headers) == (429, {"retry-after": "7"})


def test_the_servers_own_key_does_not_pass():
    told = refusal(
        reply(400, {"error": {"message": "Bad key sk-secret-1."}}),
        is_upstream=True,
        secret="sk-secret-1",
    )

    assert told.message == "Bad key ***."


@pytest.mark.parametrize("status", [301, 401, 402, 403, 404, 405, 418])
def test_what_only_concerns_the_operator_is_not_repeated(status):
    said = {"error": {"message": "Incorrect API key provided: sk-se*******1."}}

    told = refusal(reply(status, said), is_upstream=True)

    assert told.status == 503
    assert "operator" in told.message
    assert "sk-" not in told.message


@pytest.mark.parametrize(("status", "passed"), [(500, 500), (502, 502), (503, 503), (504, 504)])
def test_a_failure_keeps_its_status_but_not_its_words(status, passed):
    told = refusal(reply(status, b"Traceback: /srv/secret.py"), is_upstream=True)

    assert told.status == passed
    assert told.kind == "server_error"
    assert "secret" not in told.message


def test_a_service_that_is_away_says_when_to_come_back():
    assert refusal(reply(503), is_upstream=True).headers == {"retry-after": "1"}
    late = refusal(reply(503, **{"retry-after": "9"}), is_upstream=True)
    assert late.headers == {"retry-after": "9"}


def test_what_the_embedded_engine_says_passes():
    said = {"message": "Full.", "type": "server_error", "param": None, "code": None}

    told = refusal(reply(503, {"error": said}), is_upstream=False)

    assert (told.status, json.loads(as_json(told))["error"]) == (503, said)
