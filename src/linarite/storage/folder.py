"""Objects in a folder of this machine."""

import asyncio
import errno
import os
import shutil
from collections.abc import AsyncIterable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path

from linarite.errors import QuotaExceeded
from linarite.storage.objects import PIECE_BYTES, Stored, Tally, new_key

_HALF_WRITTEN = "#1"
_FLUSH_BYTES = 16 << 20
_FLUSHERS = 4
_FULL = {errno.EFBIG, errno.ENOSPC, errno.EDQUOT}


class Folder:
    """Objects as files, each half-written beside its name until it is whole and durable.

    Writing raises QuotaExceeded when the disk is full; nothing is stored then.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._flusher = ThreadPoolExecutor(_FLUSHERS, "flush")
        path.mkdir(parents=True, exist_ok=True)

    async def write(self, pieces: AsyncIterable[bytes], *, digest: bool) -> Stored:
        """Each piece is written in a thread while the next one comes."""
        with _new_object(self._path, self._flusher, digest=digest) as target:
            writing: asyncio.Future[None] | None = None
            try:
                async for piece in pieces:
                    if writing is not None:
                        await writing
                    writing = asyncio.ensure_future(asyncio.to_thread(target.add, piece))
                if writing is not None:
                    await writing
            finally:
                if writing is not None:  # the file is closed only when nobody writes to it
                    await asyncio.wait([writing])
            return await asyncio.to_thread(target.finish)

    def write_all(self, pieces: Iterable[bytes]) -> Stored:
        with _new_object(self._path, self._flusher, digest=True) as target:
            for piece in pieces:
                target.add(piece)
            return target.finish()

    def read(self, key: str, start: int, end: int) -> Iterator[bytes]:
        with (self._path / key).open("rb", buffering=0) as file:
            file.seek(start)
            while start < end:
                piece = file.read(min(PIECE_BYTES, end - start))
                if not piece:
                    raise OSError(f"the object {key} ends at byte {start}, before byte {end}")
                start += len(piece)
                yield piece

    def delete(self, key: str) -> None:
        (self._path / key).unlink(missing_ok=True)

    def keys(self) -> Iterator[tuple[str, float]]:
        for folder, _, names in os.walk(self._path):
            for name in names:
                path = Path(folder, name)
                try:
                    yield path.relative_to(self._path).as_posix(), path.stat().st_mtime
                except FileNotFoundError:  # renamed or removed since it was listed
                    continue

    def free_bytes(self) -> int | None:
        return shutil.disk_usage(self._path).free


class _NewObject:
    """A file that is being written."""

    def __init__(self, folder: Path, flusher: ThreadPoolExecutor, *, digest: bool) -> None:
        self._folder = folder
        self._flusher = flusher
        self._flush: Future[None] | None = None
        self._key = new_key()
        self._half = folder / f"{self._key}{_HALF_WRITTEN}"
        self._half.parent.mkdir(exist_ok=True)
        self._descriptor = os.open(self._half, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        self._tally = Tally(digest=digest)
        self._flushed = 0

    def add(self, piece: bytes) -> None:
        rest = memoryview(piece)
        while rest:
            rest = rest[os.write(self._descriptor, rest) :]
        self._tally.add(piece)
        if self._tally.bytes - self._flushed >= _FLUSH_BYTES:
            self._begin_flush()

    def finish(self) -> Stored:
        """Make the object durable and give it its name."""
        if self._flush is not None:
            self._flush.result()
        os.fsync(self._descriptor)
        whole = self._folder / self._key
        self._half.rename(whole)
        for folder in (whole.parent, self._folder):
            descriptor = os.open(folder, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        return self._tally.stored(self._key)

    def close(self) -> None:
        """Leave nothing half-written."""
        if self._flush is not None:
            wait([self._flush])
        os.close(self._descriptor)
        self._half.unlink(missing_ok=True)

    def _begin_flush(self) -> None:
        """Have the disk written while more comes, so that `finish` waits for little.

        One flush at a time; what it fails with comes out of the next one or of `finish`.
        """
        if self._flush is not None:
            if not self._flush.done():
                return
            self._flush.result()
        self._flush = self._flusher.submit(os.fsync, self._descriptor)
        self._flushed = self._tally.bytes


@contextmanager
def _new_object(folder: Path, flusher: ThreadPoolExecutor, *, digest: bool) -> Iterator[_NewObject]:
    try:
        target = _NewObject(folder, flusher, digest=digest)
        try:
            yield target
        finally:
            target.close()
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise QuotaExceeded(
            "The disk of this server is full: nothing of this was stored. Delete files, or ask the "
            "operator for more space."
        ) from error
