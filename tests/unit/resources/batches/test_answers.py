import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from linarite.resources.batches.answers import (
    EXPIRED,
    answered,
    error_of,
    never_run,
    one_line,
    pack,
    refused,
    unpack,
)


def test_an_answered_request_has_its_response_and_no_error():
    answer = answered(3, "task-3", b'{"object":"chat.completion"}', "req-1")

    line = orjson.loads(answer.line)
    assert line.pop("id").startswith("batch_req_")
    assert line == {
        "custom_id": "task-3",
        "response": {
            "status_code": 200,
            "request_id": "req-1",
            "body": {"object": "chat.completion"},
        },
        "error": None,
    }
    assert (answer.number, answer.failed) == (3, False)


def test_a_refused_request_has_the_refusal_as_its_response():
    answer = refused(0, "task-0", 400, {"error": {"message": "no"}})

    line = orjson.loads(answer.line)
    assert line["response"]["status_code"] == 400
    assert line["response"]["body"] == {"error": {"message": "no"}}
    assert line["error"] is None
    assert answer.failed


def test_a_request_that_never_ran_has_openais_words():
    line = orjson.loads(never_run("request-3", EXPIRED))

    assert line["response"] is None
    assert line["error"] == {
        "code": "batch_expired",
        "message": "This request could not be executed before the completion window expired.",
    }


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"a": 1}', b'{"a": 1}'),
        (b'{\n  "a": 1\r\n}', b'{"a":1}'),
    ],
)
def test_an_answer_stands_on_one_line(body, expected):
    assert one_line(body) == expected


def test_what_an_engine_says_of_a_failure_stays_as_it_is():
    assert error_of(b'{"error":{"message":"no"}}', 500) == {"error": {"message": "no"}}


@pytest.mark.parametrize("body", [b"<html>Bad Gateway</html>", b"", b"[]", b'{"detail":"no"}'])
def test_a_failure_in_any_other_form_is_put_into_openais(body):
    error = error_of(body, 502)["error"]

    assert "502" in error["message"]
    assert error["type"] == "server_error"


@given(st.binary(max_size=5000).map(lambda data: b"{" + data))
def test_a_line_comes_back_as_it_was_stored(line):
    assert unpack(pack(line)) == line
