"""What completions are found by: the labels of each mark, its bitmaps, and how many bear it.

A list by one mark reads its labels, which lie in the order of the list. What several marks have in
common is told by their bitmaps. All change in the transaction that adds or removes a completion:
the labels first, then the counts in the order of their keys, so that transactions that change the
same ones wait for each other for as short as they can and never in a ring. Who has written the
count of a mark is alone with its bitmaps until the end.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import sqlalchemy as sa

from linarite.resources.stored_completions import bitmaps
from linarite.resources.stored_completions.bitmaps import BLOCK, Block, Change, Times
from linarite.resources.stored_completions.statements import returned, run_each
from linarite.storage.database import Transaction

FEW = 500
"""Marks that no more completions bear have no bitmaps: their labels are looked through quickly."""
RECENT = 56
"""How many changes are noted beside a count before they come to the bitmaps, or soon after.

A row of so many fits into a page of SQLite's beside three others, as it must to be in one piece.
"""

_MOST_ROWS = 1_000
"""Of one statement, which may have 32,766 values on SQLite and 65,535 on PostgreSQL."""
_INSERT_LABEL = (
    "INSERT INTO stored_completion_labels (mark, created, completion) VALUES (%s, %s, %s)"
)
_DELETE_LABEL = (
    "DELETE FROM stored_completion_labels WHERE mark = %s AND created = %s AND completion = %s"
)
_COUNT = "INSERT INTO stored_completion_counts (mark, completions, recent) VALUES "
_ONE_COUNT = "(%s, %s, %s)"
# what is long is given back, to be brought to the bitmaps; what is NULL remains it, and is told as
# -1, for of IS NULL after RETURNING SQLite 3.40 does not always tell the truth
_COUNTED = (
    " ON CONFLICT (mark) DO UPDATE "
    "SET completions = stored_completion_counts.completions + excluded.completions, "
    "recent = CAST(stored_completion_counts.recent || excluded.recent AS bytea) "
    "RETURNING mark, completions, coalesce(length(recent), -1), "
    f"CASE WHEN length(recent) > {bitmaps.CHANGE_BYTES * RECENT} THEN recent END"
)
_COMPLETIONS = "SELECT mark, completions FROM stored_completion_counts WHERE mark = ANY(%s)"
_SET_RECENT = "UPDATE stored_completion_counts SET recent = %s WHERE mark = %s"
_BORNE_BY = "SELECT completion, created FROM stored_completion_labels WHERE mark = %s"
_DROP_COUNT = "DELETE FROM stored_completion_counts WHERE mark = %s"
_OUTLINE = (
    "SELECT mark, block, NULL, earliest, latest FROM stored_completion_bitmaps WHERE mark = %s "
    "UNION ALL SELECT mark, NULL, recent, 0, 0 FROM stored_completion_counts WHERE mark = ANY(%s)"
)
_BLOCKS = (
    "SELECT mark, block, bits, times, earliest, latest FROM stored_completion_bitmaps "
    "WHERE mark = ANY(%s) AND block = ANY(%s)"
)
_PUT_BLOCK = (
    "INSERT INTO stored_completion_bitmaps (mark, block, bits, times, earliest, latest) "
    "VALUES (%s, %s, %s, %s, %s, %s) "
    "ON CONFLICT (mark, block) DO UPDATE SET bits = excluded.bits, times = excluded.times, "
    "earliest = excluded.earliest, latest = excluded.latest"
)
_DROP_BLOCK = "DELETE FROM stored_completion_bitmaps WHERE mark = %s AND block = %s"
_DROP_BLOCKS = "DELETE FROM stored_completion_bitmaps WHERE mark = %s"

Label = tuple[bytes, int, int]
"""A mark, and the time and the seq of a completion that bears it."""


def change(tx: Transaction, new: Sequence[Label], gone: Sequence[Label] = ()) -> None:
    """Add labels, of completions or marks that are new, and remove others."""
    run_each(tx, _DELETE_LABEL, gone)
    run_each(tx, _INSERT_LABEL, new)
    more: dict[bytes, int] = defaultdict(int)
    noted: dict[bytes, bytearray] = defaultdict(bytearray)
    for mark, created, seq in gone:
        more[mark] -= 1
        noted[mark] += bitmaps.packed(-seq, created)
    for mark, created, seq in new:
        more[mark] += 1
        noted[mark] += bitmaps.packed(seq, created)
    rows = [(mark, more[mark], noted[mark]) for mark in sorted(noted)]
    counted: list[tuple[Any, ...]] = []
    for start in range(0, len(rows), _MOST_ROWS):
        some = rows[start : start + _MOST_ROWS]
        statement = _COUNT + ", ".join([_ONE_COUNT] * len(some)) + _COUNTED
        counted += returned(tx, statement, [*chain.from_iterable(some)])
    long: dict[bytes, bytes] = {}
    for mark, count, noted_bytes, recent in counted:
        if count <= 0:
            _forget(tx, mark)
        elif noted_bytes < 0 and count > FEW:
            _put(tx, mark, returned(tx, _BORNE_BY, [mark]))
        elif recent and count > FEW:
            long[mark] = recent
        elif recent:
            run_each(tx, _DROP_BLOCKS, [(mark,)])
            run_each(tx, _SET_RECENT, [(None, mark)])
    for mark in _due(long):
        _put(tx, mark, bitmaps.unpacked(long[mark]))


def counts(connection: sa.Connection, marks: Collection[bytes]) -> dict[bytes, int]:
    """How many completions bear each mark."""
    return dict.fromkeys(marks, 0) | dict(returned(connection, _COMPLETIONS, lists=[list(marks)]))


@dataclass(frozen=True)
class Outline:
    """What there is to be known of marks before their blocks are read.

    Args:
        marks: which.
        times: the blocks of the first, and between what times those that are in each were made.
        changes: of each mark, what its blocks do not have yet.
    """

    marks: Sequence[bytes]
    times: Mapping[int, Times]
    changes: Sequence[Sequence[Change]]


def outline(connection: sa.Connection, marks: Sequence[bytes]) -> Outline | None:
    """What there is to be known of marks that all have bitmaps.

    None where one has none, for at most `FEW` completions bear it.
    """
    first: dict[int, Block] = {}
    noted: dict[bytes, bytes | None] = dict.fromkeys(marks)
    for mark, number, recent, *times in returned(connection, _OUTLINE, marks[:1], [list(marks)]):
        if number is None:
            noted[mark] = recent
        else:
            first[number] = Block(b"", b"", *times)
    changes = [bitmaps.unpacked(recent) for recent in noted.values() if recent is not None]
    if len(changes) < len(marks):
        return None
    bitmaps.apply(first, changes[0])
    return Outline(marks, {number: block.times for number, block in first.items()}, changes)


def blocks(
    connection: sa.Connection, known: Outline, numbers: Collection[int]
) -> list[dict[int, Block]]:
    """The blocks of each mark that have these numbers, up to the last change."""
    found: dict[bytes, dict[int, Block]] = {mark: {} for mark in known.marks}
    lists: list[list[Any]] = [list(known.marks), list(numbers)]
    for mark, number, *packed in returned(connection, _BLOCKS, lists=lists):
        found[mark][number] = Block(*packed)
    for mark, changes in zip(known.marks, known.changes, strict=True):
        bitmaps.apply(found[mark], (one for one in changes if abs(one[0]) // BLOCK in numbers))
    return [found[mark] for mark in known.marks]


def _due(long: Mapping[bytes, bytes]) -> list[bytes]:
    """The marks whose noted changes come to the bitmaps now.

    Those that the same completions bear have a long row all at once. One of them is due, and the
    others by and by, so that no transaction is much longer than the rest; where changes come by
    the dozens, all.
    """
    longest = max(long, key=lambda mark: len(long[mark]), default=None)
    most = 2 * RECENT * bitmaps.CHANGE_BYTES
    return [mark for mark in long if mark == longest or len(long[mark]) > most]


def _forget(tx: Transaction, mark: bytes) -> None:
    """Forget a mark that nothing bears."""
    run_each(tx, _DROP_COUNT, [(mark,)])
    run_each(tx, _DROP_BLOCKS, [(mark,)])


def _put(tx: Transaction, mark: bytes, changes: Sequence[Change]) -> None:
    """Bring changes to the bitmaps of a mark, which then have all of them."""
    touched = sorted({abs(seq) // BLOCK for seq, _ in changes})
    found: dict[int, Block] = {}
    for start in range(0, len(touched), _MOST_ROWS):
        some = touched[start : start + _MOST_ROWS]
        rows = returned(tx, _BLOCKS, lists=([mark], some))
        found |= {number: Block(*packed) for _, number, *packed in rows}
    bitmaps.apply(found, changes)
    full = [(mark, number, *found[number].packed()) for number in touched if found[number].bits]
    run_each(tx, _PUT_BLOCK, full)
    run_each(tx, _DROP_BLOCK, [(mark, number) for number in touched if not found[number].bits])
    run_each(tx, _SET_RECENT, [(b"", mark)])
