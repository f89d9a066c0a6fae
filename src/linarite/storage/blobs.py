"""Where bytes lie: a local folder, S3, Azure Blob or Google Cloud Storage, behind one store.

An *object* is bytes under a key, written once and whole; an *extent* is a key with its length; a
blob is a list of extents read one after the other, so that a file put together from many parts
needs no copy. Which blob belongs to whom stands in the database (`blob_rows`), not here.
"""

import asyncio
import hashlib
import os
import re
import shutil
import uuid
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlparse

import obstore
from obstore.exceptions import GenericError
from obstore.store import LocalStore, ObjectStore, from_url

from linarite.errors import QuotaExceeded

PIECE_BYTES = 1 << 20
LINE_BYTES = 64 << 20
_BUCKET_CHUNK_BYTES = 5 << 20  # the smallest part that S3 takes
_IN_FLIGHT = 2  # chunks; with one more that fills, that is what a write holds in memory
_OWN_KEY = re.compile(r"[0-9a-f]{2}/[0-9a-f]{32}(#\d+)?")
"""A key that this store made; with ``#1`` a local object that is (or was) being written."""
_FULL = re.compile(r"os error (27|28|122)\b")  # EFBIG, ENOSPC, EDQUOT


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


class LineTooLong(ValueError):
    """A line is longer than its reader holds in memory.

    Args:
        line: which one, counted from 0 at the place where reading started.
        limit: the most bytes a line may have.
    """

    def __init__(self, line: int, limit: int) -> None:
        super().__init__(f"line {line} is longer than {limit} bytes")
        self.line = line
        self.limit = limit


class BlobStore:
    """Objects in a folder of this machine or in a bucket.

    Args:
        url: ``file:///folder`` or what obstore takes: ``s3://…``, ``az://…``, ``gs://…``;
            credentials come from the environment, as each cloud's own tools read them.
    """

    def __init__(self, url: str) -> None:
        parsed = urlparse(url)
        self.folder = Path(unquote(parsed.path)) if parsed.scheme == "file" else None
        self._chunk_bytes = _BUCKET_CHUNK_BYTES if self.folder is None else PIECE_BYTES
        if self.folder is not None:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._store: ObjectStore = LocalStore(self.folder)
        else:
            self._store = from_url(url)

    async def write(self, pieces: AsyncIterable[bytes]) -> Stored:
        """Store a stream as a new object; durable when this returns.

        Memory stays flat at any length. When `pieces` raises, its exception comes out of here and
        nothing is stored.

        Raises:
            QuotaExceeded: the disk is full; nothing is stored.
        """
        key, seen = _new_key(), _Digest()

        async def digested() -> AsyncIterator[bytes]:
            digesting: asyncio.Future[None] | None = None  # of a piece, while the next one comes
            async for piece in pieces:
                if digesting is not None:
                    await digesting
                digesting = asyncio.ensure_future(asyncio.to_thread(seen.update, piece))
                yield piece
            if digesting is not None:
                await digesting

        with _full_disk_told():
            await obstore.put_async(
                self._store,
                key,
                digested(),
                chunk_size=self._chunk_bytes,
                max_concurrency=_IN_FLIGHT,
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

        with _full_disk_told():
            obstore.put(
                self._store,
                key,
                digested(),
                chunk_size=self._chunk_bytes,
                max_concurrency=_IN_FLIGHT,
            )
        self._sync(key)
        return Stored(Extent(key, seen.bytes), seen.hexdigest())

    def read(
        self, extents: Sequence[Extent], start: int = 0, end: int | None = None
    ) -> Iterator[bytes]:
        """The bytes from `start` up to (not including) `end`, in pieces of about a megabyte.

        Raises:
            OSError: an object is gone or shorter than its extent.
        """
        offset = 0
        for extent in extents:
            first = max(start - offset, 0)
            last = extent.bytes if end is None else min(end - offset, extent.bytes)
            if first < last:
                yield from self._read_extent(extent.key, first, last)
            offset += extent.bytes

    def lines(
        self, extents: Sequence[Extent], start: int = 0, limit: int = LINE_BYTES
    ) -> Iterator[bytes]:
        """The lines from byte `start` on, without their line feed; the last may lack one.

        Raises:
            LineTooLong: a line has more than `limit` bytes; no more than that is ever held.
        """
        number, held = 0, 0
        begun: list[bytes] = []
        for piece in self.read(extents, start):
            *whole, rest = piece.split(b"\n")
            if whole:
                whole[0] = b"".join([*begun, whole[0]])
                begun, held = [], 0
            for line in whole:
                if len(line) > limit:
                    raise LineTooLong(number, limit)
                number += 1
                yield line
            begun.append(rest)
            held += len(rest)
            if held > limit:
                raise LineTooLong(number, limit)
        if held:
            yield b"".join(begun)

    def delete(self, keys: Sequence[str]) -> None:
        """Remove objects; one that is gone already is no fault."""
        for key in keys:
            if self.folder is not None:  # obstore does not touch what it left half-written
                (self.folder / key).unlink(missing_ok=True)
                continue
            try:
                obstore.delete(self._store, key)
            except FileNotFoundError:
                continue

    def keys_before(self, moment: float) -> Iterator[str]:
        """Keys of this store's objects that were last changed before `moment`.

        Half-written ones of a local folder are among them; a bucket keeps those to itself and
        drops them by its own rule for incomplete uploads.
        """
        found = self._local_keys() if self.folder is not None else self._bucket_keys()
        return (key for key, changed in found if changed < moment and _OWN_KEY.fullmatch(key))

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
            while start < end:
                piece = file.read(min(PIECE_BYTES, end - start))
                if not piece:
                    raise OSError(f"the object {key} ends at byte {start}, before byte {end}")
                start += len(piece)
                yield piece

    def _local_keys(self) -> Iterator[tuple[str, float]]:
        assert self.folder is not None
        for folder, _, names in os.walk(self.folder):
            for name in names:
                path = Path(folder, name)
                try:
                    yield path.relative_to(self.folder).as_posix(), path.stat().st_mtime
                except FileNotFoundError:  # renamed or removed since it was listed
                    continue

    def _bucket_keys(self) -> Iterator[tuple[str, float]]:
        for page in obstore.list(self._store):
            for meta in page:
                yield meta["path"], meta["last_modified"].timestamp()

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


@contextmanager
def _full_disk_told() -> Iterator[None]:
    try:
        yield
    except GenericError as error:
        if not _FULL.search(str(error)):
            raise
        raise QuotaExceeded(
            "The disk of this server is full: nothing of this was stored. Delete files, or ask the "
            "operator for more space."
        ) from error


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
