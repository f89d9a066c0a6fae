import asyncio
import threading
from collections.abc import Iterator

import pytest

from linarite.http.reading import read_ahead


class Source:
    """Pieces, and what became of them."""

    def __init__(self, count: int, *, breaks: bool = False) -> None:
        self.read = 0
        self.is_closed = False
        self.threads: set[int] = set()
        self._count, self._breaks = count, breaks

    def pieces(self) -> Iterator[bytes]:
        try:
            for number in range(self._count):
                self.threads.add(threading.get_ident())
                self.read += 1
                yield bytes([number])
            if self._breaks:
                raise OSError("the disk is gone")
        finally:
            self.is_closed = True


def test_pieces_come_in_order_and_from_other_threads():
    source = Source(5)

    async def go() -> list[bytes]:
        return [piece async for piece in read_ahead(source.pieces())]

    assert asyncio.run(go()) == [bytes([number]) for number in range(5)]
    assert threading.get_ident() not in source.threads


def test_one_piece_is_read_while_another_is_sent():
    source = Source(5)

    async def go() -> int:
        pieces = read_ahead(source.pieces())
        await anext(pieces)
        await asyncio.sleep(0.1)
        read = source.read
        await pieces.aclose()
        return read

    assert asyncio.run(go()) == 2
    assert source.is_closed


def test_a_fault_of_the_source_comes_after_what_it_gave():
    source, got = Source(2, breaks=True), []

    async def go() -> None:
        async for piece in read_ahead(source.pieces()):
            got.append(piece)

    with pytest.raises(OSError, match="the disk is gone"):
        asyncio.run(go())
    assert got == [b"\0", b"\1"]


def test_a_reader_who_is_cancelled_leaves_the_source_closed():
    source = Source(5)

    async def read() -> None:
        async for _ in read_ahead(source.pieces()):
            await asyncio.Event().wait()

    async def go() -> None:
        reading = asyncio.create_task(read())
        await asyncio.sleep(0.05)
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        await asyncio.get_running_loop().shutdown_asyncgens()

    asyncio.run(go())
    assert source.is_closed
