"""Where bytes lie: a local folder, S3, Azure Blob or Google Cloud Storage, behind one store.

An *object* is bytes under a key, written once and whole; an *extent* is a key with its length; a
blob is a list of extents read one after the other, so that a file put together from many parts
needs no copy. Which blob belongs to whom stands in the database (`blob_rows`), not here.
"""

from collections.abc import AsyncIterable, Generator, Iterable, Iterator, Sequence
from pathlib import Path
from urllib.parse import unquote, urlparse

from linarite.storage.bucket import Bucket
from linarite.storage.folder import Folder
from linarite.storage.objects import OWN_KEY, Extent, Objects, Stored

LINE_BYTES = 64 << 20


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
        """Where a local store's files are."""
        self._objects: Objects = Bucket(url) if self.folder is None else Folder(self.folder)

    async def write(self, pieces: AsyncIterable[bytes], *, digest: bool = True) -> Stored:
        """Store a stream as a new object; durable when this returns.

        Memory stays flat at any length. When `pieces` raises, its exception comes out of here and
        nothing is stored.

        Args:
            pieces: the bytes, in order.
            digest: whether the digest will be asked for; it takes as long as the writing.

        Raises:
            QuotaExceeded: the disk is full; nothing is stored.
        """
        return await self._objects.write(pieces, digest=digest)

    def write_all(self, pieces: Iterable[bytes]) -> Stored:
        """`write` for code that runs in a thread."""
        return self._objects.write_all(pieces)

    def read(
        self, extents: Sequence[Extent], start: int = 0, end: int | None = None
    ) -> Generator[bytes, None, None]:
        """The bytes from `start` up to (not including) `end`, in pieces of about a megabyte.

        Raises:
            OSError: an object is gone or shorter than its extent.
        """
        offset = 0
        for extent in extents:
            first = max(start - offset, 0)
            last = extent.bytes if end is None else min(end - offset, extent.bytes)
            if first < last:
                yield from self._objects.read(extent.key, first, last)
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
            self._objects.delete(key)

    def keys_before(self, moment: float) -> Iterator[str]:
        """Keys of this store's objects, half-written ones too, last changed before `moment`."""
        found = self._objects.keys()
        return (key for key, changed in found if changed < moment and OWN_KEY.fullmatch(key))

    def free_bytes(self) -> int | None:
        """Free space where the bytes lie, or None for a bucket, which has no end."""
        return self._objects.free_bytes()
