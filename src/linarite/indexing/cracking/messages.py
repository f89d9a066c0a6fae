"""How a cracker and its child talk: a length of eight bytes, then JSON."""

import json
from collections.abc import Callable
from typing import IO, Any

_LENGTH_BYTES = 8


class MessageTooLong(Exception):
    """A message is longer than its reader wants."""


def send(file: IO[bytes], message: dict[str, Any]) -> None:
    """Write a message at once.

    Raises:
        OSError: nobody reads any more.
    """
    body = json.dumps(message).encode()
    file.write(len(body).to_bytes(_LENGTH_BYTES, "big") + body)
    file.flush()


def receive(read: Callable[[int], bytes], most_bytes: int = 1 << 20) -> dict[str, Any] | None:
    """The next message, by a function that gives at most so many bytes; None at the end.

    Raises:
        MessageTooLong: it has more than `most_bytes`.
    """
    head = _exactly(read, _LENGTH_BYTES)
    if head is None:
        return None
    length = int.from_bytes(head, "big")
    if length > most_bytes:
        raise MessageTooLong
    body = _exactly(read, length)
    if body is None:
        return None
    message: dict[str, Any] = json.loads(body)
    return message


def _exactly(read: Callable[[int], bytes], length: int) -> bytes | None:
    body = bytearray()
    while len(body) < length:
        piece = read(length - len(body))
        if not piece:
            return None
        body += piece
    return bytes(body)
