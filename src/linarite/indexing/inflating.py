"""Unpacking what a server sent packed, without letting a small body become a large one."""

import zlib
from collections.abc import Iterable, Iterator

_STEP_BYTES = 1 << 16


class BadEncoding(ValueError):
    """Bytes are not packed in the way that was told, or in one that is not unpacked here."""


def inflated(pieces: Iterable[bytes], encoding: str | None) -> Iterator[bytes]:
    """What `pieces` were before they were packed, in pieces of 64 KiB at most where they were.

    However much a piece unpacks to, only as much as is taken from here is ever held.

    Args:
        pieces: the body as it came.
        encoding: its Content-Encoding: gzip, deflate, or none.

    Raises:
        BadEncoding: it is another, or the bytes are no such.
    """
    name = (encoding or "identity").strip().lower()
    if name in {"identity", ""}:
        yield from pieces
    elif name in {"gzip", "x-gzip", "deflate"}:
        yield from _inflated(iter(pieces), name)
    else:
        raise BadEncoding(f"the content encoding {name[:40]!r} is not unpacked here")


def _inflated(pieces: Iterator[bytes], name: str) -> Iterator[bytes]:
    first = next(pieces, b"")
    unpacker = zlib.decompressobj(-15 if name == "deflate" and _is_raw(first) else 47)
    try:
        piece: bytes | None = first
        while piece is not None:
            while piece and not unpacker.eof:
                yield unpacker.decompress(piece, _STEP_BYTES)
                piece = unpacker.unconsumed_tail
            piece = None if unpacker.eof else next(pieces, None)
    except zlib.error as error:
        raise BadEncoding(f"the content is not {name} as it says") from error
    if not unpacker.eof:
        raise BadEncoding(f"the content is not {name} as it says, or was cut off")


def _is_raw(first: bytes) -> bool:
    """Whether deflate came without zlib's two bytes, as some servers send it."""
    return len(first) < 2 or (first[0] & 15) != 8 or (first[0] << 8 | first[1]) % 31 != 0
