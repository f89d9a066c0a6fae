from typing import Annotated

import pytest
from fastapi import FastAPI, Request, Response
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient
from tests.support.small_app import client_of, small_app

from linarite.errors import InvalidPayload
from linarite.http.bodies import JSON_OF_UPLOADS, json_body, json_object, parse_json
from linarite.wire.uploads import UploadFileStartBody

GOOD = b'{"purpose": "batch", "filename": "a.jsonl", "bytes": 1, "mime_type": "text/plain"}'
JSON = {"content-type": "application/json"}


@pytest.fixture(scope="module")
def client() -> TestClient:
    app: FastAPI = small_app()

    @app.post("/")
    async def take(
        body: Annotated[UploadFileStartBody, json_body(UploadFileStartBody, JSON_OF_UPLOADS)],
    ) -> Response:
        return Response(body.model_dump_json())

    @app.post("/object")
    async def take_object(request: Request) -> Response:
        parsed = await json_object(request)
        return Response(f"{sorted(parsed)}")

    return client_of(app)


@pytest.mark.parametrize(
    "content_type",
    [
        *("application/json", "APPLICATION/JSON; charset=utf-8", "text/json"),
        *("application/problem+json", "application/merge-patch+json;v=1"),
    ],
)
def test_a_declared_content_type_is_taken(client: TestClient, content_type: str):
    answer = client.post("/", content=GOOD, headers={"content-type": content_type})

    assert answer.status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"content-type": ""},
        {"content-type": "text/plain"},
        {"content-type": "application/+json"},
        {"content-type": "application/jsonl"},
        {"content-type": "multipart/form-data; boundary=b"},
        JSON | {"content-encoding": "gzip"},
    ],
    ids=str,
)
def test_an_undeclared_content_type_is_not_taken(client: TestClient, headers: dict[str, str]):
    answer = client.post("/", content=GOOD, headers=headers)

    assert answer.status_code == 415
    assert answer.json()["error"]["target"] in {"Content-Type", "Content-Encoding"}


@pytest.mark.parametrize(
    ("content", "target"),
    [
        (b"", None),
        (b"{", None),
        (b"{}{}", None),
        (b"\xef\xbb\xbf{}", None),
        (GOOD.decode().encode("utf-16"), None),
        (b'{"purpose": "\xff"}', None),
        (b'{"purpose": "\\ud800"}', None),
        (b'{"purpose": "\\udc00\\ud800"}', None),
        (b'{"purpose": "a\nb"}', None),
        (b'{"purpose": NaN}', None),
        (b'{"bytes": 1e999}', None),
        (b'{"bytes": -Infinity}', None),
        (b"[" * 100_0 + b"]" * 100_0, "$"),
        (b"[" * 4_000, None),
        (b'{"a":' * 1500 + b"1" + b"}" * 1500, None),
        (b'{"filename": "a\\u0000b"}', None),
        (b'{"\\u0000": 1}', None),
        (b'{"a": [[["\\u0000"]]]}', None),
        (b"null", "$"),
        (b"[]", "$"),
        (b'"a"', "$"),
        (b"1", "$"),
        (GOOD.replace(b"1", b'"1"'), "$.bytes"),
        (GOOD.replace(b"1", b"1.0"), "$.bytes"),
        (GOOD.replace(b"1", b"1.5"), "$.bytes"),
        (GOOD.replace(b"1", b"true"), "$.bytes"),
        (GOOD.replace(b"1", b"null"), "$.bytes"),
        (GOOD.replace(b"1", b"-1"), "$.bytes"),
        (GOOD.replace(b"1", b"9223372036854775808"), "$.bytes"),
        (GOOD.replace(b"1", b"9" * 400), None),
        (GOOD.replace(b"1", b"9" * 5000), None),
        (GOOD.replace(b'"batch"', b'"Batch"'), "$.purpose"),
        (GOOD.replace(b'"batch"', b'["batch"]'), "$.purpose"),
        (GOOD.replace(b'"a.jsonl"', b'""'), "$.filename"),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_a_malformed_body_is_refused(client: TestClient, content: bytes, target: str | None):
    answer = client.post("/", content=content, headers=JSON)

    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error["code"] == "invalidPayload"
    assert error.get("target") == target


def test_every_fault_of_a_body_is_told_with_its_path(client: TestClient):
    content = b'{"purpose": 1, "bytes": "x", "mime_type": "", "expires_after": {"seconds": ""}}'

    error = client.post("/", content=content, headers=JSON).json()["error"]

    assert {detail["target"] for detail in error["details"]} == {
        "$.purpose",
        "$.filename",
        "$.bytes",
        "$.mime_type",
        "$.expires_after.anchor",
        "$.expires_after.seconds",
    }
    assert error["message"] == error["details"][0]["message"]
    assert "`filename` is required." in {detail["message"] for detail in error["details"]}


def test_of_a_key_given_twice_the_last_counts(client: TestClient):
    content = GOOD[:-1] + b', "filename": "b.jsonl"}'

    assert client.post("/", content=content, headers=JSON).json()["filename"] == "b.jsonl"


def test_a_body_that_announces_too_much_is_refused_unread(client: TestClient):
    headers = JSON | {"content-length": "9000000000"}

    assert client.post("/", content=GOOD, headers=headers).status_code == 413


def test_a_body_in_chunks_is_refused_where_it_passes_the_limit(client: TestClient):
    answer = client.post("/", content=iter([b" " * 6_000, b" " * 6_000]), headers=JSON)

    assert answer.status_code == 413
    assert "10000 bytes" in answer.json()["error"]["message"]


def test_a_body_without_a_shape_is_still_a_json_object(client: TestClient):
    assert client.post("/object", content=b'{"b": 1, "a": 2}', headers=JSON).text == "['a', 'b']"
    assert client.post("/object", content=b"[1]", headers=JSON).status_code == 400


@given(st.binary(max_size=200) | st.text(max_size=100).map(str.encode))
def test_any_bytes_are_json_or_refused(content: bytes):
    try:
        parse_json(content)
    except InvalidPayload:
        return
