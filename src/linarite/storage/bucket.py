"""Objects in a bucket: S3, Azure Blob, Google Cloud Storage, by obstore."""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator

import obstore
from obstore.store import from_url

from linarite.storage.objects import PIECE_BYTES, Stored, Tally, new_key

_CHUNK_BYTES = 5 << 20  # the smallest part that S3 takes
_IN_FLIGHT = 2  # chunks; with one more that fills, that is what a write holds in memory


class Bucket:
    """Objects behind a URL such as ``s3://…``; durable when they are written.

    What breaks off in a bucket stays with it and goes by its own rule for incomplete uploads.
    """

    def __init__(self, url: str) -> None:
        self._store = from_url(url)

    async def write(self, pieces: AsyncIterable[bytes], *, digest: bool) -> Stored:
        key, tally = new_key(), Tally(digest=digest)

        async def counted() -> AsyncIterator[bytes]:
            async for piece in pieces:
                await asyncio.to_thread(tally.add, piece)
                yield piece

        await obstore.put_async(
            self._store, key, counted(), chunk_size=_CHUNK_BYTES, max_concurrency=_IN_FLIGHT
        )
        return tally.stored(key)

    def write_all(self, pieces: Iterable[bytes]) -> Stored:
        key, tally = new_key(), Tally(digest=True)

        def counted() -> Iterator[bytes]:
            for piece in pieces:
                tally.add(piece)
                yield piece

        obstore.put(
            self._store, key, counted(), chunk_size=_CHUNK_BYTES, max_concurrency=_IN_FLIGHT
        )
        return tally.stored(key)

    def read(self, key: str, start: int, end: int) -> Iterator[bytes]:
        result = obstore.get(self._store, key, options={"range": (start, end)})
        for piece in result.stream(min_chunk_size=PIECE_BYTES):
            yield bytes(piece)

    def delete(self, key: str) -> None:
        try:
            obstore.delete(self._store, key)
        except FileNotFoundError:
            return

    def keys(self) -> Iterator[tuple[str, float]]:
        for page in obstore.list(self._store):
            for meta in page:
                yield meta["path"], meta["last_modified"].timestamp()

    def free_bytes(self) -> int | None:
        return None
