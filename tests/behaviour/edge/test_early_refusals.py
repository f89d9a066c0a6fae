"""A request that is refused before its body was read: the client hears of it and goes on.

The server reads what still comes and throws it away, so that a client that sends all before it
listens gets its answer, and the connection can be used again. A client that asks first
(``Expect: 100-continue``) sends nothing at all.
"""

import http.client
import re
import socket
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import httpx
import openai
import psutil
import pytest
from tests.support.raw_http import exchange, request
from tests.support.server import API_VERSION, KEY, Server

MEGABYTE = 1 << 20


def pieces(megabytes: int) -> Iterator[bytes]:
    for _ in range(megabytes):
        yield b"x" * MEGABYTE


def test_an_upload_with_a_wrong_key_is_refused_and_the_connection_goes_on(shared_server: Server):
    connection = http.client.HTTPConnection(urlsplit(shared_server.url).netloc, timeout=10)
    connection.auto_open = 0  # one that was ended stays so
    connection.connect()

    connection.request("POST", "/openai/files", b"x" * 20 * MEGABYTE, {"api-key": "wrong"})
    with connection.getresponse() as refused:
        refused.read()
    connection.request("GET", "/openai/v1/files", headers={"api-key": KEY})
    with connection.getresponse() as again:
        again.read()
    connection.close()

    assert (refused.status, again.status) == (401, 200)


def test_a_refused_upload_costs_no_memory(shared_server: Server):
    process = psutil.Process()  # the server runs in it too
    before = process.memory_info().rss

    with shared_server.client(key="wrong") as client:
        refused = client.post("/openai/files", content=pieces(200))

    assert refused.status_code == 401
    assert process.memory_info().rss - before < 50 * MEGABYTE


def test_the_sdk_hears_why_its_upload_was_refused(shared_server: Server):
    with pytest.raises(openai.AuthenticationError, match="invalid subscription key"):
        shared_server.sdk(key="wrong").files.create(
            file=("a.jsonl", b"x" * 5 * MEGABYTE), purpose="batch"
        )


@pytest.mark.parametrize(
    ("target", "headers", "status"),
    [
        ("/openai/files", [], b"401"),
        ("/openai/files", [f"api-key: {KEY}"], b"404"),  # no version
        (f"/openai/files?api-version={API_VERSION}", [f"api-key: {KEY}"], b"415"),
        ("/nothing", [], b"404"),
    ],
    ids=["key", "version", "type", "path"],
)
def test_a_client_that_asks_first_is_refused_at_once(
    shared_server: Server, target: str, headers: list[str], status: bytes
):
    sent = request("POST", target, *headers, "Content-Length: 9000000000", "Expect: 100-continue")

    answer = exchange(shared_server.url, sent.replace(b"Connection: close\r\n", b""))

    assert re.findall(rb"HTTP/1.1 (\d+)", answer) == [status]
    assert b"connection: close" in answer


def test_a_client_that_asks_first_is_told_to_go_on(shared_server: Server):
    address = urlsplit(shared_server.url)
    headers = [f"api-key: {KEY}", "Content-Type: application/json", "Content-Length: 2"]
    sent = request(
        "POST", f"/openai/uploads?api-version={API_VERSION}", *headers, "Expect: 100-continue"
    )
    with socket.create_connection((address.hostname, address.port), 10) as one:
        one.sendall(sent)
        assert one.recv(100).startswith(b"HTTP/1.1 100 ")
        one.sendall(b"{}")
        assert one.recv(100).startswith(b"HTTP/1.1 400 ")


def test_a_client_that_goes_away_in_the_middle_is_no_failure(server: Server):
    address = urlsplit(server.url)
    boundary = "Content-Type: multipart/form-data; boundary=b"
    head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n'
    sent = request(
        "POST",
        f"/openai/files?api-version={API_VERSION}",
        *(f"api-key: {KEY}", boundary, "Content-Length: 9000000"),
        body=head + b"Content-Type: text/plain\r\n\r\n" + b"x" * MEGABYTE,
    )
    with socket.create_connection((address.hostname, address.port), 10) as one:
        one.sendall(sent)
        time.sleep(0.2)

    with server.client() as client:
        assert client.get("/openai/files").json()["data"] == []
        figures = client.get("/metrics").text
    assert 'operation="Files_Upload",status="500"' not in figures
    assert not [p for p in (server.settings.data / "blobs").rglob("*") if p.is_file()]


def test_the_answer_to_head_has_no_body(shared_server: Server):
    with httpx.Client(base_url=shared_server.url) as client:
        assert client.head("/readyz").status_code == 200
        assert client.get("/healthz").text == "ok\n"  # on the same connection
