"""What answers where nothing is served, or not by that method.

HEAD is for probes and nothing else; there is no OPTIONS, as there is no CORS: a key must not live
in a web page of another origin.
"""

import json

import httpx
import pytest
from tests.support.raw_http import exchange, request, status_and_body
from tests.support.server import API_VERSION, KEY, Server

UNKNOWN = [
    "/openai",
    "/openai/",
    "/openai/nothing",
    "/openai/v1",
    "/openai/v2/files",
    "/openai/fine_tuning/jobs/",
    "/openai//fine_tuning/jobs",
    "/openai/fine_tuning/jobs/a%2Fb",
    "/openai/deployments/d/fine_tuning/jobs",
    "/OPENAI/fine_tuning/jobs",
    "/fine_tuning/jobs",
    "/nothing",
    "/docs",
    "/openapi.json",
    "/static/../linarite.css",
    "/static/%2e%2e/%2e%2e/pyproject.toml",
    "/" + "a" * 20_000,
]


@pytest.mark.parametrize("path", UNKNOWN, ids=lambda path: path[:40])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_an_unknown_path_is_not_found(shared_server: Server, method: str, path: str):
    with shared_server.client() as client:
        answer = client.request(method, path)

    assert answer.status_code == 404
    assert answer.json()["error"] == {"code": "404", "message": "Resource not found"}


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "BREW"])
def test_a_wrong_method_is_told_the_right_ones(shared_server: Server, method: str):
    with shared_server.client() as client:
        answer = client.request(method, "/openai/fine_tuning/jobs")

    if method == "BREW":  # no method of HTTP at all
        assert answer.status_code == 400
        return
    assert answer.status_code == 405
    assert answer.headers["allow"] == "GET, POST"
    if method != "HEAD":
        assert answer.json()["error"]["code"] == "405"
        assert "GET, POST" in answer.json()["error"]["message"]


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_probes_may_ask_for_the_head_alone(shared_server: Server, path: str):
    answer = httpx.head(shared_server.url + path)

    assert answer.status_code == 200
    assert answer.content == b""


@pytest.mark.parametrize(
    "item", ["..", ".", "%2e%2e", "%20", "%5C..", "a" * 30_000, "%F0%9F%92%8E", "%ff", "%%%"]
)
def test_an_odd_id_is_an_id(shared_server: Server, item: str):
    target = f"/openai/fine_tuning/jobs/{item}?api-version={API_VERSION}"

    answer = exchange(shared_server.url, request("GET", target, f"api-key: {KEY}"))

    status, body = status_and_body(answer)
    assert status == 404
    assert b'"notFound"' in body


@pytest.mark.parametrize(
    "target",
    ["/openai/files/a%00b?api-version=2025-02-01", "/openai/files?after=%00", "/%00", "/?%00"],
)
def test_a_nul_in_the_address_is_refused(shared_server: Server, target: str):
    status, body = status_and_body(exchange(shared_server.url, request("GET", target)))

    assert status == 400
    assert json.loads(body)["error"]["message"] == "The address holds a NUL character."
