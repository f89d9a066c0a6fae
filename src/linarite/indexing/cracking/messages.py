"""How a cracker and its child talk: a JSON object, and a text that is long or none.

Both stand behind their lengths, of eight bytes each. The text is no JSON, so that the long one of a
hostile file takes no more memory than it has bytes, whatever it is made of.
"""

import json
from collections.abc import Callable
from typing import IO, Any

_LENGTH_BYTES = 8
_MOST_BYTES = 1 << 20
"""Of the object."""

Message = tuple[dict[str, Any], str]
"""An object and a text."""


class MessageTooLong(Exception):
    """A message is longer than its reader wants."""


class BadMessage(Exception):
    """A message is none."""


def send(file: IO[bytes], told: dict[str, Any], text: str = "") -> None:
    """Write a message at once.

    Raises:
        OSError: nobody reads any more.
    """
    for part in (json.dumps(told), text):
        body = part.encode("utf-8", "replace")
        file.write(len(body).to_bytes(_LENGTH_BYTES, "big"))
        file.write(body)
    file.flush()


def receive(read: Callable[[int], bytes], most_text_bytes: int = 0) -> Message | None:
    """The next message, by a function that gives at most so many bytes; None at the end.

    Raises:
        MessageTooLong: its text has more than `most_text_bytes`, or it is long otherwise.
        BadMessage: it is no such message.
    """
    parts = []
    for most_bytes in (_MOST_BYTES, most_text_bytes):
        head = _exactly(read, _LENGTH_BYTES)
        if head is None:
            return None
        length = int.from_bytes(head, "big")
        if length > most_bytes:
            raise MessageTooLong
        if (body := _exactly(read, length)) is None:
            return None
        parts.append(body)
    try:
        told, text = json.loads(parts[0]), parts[1].decode()
    except (ValueError, RecursionError) as error:
        raise BadMessage from error
    if not isinstance(told, dict):
        raise BadMessage
    return told, text


def _exactly(read: Callable[[int], bytes], length: int) -> bytearray | None:
    body = bytearray()
    while len(body) < length:
        piece = read(length - len(body))
        if not piece:
            return None
        body += piece
    return body
