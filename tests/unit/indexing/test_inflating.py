import gzip
import zlib

import pytest

from linarite.indexing.inflating import BadEncoding, inflated

TEXT = b"all of it, " * 10_000


def pieces(packed: bytes, size: int = 1000) -> list[bytes]:
    return [packed[start : start + size] for start in range(0, len(packed), size)]


def raw_deflate(text: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(text) + packer.flush()


@pytest.mark.parametrize(
    ("encoding", "packed"),
    [
        (None, TEXT),
        ("identity", TEXT),
        ("gzip", gzip.compress(TEXT)),
        ("X-GZIP ", gzip.compress(TEXT[:5000]) + gzip.compress(TEXT[5000:])),
        ("gzip", gzip.compress(TEXT) + b"\0\0 padding"),
        ("deflate", zlib.compress(TEXT)),
        ("deflate", raw_deflate(TEXT)),
    ],
    ids=["none", "identity", "gzip", "two", "padded", "deflate", "raw"],
)
@pytest.mark.parametrize("size", [1, 1000, 1 << 20])
def test_what_was_packed_is_unpacked(encoding, packed, size):
    assert b"".join(inflated(pieces(packed, size), encoding)) == TEXT


def test_only_what_is_taken_is_unpacked():
    bomb = inflated(pieces(gzip.compress(bytes(100 << 20))), "gzip")

    assert max(len(next(bomb)) for _ in range(10)) <= 1 << 16


@pytest.mark.parametrize(
    ("encoding", "packed"),
    [
        ("br", TEXT),
        ("gzip, gzip", gzip.compress(gzip.compress(TEXT))),
        ("gzip", TEXT),
        ("deflate", TEXT),
        ("gzip", gzip.compress(TEXT)[:-20]),
        ("gzip", b""),
    ],
    ids=["unknown", "nested", "no-gzip", "no-deflate", "cut", "empty"],
)
def test_what_cannot_be_unpacked_is_told(encoding, packed):
    with pytest.raises(BadEncoding):
        list(inflated(pieces(packed), encoding))
