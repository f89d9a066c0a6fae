"""What a place for bytes has to offer: objects, written once and whole under keys of its own."""

import hashlib
import re
import uuid
from collections.abc import AsyncIterable, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

PIECE_BYTES = 1 << 20
OWN_KEY = re.compile(r"[0-9a-f]{2}/[0-9a-f]{32}(#\d+)?")
"""A key that `new_key` made; with ``#1`` an object that is (or was) being written."""


@dataclass(frozen=True)
class Extent:
    """A stored object, or as much of a blob as lies in it."""

    key: str
    bytes: int


@dataclass(frozen=True)
class Stored:
    """An object that was just written and is durable; no row names it yet."""

    extent: Extent
    sha256: str | None
    """Hex; None where no digest was wanted."""


class Objects(Protocol):
    """A folder or a bucket."""

    async def write(self, pieces: AsyncIterable[bytes], *, digest: bool) -> Stored:
        """Store a stream as a new object; durable when this returns.

        Memory stays flat at any length. When `pieces` raises, its exception comes out of here and
        nothing is stored.
        """

    def write_all(self, pieces: Iterable[bytes]) -> Stored:
        """`write` for code that runs in a thread."""

    def read(self, key: str, start: int, end: int) -> Iterator[bytes]:
        """Bytes of one object in pieces of about a megabyte.

        Raises:
            OSError: the object is gone or shorter than `end`.
        """

    def delete(self, key: str) -> None:
        """Remove an object; one that is gone already is no fault."""

    def keys(self) -> Iterator[tuple[str, float]]:
        """Every key and when its object was last changed."""

    def free_bytes(self) -> int | None:
        """Free space, or None where there is no end to it."""


class Tally:
    """Length and, where it is wanted, SHA-256 of bytes that pass by."""

    def __init__(self, *, digest: bool) -> None:
        self.bytes = 0
        self._sha256 = hashlib.sha256() if digest else None

    def add(self, piece: bytes) -> None:
        """Count the next piece."""
        self.bytes += len(piece)
        if self._sha256 is not None:
            self._sha256.update(piece)

    def stored(self, key: str) -> Stored:
        """All of it as the object `key`."""
        sha256 = None if self._sha256 is None else self._sha256.hexdigest()
        return Stored(Extent(key, self.bytes), sha256)


def new_key() -> str:
    """A key that nobody has."""
    name = uuid.uuid4().hex
    return f"{name[:2]}/{name}"
