"""Which documents a listing has shown, a bit for each."""

from collections.abc import Iterable


class Seen:
    """Documents by `seq`; a few bytes for a thousand of them.

    Args:
        oldest, newest: the ends of what was there before the listing began. What lies above was
            added while it went on, so it was shown.
    """

    def __init__(self, oldest: int, newest: int) -> None:
        self._oldest = oldest
        self.newest = newest
        self._bits = bytearray((newest - oldest) // 8 + 1)

    def add(self, seqs: Iterable[int]) -> None:
        """Note that documents were shown."""
        for seq in seqs:
            if seq <= self.newest:
                place, bit = divmod(seq - self._oldest, 8)
                self._bits[place] |= 1 << bit

    def __contains__(self, seq: int) -> bool:
        place, bit = divmod(seq - self._oldest, 8)
        return seq > self.newest or bool(self._bits[place] >> bit & 1)

    def are_all(self, count: int) -> bool:
        """Whether all were shown of `count` that were there before the listing began."""
        return int.from_bytes(self._bits, "little").bit_count() == count
