"""Blocking sources of bytes, for answers that stream."""

import asyncio
from collections.abc import AsyncIterator, Generator

from starlette.concurrency import run_in_threadpool


async def read_ahead(pieces: Generator[bytes, None, None]) -> AsyncIterator[bytes]:
    """Hand on `pieces`, each read in a thread while the one before it is sent."""

    def begin() -> asyncio.Future[bytes | None]:
        return asyncio.ensure_future(run_in_threadpool(next, pieces, None))

    reading = begin()
    try:
        while (piece := await reading) is not None:
            reading = begin()
            yield piece
    finally:
        await asyncio.gather(reading, return_exceptions=True)  # whoever left does not care
        pieces.close()
