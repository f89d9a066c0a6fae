"""Which completions bear a mark: a bit for each seq, in blocks, and when those were made.

What several marks have in common is found by machine words instead of row by row: a million bits
take some microseconds. A bit that changes is not worth writing a block anew for, so changes are
noted one after the other and come to the blocks some dozens at a time. Knows no database.
"""

import struct
import zlib
from collections.abc import Iterable, Iterator, Sequence

from linarite.wire.shapes import INT64_MAX

BLOCK = 32_768
"""Neighbouring seqs whose bits are kept together, in 4 KB: one page of SQLite's."""
SPAN = 256
"""Neighbouring seqs of which the earliest and the latest time are known.

Of fewer, the times would not always fit into a page of PostgreSQL's beside the bits.
"""

_BLOCK_BYTES = BLOCK // 8
_SPANS = BLOCK // SPAN
_SPARSE = BLOCK // 32
"""Fewer bits are compressed, so that a mark of few takes no page of each block."""
_TIMES = struct.Struct(f"<{2 * _SPANS}q")
_CHANGE = struct.Struct("<qq")
CHANGE_BYTES = _CHANGE.size
_NEVER = (INT64_MAX, -INT64_MAX)

Change = tuple[int, int]
"""The seq of a completion that bears a mark now, negative of one that no longer does; its time."""
Times = tuple[int, int]
"""The earliest and the latest."""


class Block:
    """The completions among `BLOCK` neighbours that bear a mark.

    Args:
        bits, times, earliest, latest: as `packed` gave them; none for a block that nothing is in.
    """

    def __init__(
        self,
        bits: bytes = b"",
        times: bytes = b"",
        earliest: int = _NEVER[0],
        latest: int = _NEVER[1],
    ) -> None:
        is_raw = len(bits) in {0, _BLOCK_BYTES}
        self.bits = int.from_bytes(bits if is_raw else zlib.decompress(bits), "little")
        self.times = (earliest, latest)
        """Between which all that are in the block, or were, have been made."""
        self._packed_times = times
        self._added: list[Change] = []
        """Those whose times are not among the packed ones."""

    def spans(self, bits: int) -> Iterator[tuple[int, int, Times]]:
        """Each span that has some of `bits`: where in the block it begins, which, and its times."""
        times = self._span_times()
        while bits:
            index = (bits.bit_length() - 1) // SPAN
            some = bits >> index * SPAN
            bits ^= some << index * SPAN
            yield index * SPAN, some, (times[2 * index], times[2 * index + 1])

    def apply(self, seq: int, created: int) -> None:
        """Apply a change."""
        number = abs(seq) % BLOCK
        if seq < 0:
            self.bits &= ~(1 << number)
            return
        self.bits |= 1 << number
        self.times = (min(self.times[0], created), max(self.times[1], created))
        self._added.append((number, created))

    def packed(self) -> tuple[bytes, bytes, int, int]:
        """Bits, the times of spans, the earliest and the latest, as they are stored."""
        bits = self.bits.to_bytes(_BLOCK_BYTES, "little")
        if self.bits.bit_count() < _SPARSE:
            bits = zlib.compress(bits, 1)
        return bits, zlib.compress(_TIMES.pack(*self._span_times()), 1), *self.times

    def _span_times(self) -> list[int]:
        """The earliest and the latest of each span in turn."""
        packed = self._packed_times
        times = list(_TIMES.unpack(zlib.decompress(packed))) if packed else [*_NEVER] * _SPANS
        for number, created in self._added:
            first = number // SPAN * 2
            times[first] = min(times[first], created)
            times[first + 1] = max(times[first + 1], created)
        return times


def apply(blocks: dict[int, Block], changes: Iterable[Change]) -> None:
    """Apply changes to the blocks of a mark, in their order."""
    for seq, created in changes:
        number = abs(seq) // BLOCK
        if number not in blocks:
            blocks[number] = Block()
        blocks[number].apply(seq, created)


def packed(seq: int, created: int) -> bytes:
    """A change, as it is noted."""
    return _CHANGE.pack(seq, created)


def unpacked(noted: bytes) -> Sequence[Change]:
    """Changes that were noted one after the other."""
    return list(_CHANGE.iter_unpack(noted))


def numbers(bits: int) -> Iterator[int]:
    """Which bits are set, of a few hundred."""
    while bits:
        lowest = bits & -bits
        yield lowest.bit_length() - 1
        bits ^= lowest
