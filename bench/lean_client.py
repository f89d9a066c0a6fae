"""An HTTP client that costs next to nothing, so that what is measured is the server.

Bodies go out by sendfile or from one buffer, and come in through one buffer.
"""

import http.client
import json
from collections.abc import Callable
from pathlib import Path
from socket import socket
from typing import Any

from bench.servers import Linarite

_BOUNDARY = "linarite-bench-a3f1"
_PIECE = 1 << 18  # the first bigger writes of a process into new files wait for big pages

Send = Callable[[socket], None]


def connect(server: Linarite) -> http.client.HTTPConnection:
    """A connection that stays open."""
    return http.client.HTTPConnection(*server.address, timeout=600)


def get(connection: http.client.HTTPConnection, server: Linarite, path: str) -> bytes:
    """The body of a GET that must be answered with 200; `path` has its query string."""
    connection.request("GET", path, headers={"api-key": server.api_key})
    answer = connection.getresponse()
    body = answer.read()
    if answer.status != 200:
        raise RuntimeError(f"GET {path}: {answer.status} {body[:300]!r}")
    return body


def post_json(server: Linarite, path: str, body: object) -> dict[str, Any]:
    """POST a JSON body; the answer's."""
    return _asked(server, path, "application/json", json.dumps(body).encode())


def post_form(
    server: Linarite, path: str, fields: dict[str, str], part: str, size: int, send: Send
) -> dict[str, Any]:
    """POST a multipart form whose last part is a file of `size` bytes, which `send` writes."""
    head = "".join(
        f'--{_BOUNDARY}\r\ncontent-disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in fields.items()
    )
    head += f'--{_BOUNDARY}\r\ncontent-disposition: form-data; name="{part}"; filename="b.bin"\r\n'
    head += "content-type: application/octet-stream\r\n\r\n"
    return _asked(
        server,
        path,
        f"multipart/form-data; boundary={_BOUNDARY}",
        head.encode(),
        (size, send),
        f"\r\n--{_BOUNDARY}--\r\n".encode(),
    )


def from_file(source: Path, offset: int, size: int) -> Send:
    """Sends a stretch of a file."""

    def send(out: socket) -> None:
        with source.open("rb") as file:
            out.sendfile(file, offset, size)

    return send


def from_buffer(buffer: bytes, size: int) -> Send:
    """Sends `buffer` again and again, `size` bytes in all."""

    def send(out: socket) -> None:
        view, left = memoryview(buffer), size
        while left:
            out.sendall(view[: min(left, len(view))])
            left -= min(left, len(view))

    return send


def download(server: Linarite, path: str, target: Path) -> int:
    """GET a body into a file; its length."""
    connection = connect(server)
    connection.request("GET", server.path(path), headers={"api-key": server.api_key})
    answer = connection.getresponse()
    if answer.status != 200:
        raise RuntimeError(f"GET {path}: {answer.status} {answer.read(300)!r}")
    buffer, total = memoryview(bytearray(_PIECE)), 0
    with target.open("wb", buffering=0) as file:
        while count := answer.readinto(buffer):
            file.write(buffer[:count])
            total += count
    connection.close()
    return total


def _asked(
    server: Linarite, path: str, content_type: str, *pieces: bytes | tuple[int, Send]
) -> dict[str, Any]:
    connection = connect(server)
    connection.putrequest("POST", server.path(path))
    size = sum(piece[0] if isinstance(piece, tuple) else len(piece) for piece in pieces)
    headers = {"api-key": server.api_key, "content-type": content_type, "content-length": str(size)}
    for name, value in headers.items():
        connection.putheader(name, value)
    connection.endheaders()
    for piece in pieces:
        if isinstance(piece, tuple):
            piece[1](connection.sock)
        else:
            connection.sock.sendall(piece)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    if answer.status not in {200, 201}:
        raise RuntimeError(f"POST {path}: {answer.status} {body[:300]!r}")
    return dict(json.loads(body))
