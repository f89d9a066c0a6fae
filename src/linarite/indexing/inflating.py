"""Unpacking what a server sent packed, without letting a small body become a large one."""

import zlib
from collections.abc import Iterable, Iterator

_STEP_BYTES = 1 << 16
_GZIP = b"\x1f\x8b"


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
    piece = _beginning(b"", pieces)
    bits = -15 if name == "deflate" and _is_raw(piece) else 47
    unpacker = zlib.decompressobj(bits)
    try:
        while piece:
            yield unpacker.decompress(piece, _STEP_BYTES)
            piece = unpacker.unconsumed_tail
            if unpacker.eof:  # of gzip several may stand in a row
                piece = _beginning(unpacker.unused_data, pieces)
                if not piece.startswith(_GZIP):
                    return
                unpacker = zlib.decompressobj(bits)
            piece = piece or next(pieces, b"")
    except zlib.error as error:
        raise BadEncoding(f"the content is not {name} as it says") from error
    raise BadEncoding(f"the content is not {name} as it says, or was cut off")


def _beginning(piece: bytes, pieces: Iterator[bytes]) -> bytes:
    """As much as says what it is: two bytes, where there are so many."""
    while len(piece) < 2 and (more := next(pieces, b"")):
        piece += more
    return piece


def _is_raw(first: bytes) -> bool:
    """Whether deflate came without zlib's two bytes, as some servers send it."""
    return len(first) < 2 or (first[0] & 15) != 8 or (first[0] << 8 | first[1]) % 31 != 0
