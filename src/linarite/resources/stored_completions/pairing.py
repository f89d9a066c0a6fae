"""Preferences from two selections of stored completions: answers to one question, joined.

What is joined is held in a database of SQLite's own that lies in a temporary file as soon as it is
large, and that is gone with its connection; memory stays flat.
"""

import itertools
import sqlite3
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing

from linarite.resources.stored_completions.report import Report
from linarite.resources.stored_completions.repository import Whole
from linarite.resources.stored_completions.service import Wanted
from linarite.resources.stored_completions.training_lines import (
    LeftOut,
    Reason,
    digest,
    exchange_of,
    preference,
)
from linarite.resources.stored_completions.walking import STEP, Walk

PREFERRED, NON_PREFERRED = "preferred", "non-preferred"

_TABLES = """
CREATE TABLE preferred (place INTEGER PRIMARY KEY, joined BLOB UNIQUE, seq INTEGER);
CREATE TABLE other (joined BLOB PRIMARY KEY, seq INTEGER) WITHOUT ROWID;
"""
_PAIRS = "FROM preferred JOIN other USING (joined)"

Lines = Generator[bytes, None, None]
Keyed = tuple[bytes, int]
"""What a completion is joined by, and its place."""


def preferences(
    walk: Walk,
    preferred: Wanted,
    non_preferred: Wanted,
    join: str | None,
    report: Report,
    *,
    descending: bool,
) -> Lines:
    """A line for each pair of completions that answered the same in two ways.

    Of several with one key on a side the newest counts.

    Args:
        walk: through what there is.
        preferred: whose answers are the better ones.
        non_preferred: whose answers are the worse ones.
        join: the key of their metadata that tells which belong together; None: equal input does.
        report: where everything is counted.
        descending: in the order of the preferred ones, newest first.
    """
    with closing(sqlite3.connect("")) as scratch:
        scratch.executescript("PRAGMA journal_mode = OFF;" + _TABLES)
        sides = ("preferred", preferred, PREFERRED), ("other", non_preferred, NON_PREFERRED)
        joinable = 0
        for table, wanted, kind in sides:
            keyed = _keyed(walk.through(wanted), join, kind, report)
            joinable += _add(scratch, table, keyed, report)
        [pairs] = scratch.execute(f"SELECT count(*) {_PAIRS}").fetchone()
        report.left_out[Reason.UNPAIRED] += joinable - 2 * pairs
        order = "ASC" if descending else "DESC"  # they came newest first
        found = scratch.execute(f"SELECT preferred.seq, other.seq {_PAIRS} ORDER BY place {order}")
        while step := found.fetchmany(STEP // 2):
            there = walk.at(list(itertools.chain.from_iterable(step)))
            for better, worse in step:
                if (line := _pair(there.get(better), there.get(worse), report)) is not None:
                    yield line


def _keyed(rows: Iterable[Whole], join: str | None, kind: str, report: Report) -> Iterator[Keyed]:
    for record, messages in rows:
        report.looked_at[kind] += 1
        try:
            exchange = exchange_of(record, messages)
            if join is None:
                key = exchange.input_digest()
            elif join in record.metadata:
                key = digest(record.metadata[join].encode())
            else:
                raise LeftOut(Reason.NO_KEY)
        except LeftOut as why:
            report.leave_out(record.id, why)
        else:
            yield key, record.seq


def _add(scratch: sqlite3.Connection, table: str, keyed: Iterable[Keyed], report: Report) -> int:
    """Keep the first of each key; how many those are."""
    came = itertools.count()
    counted = (one for one, _ in zip(keyed, came, strict=False))
    insert = f"INSERT OR IGNORE INTO {table} (joined, seq) VALUES (?, ?)"
    kept = scratch.executemany(insert, counted).rowcount
    report.left_out[Reason.REPEATED] += next(came) - kept
    return kept


def _pair(better: Whole | None, worse: Whole | None, report: Report) -> bytes | None:
    if better is None or worse is None:
        report.pairs_left_out[Reason.DELETED] += 1
        return None
    try:
        one, other = exchange_of(*better), exchange_of(*worse)
        line = preference(one, other)
    except LeftOut as why:
        report.leave_out(better[0].id, why, of_pair=True)
        return None
    report.first_choices += (one.choices > 1) + (other.choices > 1)
    return line
