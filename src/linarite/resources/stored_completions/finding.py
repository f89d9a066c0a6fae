"""Which completions bear several marks, in the order of a list.

Where many of those that bear the rarest mark bear the others, walking its labels comes to a page
at once. Where few do, the bitmaps tell which.
"""

import heapq
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import sqlalchemy as sa

from linarite.http.pages import Page
from linarite.resources.stored_completions.bitmaps import BLOCK, SPAN, Block, Times, numbers
from linarite.resources.stored_completions.marks import FEW, Outline, blocks, outline
from linarite.resources.stored_completions.statements import returned
from linarite.wire.shapes import INT64_MAX

_NEAR = 8
"""How many blocks of each mark are read first."""
_MOST = 1_000
"""How many are read at once; 32 million completions are in them."""

# PostgreSQL would make a join of EXISTS, over all that bear either mark
_PROBE = (
    "(SELECT 1 FROM stored_completion_labels o "
    "WHERE o.mark = %s AND o.created = c.created AND o.completion = c.completion)"
)

_TIMES = "SELECT created, seq FROM stored_completions WHERE seq = ANY(%s)"

Place = tuple[int, int]
"""A completion's time and seq, by which lists are ordered."""


def bearing(
    connection: sa.Connection,
    marks: Sequence[bytes],
    wanted: Page,
    after: Place | None,
    newest: int = INT64_MAX,
) -> list[int]:
    """The seqs of a page of completions that bear all of `marks`, and of one more, up to `newest`.

    Args:
        connection: where to; shows one moment.
        marks: the rarest first.
        wanted: which page.
        after: the place that it comes after; None for the first page.
        newest: the last seq that is looked at.
    """
    place = _start(wanted, after)
    stride = 4 * (wanted.limit + 1)
    found: list[int] = []
    while True:
        labels = _labels(connection, marks, wanted, place, stride)
        found += [seq for _, seq, bears in labels if bears and seq <= newest]
        if len(found) > wanted.limit or len(labels) < stride:
            return found[: wanted.limit + 1]
        place = _beyond(wanted, labels[-1][:2])
        if (known := outline(connection, marks)) is not None:
            missing = wanted.limit + 1 - len(found)
            meeting = _Meeting(connection, known, wanted, place, newest)
            return found + list(islice(meeting.seqs(missing), missing))
        stride = FEW


def count_bearing(connection: sa.Connection, marks: Sequence[bytes]) -> int:
    """How many completions bear all of `marks`; looks at each that bears the first."""
    first, *others = marks
    bears = " AND ".join([f"{_PROBE} IS NOT NULL"] * len(others))
    statement = f"SELECT count(*) FROM stored_completion_labels c WHERE mark = %s AND {bears}"
    [(found,)] = returned(connection, statement, [first, *others])
    return int(found)


class _Meeting:
    """Those from a place on that bear all marks, found by their bitmaps.

    Seqs come nearly, but not quite, in the order of the list. So blocks are opened in the order of
    the first place that they may hold, and the spans in them: a completion is next when nothing
    that is unopened can hold one before it.
    """

    def __init__(
        self,
        connection: sa.Connection,
        known: Outline,
        wanted: Page,
        place: Place,
        newest: int,
    ) -> None:
        self._connection = connection
        self._known = known
        self._sign = -1 if wanted.descending else 1
        """By which a time becomes a number that grows along the list."""
        self._start = self._along(place)
        self._newest = newest
        self._unread: list[tuple[Place, int]] = []
        """A heap of blocks: the first place that may be in each, its number."""
        self._unopened: list[tuple[Place, int, int, Block | None]] = []
        """A heap of blocks and spans: the first place that may be in each, its first seq, bits."""
        self._read_next = _NEAR
        for number, times in known.times.items():
            if begin := self._begin(_seqs_of(number), times):
                heapq.heappush(self._unread, (begin, number))

    def seqs(self, together: int) -> Iterator[int]:
        """Their seqs, in the order of the list; so many at least are looked up at once."""
        found: list[Place] = []
        while found or self._unread or self._unopened:
            others = [heap[0][0] for heap in (self._unread, self._unopened) if heap]
            if found and found[0] <= min(others, default=found[0]):
                yield abs(heapq.heappop(found)[1])
                continue
            for place in self._opened(together):
                heapq.heappush(found, place)

    def _opened(self, at_least: int) -> list[Place]:
        """The places, along the list, of those that may be next."""
        seqs: list[int] = []
        while (self._unread or self._unopened) and len(seqs) < at_least:
            if self._unread and not (self._unopened and self._unopened[0][0] < self._unread[0][0]):
                self._read()
                continue
            _, first, bits, block = heapq.heappop(self._unopened)
            if block is None:
                seqs += [first + number for number in numbers(bits)]
                continue
            for start, some, times in block.spans(bits):
                self._put(range(first + start, first + start + SPAN), some, times, None)
        seqs = [seq for seq in seqs if seq <= self._newest]
        if not seqs:
            return []
        found = map(self._along, returned(self._connection, _TIMES, lists=[seqs]))
        return [place for place in found if place >= self._start]

    def _read(self) -> None:
        """Read the next blocks: some, and when those are not enough, all."""
        nearest = range(min(self._read_next, len(self._unread)))
        wanted = {heapq.heappop(self._unread)[1] for _ in nearest}
        self._read_next = _MOST
        first, *others = blocks(self._connection, self._known, wanted)
        for number, block in first.items():
            bits = block.bits
            for other in others:
                bits &= other[number].bits if number in other else 0
            if bits:
                self._put(_seqs_of(number), bits, block.times, block)

    def _put(self, seqs: range, bits: int, times: Times, block: Block | None) -> None:
        """Have those of `seqs` whose bits are set wait to be opened."""
        if begin := self._begin(seqs, times):
            heapq.heappush(self._unopened, (begin, seqs[0], bits, block))

    def _begin(self, seqs: range, times: Times) -> Place | None:
        """The first place, along the list, that `seqs` may be at; None if they are not wanted."""
        begin, end = sorted(map(self._along, zip(times, (seqs[0], seqs[-1]), strict=True)))
        return begin if end >= self._start and seqs[0] <= self._newest else None

    def _along(self, place: Sequence[int]) -> Place:
        """A place, as it grows along the list."""
        created, seq = place
        return self._sign * created, self._sign * seq


def _seqs_of(block: int) -> range:
    return range(block * BLOCK, (block + 1) * BLOCK)


def _labels(
    connection: sa.Connection, marks: Sequence[bytes], wanted: Page, place: Place, limit: int
) -> Sequence[tuple[Any, ...]]:
    """Time and seq of the next that bear the first mark, and whether each bears the others."""
    first, *others = marks
    bears = " AND ".join([f"{_PROBE} IS NOT NULL"] * len(others)) or "TRUE"
    beyond, direction = ("<=", "DESC") if wanted.descending else (">=", "ASC")
    statement = (
        f"SELECT created, completion, {bears} FROM stored_completion_labels c "
        f"WHERE mark = %s AND (created, completion) {beyond} (%s, %s) "
        f"ORDER BY created {direction}, completion {direction} LIMIT %s"
    )
    return returned(connection, statement, [*others, first, *place, limit])


def _start(wanted: Page, after: Place | None) -> Place:
    if after is not None:
        return _beyond(wanted, after)
    return (INT64_MAX, INT64_MAX) if wanted.descending else (-INT64_MAX, -INT64_MAX)


def _beyond(wanted: Page, place: Place) -> Place:
    created, seq = place
    return (created, seq - 1 if wanted.descending else seq + 1)
