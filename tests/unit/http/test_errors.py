import json

import pytest
import sqlalchemy as sa
from fastapi import Request, Response
from fastapi.responses import StreamingResponse
from starlette.requests import ClientDisconnect
from tests.support.small_app import client_of, small_app

from linarite.errors import Fault, InferenceRefused, InvalidPayload, UnexpectedEntityState
from linarite.http.errors import error_answer


def answer_to(error: Exception):
    app = small_app()

    @app.get("/")
    async def fail() -> None:
        raise error

    return client_of(app).get("/")


def test_a_refusal_travels_in_the_contracts_form():
    answer = answer_to(InvalidPayload("Wrong.", target="$.a"))

    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == {
        "error": {"code": "invalidPayload", "message": "Wrong.", "target": "$.a"}
    }


def test_every_fault_is_a_detail():
    faults = [Fault("$.a", "A is wrong."), Fault("$.b", "B is wrong.")]

    answer = answer_to(InvalidPayload("A is wrong.", faults=faults))

    assert answer.json()["error"]["details"] == [
        {"code": "invalidPayload", "message": "A is wrong.", "target": "$.a"},
        {"code": "invalidPayload", "message": "B is wrong.", "target": "$.b"},
    ]


def test_a_clash_that_will_stay_tells_clients_not_to_retry():
    assert error_answer(UnexpectedEntityState()).headers["x-should-retry"] == "false"
    assert "x-should-retry" not in error_answer(InvalidPayload()).headers


def test_a_refused_inference_request_has_openais_form():
    refusal = InferenceRefused("Too long.", code="context_length_exceeded", param="messages")

    assert json.loads(error_answer(refusal).body) == {
        "error": {
            "message": "Too long.",
            "type": "invalid_request_error",
            "param": "messages",
            "code": "context_length_exceeded",
        }
    }


def test_a_failure_is_told_without_its_cause():
    answer = answer_to(ZeroDivisionError("the secret cause"))

    assert answer.status_code == 500
    assert answer.json()["error"]["code"] == "internalFailure"
    assert "secret" not in answer.text
    assert answer.headers["x-request-id"]


@pytest.mark.parametrize(
    "error",
    [sa.exc.OperationalError("SELECT 1", {}, OSError("gone")), sa.exc.TimeoutError("pool")],
    ids=["unreachable", "exhausted"],
)
def test_a_database_that_does_not_answer_is_a_matter_of_waiting(error: Exception):
    answer = answer_to(error)

    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "serviceUnavailable"
    assert answer.headers["retry-after"] == "2"


def test_a_client_that_goes_away_is_no_failure():
    assert answer_to(ClientDisconnect()).status_code == 499


def test_an_answer_that_breaks_off_ends_its_connection():
    app = small_app()

    @app.get("/")
    async def half() -> Response:
        async def pieces():
            yield b"half of it"
            raise ZeroDivisionError

        return StreamingResponse(pieces())

    with pytest.raises(ZeroDivisionError):  # what makes the server cut the connection
        client_of(app).get("/")


def test_parameters_that_are_wrong_are_named():
    app = small_app()

    @app.get("/{number}")
    async def take(request: Request, number: int, size: int) -> None:
        raise AssertionError

    answer = client_of(app).get("/x?size=y")

    assert answer.status_code == 400
    assert [detail["target"] for detail in answer.json()["error"]["details"]] == ["number", "size"]


def test_the_allowed_methods_of_all_routes_of_a_path_are_named():
    app = small_app()
    app.add_api_route("/a/{b}", lambda: None, methods=["GET"])
    app.add_api_route("/a/{b}", lambda: None, methods=["DELETE"])

    answer = client_of(app).put("/a/1")

    assert answer.status_code == 405
    assert answer.headers["allow"] == "GET, DELETE"
