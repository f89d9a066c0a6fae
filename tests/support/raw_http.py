"""HTTP as bytes on a socket, for what no client library would send."""

import socket
from urllib.parse import urlsplit

_PATIENCE_SECONDS = 10


def exchange(url: str, sent: bytes) -> bytes:
    """Send bytes on a connection of its own; what comes back until the server ends it.

    A server that keeps the connection is told that nothing follows, so that this ends; a server
    that neither answers nor ends it raises TimeoutError.
    """
    address = urlsplit(url)
    with socket.create_connection((address.hostname, address.port), _PATIENCE_SECONDS) as one:
        one.sendall(sent)
        received = bytearray()
        try:
            while piece := one.recv(65536):
                received += piece
        except ConnectionResetError:  # it would not read all that was sent
            pass
        return bytes(received)


def request(method: str, target: str, *headers: str, body: bytes = b"") -> bytes:
    """The bytes of a request that ends its connection; target and headers go out as they are."""
    head = [f"{method} {target} HTTP/1.1", "Host: localhost", "Connection: close", *headers]
    return "\r\n".join(head).encode("latin-1") + b"\r\n\r\n" + body


def status_and_body(answer: bytes) -> tuple[int, bytes]:
    """The status of the first answer and all that follows its head."""
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), body
