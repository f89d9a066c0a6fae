import asyncio
import os
import subprocess
import sys
import tracemalloc
from collections.abc import AsyncIterator

import pytest

from linarite.storage.blobs import BlobStore, LineTooLong
from linarite.storage.objects import PIECE_BYTES, Extent


@pytest.fixture(params=["folder", "bucket"])
def store(request, tmp_path):
    """A folder, and a store that is read and listed the way a bucket is."""
    return BlobStore((tmp_path / "blobs").as_uri() if request.param == "folder" else "memory:///")


@pytest.fixture
def folder(tmp_path):
    return BlobStore((tmp_path / "blobs").as_uri())


async def stream(*pieces: bytes | Exception) -> AsyncIterator[bytes]:
    for piece in pieces:
        if isinstance(piece, Exception):
            raise piece
        yield piece


def objects(store: BlobStore) -> list[str]:
    return list(store.keys_before(float("inf")))


def test_what_is_written_is_read_back(store):
    stored = asyncio.run(store.write(stream(b"one ", b"two")))

    assert b"".join(store.read([stored.extent])) == b"one two"
    assert stored.extent.bytes == 7


def test_an_empty_stream_is_an_object_of_no_bytes(store):
    stored = asyncio.run(store.write(stream()))

    assert list(store.read([stored.extent])) == []
    assert objects(store) == [stored.extent.key]


@pytest.mark.parametrize("start", [0, 1, 3, 4, 6, 9])
@pytest.mark.parametrize("end", [None, 1, 3, 4, 7, 9])
def test_any_range_over_several_extents_is_read(store, start, end):
    """The extents hold ``abc``, ``d``, nothing and ``efghi``."""
    extents = [store.write_all([part]).extent for part in (b"abc", b"d", b"", b"efghi")]

    assert b"".join(store.read(extents, start, end)) == b"abcdefghi"[start:end]


def test_nothing_is_stored_of_a_stream_that_breaks(store):
    broken = stream(b"x" * (12 << 20), ConnectionError("gone"))

    with pytest.raises(ConnectionError, match="gone"):
        asyncio.run(store.write(broken))

    assert objects(store) == []


def test_a_removed_object_may_be_removed_again(store):
    key = store.write_all([b"x"]).extent.key

    store.delete([key])
    store.delete([key])

    assert objects(store) == []


def test_a_half_written_object_of_a_killed_process_is_listed_and_removed(folder):
    half = folder.folder / "ab" / f"{'ab' * 16}#1"
    half.parent.mkdir()
    half.write_bytes(b"half")

    assert objects(folder) == [f"ab/{'ab' * 16}#1"]
    folder.delete(objects(folder))
    assert not half.exists()


def test_objects_that_others_put_there_are_not_listed(folder):
    (folder.folder / "jobs").mkdir()
    (folder.folder / "jobs" / "checkpoint.safetensors").write_bytes(b"x")

    assert objects(folder) == []


def test_only_objects_unchanged_since_a_moment_are_listed(folder):
    old, new = (folder.write_all([b"x"]).extent.key for _ in range(2))
    os.utime(folder.folder / old, (1000, 1000))
    os.utime(folder.folder / new, (2000, 2000))

    assert list(folder.keys_before(1500)) == [old]


def test_an_object_shorter_than_its_extent_is_an_error_and_no_short_answer(folder):
    stored = folder.write_all([b"abc"])

    with pytest.raises(OSError, match="ends at byte 3, before byte 4"):
        list(folder.read([Extent(stored.extent.key, 4)]))


@pytest.mark.parametrize(
    ("content", "lines"),
    [
        (b"", []),
        (b"\n", [b""]),
        (b"a", [b"a"]),
        (b"a\nb", [b"a", b"b"]),
        (b"a\n\nb\n", [b"a", b"", b"b"]),
    ],
)
def test_lines_are_what_stands_between_line_feeds(store, content, lines):
    """Each byte is an object of its own, so that lines cross every border."""
    extents = [store.write_all([bytes([byte])]).extent for byte in content]

    assert list(store.lines(extents)) == lines


def test_lines_may_start_in_the_middle(store):
    stored = store.write_all([b"first\nsecond\nthird"])

    assert list(store.lines([stored.extent], start=6)) == [b"second", b"third"]


def test_a_line_over_the_limit_is_refused_by_its_number(store):
    stored = store.write_all([b"ab\nabcd\n"])

    lines = store.lines([stored.extent], limit=3)

    assert next(lines) == b"ab"
    with pytest.raises(LineTooLong) as refusal:
        next(lines)
    assert refusal.value.line == 1


def test_a_file_without_a_line_feed_does_not_fill_memory(folder):
    stored = folder.write_all(b"x" * PIECE_BYTES for _ in range(64))
    tracemalloc.start()

    with pytest.raises(LineTooLong):
        list(folder.lines([stored.extent], limit=4 << 20))

    assert tracemalloc.get_traced_memory()[1] < 8 << 20
    tracemalloc.stop()


_WRITE_MORE_THAN_FITS = """
import resource, signal, sys
from linarite.errors import QuotaExceeded
from linarite.storage.blobs import BlobStore
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (4 << 20, 4 << 20))
store = BlobStore(sys.argv[1])
try:
    store.write_all(b"x" * (1 << 20) for _ in range(40))
except QuotaExceeded as refusal:
    print(refusal.message, list(store.keys_before(float("inf"))))
"""


def test_a_disk_that_takes_no_more_is_a_clear_refusal_and_leaves_nothing(tmp_path):
    """A process of its own, whose files the kernel bounds, as a full disk would."""
    url = (tmp_path / "blobs").as_uri()

    ended = subprocess.run(
        [sys.executable, "-c", _WRITE_MORE_THAN_FITS, url], capture_output=True, text=True
    )

    assert ended.stdout.startswith("The disk of this server is full"), ended.stderr
    assert ended.stdout.endswith("[]\n")
