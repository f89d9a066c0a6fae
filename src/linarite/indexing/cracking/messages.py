"""How a cracker and its child talk: a JSON object, a text, and the places where that is cut.

Each stands behind its length, of eight bytes, and may be empty. Text and places are no JSON, so
that those of a hostile file take no more memory than they have bytes, whatever they are made of.
"""

import json
from array import array
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import IO, Any

_LENGTH_BYTES = 8
_MOST_BYTES = 1 << 20
"""Of the object."""
_MOST_PLACE_BYTES = 16 << 20
"""More than two million pieces."""
NEXT = b"\x1e\n"
"""What a child writes among its complaints before each file."""


def _no_places() -> "array[int]":
    return array("I")


@dataclass(frozen=True, slots=True)
class Message:
    """What one says to the other.

    Args:
        told: an object.
        text: a long one, or none.
        places: in the text, in characters: where a piece begins, where it ends, and so on.
    """

    told: dict[str, Any]
    text: str = ""
    places: "array[int]" = field(default_factory=_no_places)


class MessageTooLong(Exception):
    """A message is longer than its reader wants."""


class BadMessage(Exception):
    """A message is none."""


def send(file: IO[bytes], message: Message) -> None:
    """Write a message at once.

    Raises:
        OSError: nobody reads any more.
    """
    text = message.text.encode("utf-8", "replace")
    for body in (json.dumps(message.told).encode(), text, message.places.tobytes()):
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
    for most_bytes in (_MOST_BYTES, most_text_bytes, _MOST_PLACE_BYTES):
        head = _exactly(read, _LENGTH_BYTES)
        if head is None:
            return None
        length = int.from_bytes(head, "big")
        if length > most_bytes:
            raise MessageTooLong
        if (body := _exactly(read, length)) is None:
            return None
        parts.append(body)
    places = array("I")
    try:
        told, text = json.loads(parts[0]), parts[1].decode()
        places.frombytes(parts[2])
    except (ValueError, RecursionError) as error:
        raise BadMessage from error
    if not isinstance(told, dict):
        raise BadMessage
    return Message(told, text, places)


def _exactly(read: Callable[[int], bytes], length: int) -> bytearray | None:
    body = bytearray()
    while len(body) < length:
        piece = read(length - len(body))
        if not piece:
            return None
        body += piece
    return body
