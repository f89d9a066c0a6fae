"""Where bytes lie: a local folder, S3, Azure Blob or Google Cloud Storage, behind one store.

An *object* is bytes under a key, written once and whole; an *extent* is a key with its length; a
blob is a list of extents read one after the other, so that a file put together from many parts
needs no copy. Which blob belongs to whom stands in the database (`blob_rows`), not here.
"""

import asyncio
import hashlib
import os
import shutil
import uuid
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlparse

import obstore
from obstore.store import LocalStore, ObjectStore, from_url

PIECE_BYTES = 1 << 20
_CHUNK_BYTES = 8 << 20


@dataclass(frozen=True)
class Extent:
    """A stored object, or as much of a blob as lies in it."""

    key: str
    bytes: int


@dataclass(frozen=True)
class Stored:
    """An object that was just written and is durable; no row names it yet."""

    extent: Extent
    sha256: str


class BlobStore:
    """Objects in a folder of this machine or in a bucket.

    Args:
        url: ``file:///folder`` or what obstore takes: ``s3://…``, ``az://…``, ``gs://…``;
            credentials come from the environment, as each cloud's own tools read them.
    """

    def __init__(self, url: str) -> None:
        parsed = urlparse(url)
        self.folder = Path(unquote(parsed.path)) if parsed.scheme == "file" else None
        if self.folder is not None:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._store: ObjectStore = LocalStore(self.folder)
        else:
            self._store = from_url(url)

    async def write(self, pieces: AsyncIterable[bytes]) -> Stored:
        """Store a stream as a new object; durable when this returns.

        Memory stays flat at any length. When `pieces` raises, its exception comes out of here and
        nothing is stored.
        """
        key, seen = _new_key(), _Digest()

        async def digested() -> AsyncIterator[bytes]:
            async for piece in pieces:
                await asyncio.to_thread(seen.update, piece)
                yield piece

        await obstore.put_async(
            self._store, key, digested(), chunk_size=_CHUNK_BYTES, max_concurrency=2
        )
        await asyncio.to_thread(self._sync, key)
        return Stored(Extent(key, seen.bytes), seen.hexdigest())

    def write_all(self, pieces: Iterable[bytes]) -> Stored:
        """`write` for code that runs in a thread."""
        key, seen = _new_key(), _Digest()

        def digested() -> Iterator[bytes]:
            for piece in pieces:
                seen.update(piece)
                yield piece

        obstore.put(self._store, key, digested(), chunk_size=_CHUNK_BYTES, max_concurrency=2)
        self._sync(key)
        return Stored(Extent(key, seen.bytes), seen.hexdigest())

    def read(
        self, extents: Sequence[Extent], start: int = 0, end: int | None = None
    ) -> Iterator[bytes]:
        """The bytes from `start` up to (not including) `end`, in pieces of about a megabyte."""
        offset = 0
        for extent in extents:
            first = max(start - offset, 0)
            last = extent.bytes if end is None else min(end - offset, extent.bytes)
            if first < last:
                yield from self._read_extent(extent.key, first, last)
            offset += extent.bytes

    def lines(self, extents: Sequence[Extent], start: int = 0) -> Iterator[bytes]:
        """The lines from byte `start` on, without their line feed; the last may lack one."""
        rest = b""
        for piece in self.read(extents, start):
            *whole, rest = (rest + piece).split(b"\n")
            yield from whole
        if rest:
            yield rest

    def delete(self, keys: Sequence[str]) -> None:
        """Remove objects; one that is gone already is no fault."""
        for key in keys:
            try:
                obstore.delete(self._store, key)
            except FileNotFoundError:
                continue

    def keys_before(self, moment: float) -> Iterator[str]:
        """Keys of the objects, half-written ones of a local folder too, last changed before it."""
        for page in obstore.list(self._store):
            for meta in page:
                if meta["last_modified"].timestamp() < moment:
                    yield meta["path"]

    def free_bytes(self) -> int | None:
        """Free space where the bytes lie, or None for a bucket, which has no end."""
        return None if self.folder is None else shutil.disk_usage(self.folder).free

    def _read_extent(self, key: str, start: int, end: int) -> Iterator[bytes]:
        if self.folder is None:
            result = obstore.get(self._store, key, options={"range": (start, end)})
            for piece in result.stream(min_chunk_size=PIECE_BYTES):
                yield bytes(piece)
            return
        with (self.folder / key).open("rb", buffering=0) as file:
            file.seek(start)
            while start < end and (piece := file.read(min(PIECE_BYTES, end - start))):
                start += len(piece)
                yield piece

    def _sync(self, key: str) -> None:
        """Make a local object durable; a bucket's objects are durable when they are written."""
        if self.folder is None:
            return
        for path in (self.folder / key, (self.folder / key).parent, self.folder):
            descriptor = os.open(path, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


class _Digest:
    """Length and SHA-256 of what passes by."""

    def __init__(self) -> None:
        self.bytes = 0
        self._sha256 = hashlib.sha256()

    def update(self, piece: bytes) -> None:
        self.bytes += len(piece)
        self._sha256.update(piece)

    def hexdigest(self) -> str:
        return self._sha256.hexdigest()


def _new_key() -> str:
    name = uuid.uuid4().hex
    return f"{name[:2]}/{name}"
