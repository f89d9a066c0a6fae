"""Keeping an index quick: pieces joined, words of what is new indexed, old versions let go.

Every write makes a piece and a version, and leaves its words to be looked for one by one. To make
up for that costs more the larger an index is, in time and in memory: so it is done where enough has
come together, and for a large index in a process of its own, whose memory goes with it.

``tending ROOT RESOURCE NAME TAIL OLD_SECONDS`` is that process.
"""

import os
import subprocess
import sys
import time
from datetime import timedelta
from enum import Enum
from heapq import nlargest
from pathlib import Path
from typing import Any

from lancedb.index import IvfFlat
from lancedb.table import Table

from linarite import memory
from linarite.indexing.search.definition import IndexDefinition
from linarite.lifeline import child_environment, die_with_parent

_FRAGMENTS = 32
"""Each write makes one, and every query opens them all: at so many they are made one."""
_GROWTH = 10
"""They may be more by such a part of an index, or else each write would rewrite a large one."""
_VERSIONS = 100
"""Each write makes one, also a deletion, which makes no fragment: of so many old ones some go."""
_EXACT_ROWS = 100_000
"""Up to here a vector is compared with all others: some 50 ms on two cores at 384 dimensions."""
_METRICS = {"cosine": "cosine", "euclidean": "l2", "dotProduct": "dot"}
_LONGEST_SECONDS = 3_600.0
_LONGEST_WORDS = 500


class Tail(Enum):
    """How many documents may be left whose words are looked for one by one, 10 ms a thousand.

    So many, and such a part of the index.
    """

    LOADING = (8_000, 10)
    """Much is being written, by one who says so when it is through."""
    WRITING = (2_000, 10)
    AT_LEISURE = (500, 50)
    """Nothing more is written for now."""

    def is_over(self, rows: int, unindexed: int) -> bool:
        """Whether an index of so many rows has more than that."""
        most, part = self.value
        return unindexed >= most + rows // part


class TendingFailed(Exception):
    """The process that tends an index ended without having done so."""


def is_due(table: Table, old_seconds: float, tail: Tail) -> bool:
    """Whether enough has come together since an index was tended.

    Args:
        table: the index's documents.
        old_seconds: how long what was replaced stays.
        tail: what may be left.
    """
    rows = table.count_rows()
    unindexed = max(each.num_unindexed_rows or 0 for each in table.list_indices())
    if tail.is_over(rows, unindexed):
        return True
    most = _FRAGMENTS + rows // 1000 // _GROWTH
    return fragments(table) >= most or _has_many_old_versions(table, old_seconds)


def fragments(table: Table) -> int:
    """How many pieces an index is in."""
    stats: Any = table.stats()  # a dict, other than its types tell
    return int(stats["fragment_stats"]["num_fragments"])


def tend(table: Table, definition: IndexDefinition, old_seconds: float) -> None:
    """Do all that there is to do; the caller is the only one that writes.

    What a process left that was killed as it wrote goes with it: nobody else writes now.
    """
    old = timedelta(seconds=old_seconds)
    table.optimize(cleanup_older_than=old, delete_unverified=True)
    if table.count_rows() >= _EXACT_ROWS:
        indexed = {each.columns[0] for each in table.list_indices()}
        for field in definition.vector_fields:
            if field.name not in indexed:
                metric: Any = _METRICS[definition.metric(field)]
                table.create_index(field.name, config=IvfFlat(distance_type=metric))
    memory.give_back()


def tend_apart(root: Path, resource: str, name: str, tail: Tail, old_seconds: float) -> None:
    """Have a process of its own tend an index, as `Store.tend_here` does; waits for it.

    It ends with this one, which may be at any moment: what it had not committed is swept later.

    Raises:
        TendingFailed: it could not.
    """
    what = [str(root.absolute()), resource, name, tail.name, str(old_seconds)]
    open_while_alive, kept_open = os.pipe()
    try:
        done = subprocess.run(
            [sys.executable, "-m", __name__, *what],
            stdin=open_while_alive,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            timeout=_LONGEST_SECONDS,
            env=child_environment(),
            start_new_session=True,  # a Ctrl-C at the terminal is the parent's to handle
            check=False,
        )
    finally:
        os.close(open_while_alive)
        os.close(kept_open)
    if done.returncode != 0:
        said = done.stderr.decode("utf-8", "replace").strip()[-_LONGEST_WORDS:]
        raise TendingFailed(f"It ended with status {done.returncode}: {said}")


def _has_many_old_versions(table: Any, old_seconds: float) -> bool:  # its type tells no place
    folder = Path(table.uri) / "_versions"
    oldest = nlargest(_VERSIONS, os.listdir(folder))  # names count down
    if len(oldest) < _VERSIONS:
        return False
    try:
        written = (folder / oldest[-1]).stat().st_mtime
    except FileNotFoundError:  # let go meanwhile
        return False
    return time.time() - written > old_seconds


def _main() -> None:
    die_with_parent()
    from linarite.indexing.search.store import Store  # which imports this module

    root, resource, name, tail, old_seconds = sys.argv[1:]
    store = Store(Path(root), 0, 0, old_seconds=float(old_seconds))
    store.tend_here(resource, name, Tail[tail])


if __name__ == "__main__":
    _main()
