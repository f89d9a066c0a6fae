"""What is no HTTP, or HTTP without end, is refused in the contract's form; its connection ends."""

import json
import re
import socket
from urllib.parse import urlsplit

import pytest
from tests.support.raw_http import exchange, request, status_and_body
from tests.support.server import API_VERSION, KEY, Server

GET = request("GET", "/healthz")
KEPT = GET.replace(b"Connection: close\r\n", b"")

BROKEN = {
    "garbage": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",  # TLS to a plain port
    "unknown version": b"GET /healthz HTTP/9.9\r\nHost: localhost\r\n\r\n",
    "no method": b"FETCH /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "space in the address": request("GET", "/open ai"),
    "bytes in the address": request("GET", "/openai/files/\xff\xfe"),
    "no address": request("GET", "http://"),
    "header without colon": request("GET", "/healthz", "nonsense"),
    "NUL in a header": request("GET", "/healthz", "api-key: a\0b"),
    "bare line feed in a header": request("GET", "/healthz", "a: b\nc: d\n\ne: f"),
    "space before the colon": request("GET", "/healthz", "api-key : a"),
    "two lengths": request("POST", "/healthz", "Content-Length: 1", "Content-Length: 2"),
    "length and chunks": request(
        "POST", "/healthz", "Content-Length: 5", "Transfer-Encoding: chunked", body=b"0\r\n\r\n"
    ),
    "no number for a length": request("POST", "/healthz", "Content-Length: many"),
    "negative length": request("POST", "/healthz", "Content-Length: -1"),
    "endless number for a length": request("POST", "/healthz", "Content-Length: " + "9" * 40),
}


@pytest.mark.parametrize("sent", BROKEN.values(), ids=BROKEN)
def test_broken_http_is_refused(shared_server: Server, sent: bytes):
    status, body = status_and_body(exchange(shared_server.url, sent))

    assert status == 400
    assert json.loads(body)["error"]["code"] == "invalidPayload"


@pytest.mark.parametrize(
    "sent",
    [
        request("GET", "/" + "a" * 2_000_000),
        request("GET", "/healthz", "api-key: " + "k" * 2_000_000),
        request("GET", "/healthz", *(f"x-{number}: {'v' * 1000}" for number in range(2000))),
    ],
    ids=["address", "header", "headers"],
)
def test_a_head_without_end_is_refused(shared_server: Server, sent: bytes):
    answer = exchange(shared_server.url, sent)

    assert b"431" in answer[:20] or answer == b""  # it may be reset while it still sends


def test_a_head_without_end_costs_no_memory(shared_server: Server):
    """A client that sends slowly hears of the bound long before a megabyte."""
    address = urlsplit(shared_server.url)
    sent = 0
    with socket.create_connection((address.hostname, address.port), 10) as one:
        one.sendall(b"GET /healthz HTTP/1.1\r\nx-endless: ")
        one.settimeout(0.02)
        answer = b""
        while not answer and sent < 1_000_000:
            one.sendall(b"a" * 10_000)
            sent += 10_000
            try:
                answer = one.recv(65536)
            except TimeoutError:
                continue

    status, body = status_and_body(answer)
    assert status == 431
    assert json.loads(body)["error"]["message"] == "The headers are longer than 65536 bytes."
    assert sent <= 100_000


def test_requests_in_a_row_on_one_connection_are_answered_in_order(shared_server: Server):
    wants_key = request("GET", "/metrics").replace(b"Connection: close\r\n", b"")

    answers = exchange(shared_server.url, KEPT + wants_key + GET)

    assert re.findall(rb"HTTP/1.1 (\d+)", answers) == [b"200", b"401", b"200"]


def test_garbage_after_a_request_ends_the_connection(shared_server: Server):
    """The answer to what was a request may or may not get out before; nothing else does."""
    answer = exchange(shared_server.url, KEPT + b"\x00\x01garbage\r\n\r\n")

    assert re.findall(rb"HTTP/1.1 (\d+)", answer) in ([], [b"200"])


@pytest.mark.parametrize("upgrade", ["h2c", "websocket"])
def test_an_upgrade_is_not_taken(shared_server: Server, upgrade: str):
    sent = request("GET", "/healthz", f"Upgrade: {upgrade}", "Connection: upgrade")

    assert exchange(shared_server.url, sent).startswith(b"HTTP/1.1 200")


def test_a_body_shorter_than_its_length_ends_with_its_connection(shared_server: Server):
    target = f"/openai/fine_tuning/jobs?api-version={API_VERSION}"
    sent = request("POST", target, f"api-key: {KEY}", "Content-Length: 1000", body=b"{}")
    address = urlsplit(shared_server.url)

    with socket.create_connection((address.hostname, address.port), 10) as one:
        one.sendall(sent)
        one.shutdown(socket.SHUT_WR)
        while one.recv(65536):
            pass

    with shared_server.client() as client:
        assert client.get("/healthz").status_code == 200
