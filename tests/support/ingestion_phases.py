"""Where a run of ingestion is, as it can be told from outside: by what the server tells of it, by
its rows, and by the files of its index.

What is said of a worker that stands still is so; of one that runs, it may be over by then.
"""

import fcntl
import json
import os
import sqlite3
from collections.abc import Callable, Collection, Sequence, Set
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

import httpx

JOBS = "/openai/ingestion/jobs"
SEARCH = {"api-version": "2024-07-01"}


class Phase(StrEnum):
    """What a worker may be at, in the order in which a run comes to it."""

    CRAWLING = "crawling"
    LISTING = "listing"
    READING = "reading"
    EMBEDDING = "embedding"
    STORING = "storing"
    STORED = "between storing and settling"
    TRIMMED = "between deleting stale chunks and settling"
    AGAIN = "at what a dead worker was at"
    REMOVING = "removing chunks"
    REMOVED = "between removing chunks and their documents' rows"
    RECONCILING = "reconciling"
    RESTORING = "storing all anew, as the index has lost some"
    CLEANING = "cleaning up"


@dataclass
class Watch:
    """Looks at the runs of one job, on a server that keeps its rows in SQLite.

    Args:
        client: of the server.
        data: the server's folder.
        job: which.
        folder: its documents; None: crawled pages are.
        is_fetching: whether its site is being asked.
        is_embedding: whether the embedding model is.
    """

    client: httpx.Client
    data: Path
    job: str
    folder: Path | None
    is_fetching: Callable[[], bool]
    is_embedding: Callable[[], bool]
    run: str = ""
    _left: Set[tuple[int, int]] = frozenset()
    """What dead workers held, and how many had held it before."""
    _versions: int = 0
    """How often the index had been written to before this worker, or what it is at."""
    _ahead: Set[int] = frozenset()
    _told: str = ""
    """How the stages stood before this worker."""
    _has_seen_vanished: bool = False
    """Whether there was something to remove for this worker."""
    _rows: sqlite3.Connection = field(init=False, repr=False)

    def __post_init__(self) -> None:
        file = self.data / "linarite.sqlite3"
        self._rows = sqlite3.connect(f"file:{file}?mode=ro", uri=True, isolation_level=None)
        self._rows.row_factory = sqlite3.Row

    def put(self, job: dict[str, Any]) -> None:
        """Make the job, or run it once more."""
        answer = self.client.put(f"{JOBS}/{self.job}", json=job)
        assert answer.status_code == 200, answer.text
        self.run = answer.headers["operation-location"].partition("?")[0].rpartition("/")[2]
        self.begin_anew()

    def now(self) -> dict[str, Any]:
        """The run, as the server tells it."""
        return dict(self.client.get(f"{JOBS}/{self.job}/runs/{self.run}").json())

    def has_ended(self) -> bool:
        """Whether it is over."""
        return self._run()["status"] in {"succeeded", "failed"}

    def begin_anew(self) -> None:
        """Another worker begins: what there is by now is not its doing."""
        self._left = {(row["seq"], row["attempts"]) for row in self.documents() if row["lane"]}
        self._versions, self._ahead = self._count_versions(), frozenset()
        self._told, self._has_seen_vanished = self._run()["stages"], False

    def documents(self) -> list[sqlite3.Row]:
        """The rows of the job's documents."""
        return self._select("ingestion_documents", "SELECT d.*")

    def phase(self, wanted: Collection[Phase], *, is_still: bool) -> Phase | None:
        """Which of these the worker is at, if any; one that is not still may be at it."""
        look = _Look(self, is_still=is_still)
        return next((phase for phase in wanted if _HOLDS[phase](look)), None)

    def _run(self) -> sqlite3.Row:
        query = "SELECT status, stages FROM ingestion_runs WHERE id = ?"
        row: sqlite3.Row = self._rows.execute(query, [self.run]).fetchone()
        return row

    def _select(self, table: str, what: str) -> list[sqlite3.Row]:
        query = f"{what} FROM {table} d JOIN ingestion_jobs j ON d.job = j.seq WHERE j.id = ?"
        return self._rows.execute(query, [self.job]).fetchall()

    @property
    def _index(self) -> Path:
        return self.data / "indexes" / "default" / f"{self.job}-index"

    def _count_versions(self) -> int:
        folder = self._index / "documents.lance" / "_versions"
        return len(os.listdir(folder)) if folder.exists() else 0


class _Look:
    """One look; only where the worker is still is the index asked, too, which takes a while."""

    def __init__(self, watch: Watch, *, is_still: bool) -> None:
        self._watch, self._is_still = watch, is_still
        self._documents = watch.documents()
        self._is_pending = any(row["state"] == "pending" for row in self._documents)
        held = [row for row in self._documents if row["lane"]]
        self._held = [row for row in held if (row["seq"], row["attempts"]) not in watch._left]
        behind = {row["lane"] for row in held} - {row["lane"] for row in self._held}
        self._again = {row["lane"] for row in self._held if row["attempts"]}
        self._first = [row for row in self._held if row["lane"] not in behind | self._again]
        self._ahead = [row for row in self._first if row["chunks_most"] and not row["digest"]]
        if (seqs := {row["seq"] for row in self._ahead}) != watch._ahead:
            watch._ahead, watch._versions = seqs, watch._count_versions()
        keys = self._keys()
        self._lacking = keys - {row["key"] for row in self._documents}
        self._vanished = [row for row in self._documents if row["key"] not in keys]
        watch._has_seen_vanished |= bool(self._vanished)

    def crawls(self) -> bool:
        return self._watch.is_fetching()

    def lists(self) -> bool:
        return bool(self._lacking) and self._tells("Preprocessing", "running")

    def reads(self) -> bool:
        """A lane holds documents, and none of them goes into the index yet."""
        lanes = {row["lane"] for row in self._first}
        return bool(lanes - {row["lane"] for row in self._ahead})

    def embeds(self) -> bool:
        return bool(self._ahead) and self._watch.is_embedding()

    def stores(self) -> bool:
        return bool(self._ahead) and self._is_written_to() and not self._was_written_to()

    def has_stored(self) -> bool:
        """A chunk is there that its document had not before."""
        longer = [row for row in self._ahead if row["chunks_most"] > row["chunks"]]
        return self._was_written_to() and self._is_one(
            longer, lambda row: self._has(row, row["chunks_most"] - 1)
        )

    def has_trimmed(self) -> bool:
        """A chunk is not there any more that its document had."""
        as_long = [row for row in self._ahead if row["chunks_most"] == row["chunks"]]
        return self._was_written_to() and self._is_one(
            as_long, lambda row: not self._has(row, row["chunks"] - 1)
        )

    def is_at_it_again(self) -> bool:
        return bool(self._again)

    def removes(self) -> bool:
        return bool(self._vanished) and not self._is_pending and self._is_written_to()

    def has_removed(self) -> bool:
        had = [row for row in self._vanished if row["chunks"] and not self._is_pending]
        return self._was_written_to() and self._is_one(had, lambda row: not self._has(row, 0))

    def reconciles(self) -> bool:
        """All that is no more this worker has removed, and it is not at an end."""
        is_after = self._watch._has_seen_vanished and not self._vanished
        return is_after and not self._lacking and not self._is_pending

    def restores(self) -> bool:
        """Documents are to be stored that nobody has changed."""
        pending = [row for row in self._documents if row["state"] == "pending" and not row["lane"]]
        return any(row["chunks"] and not row["digest"] for row in pending)

    def cleans(self) -> bool:
        """Documents are done, vectors are gone, and some of the pages."""
        vectors = self._watch._select("ingestion_embeddings", "SELECT count(*)")[0][0]
        is_done = any(row["run"] == self._watch.run for row in self._documents)
        is_after = is_done and not self._is_pending and not vectors
        return is_after and 0 < len(self._vanished) < len(self._documents)

    def _is_one(self, rows: Sequence[sqlite3.Row], holds: Callable[[sqlite3.Row], bool]) -> bool:
        """Whether it holds of one of them, as it may where the worker is not still."""
        return any(map(holds, rows)) if self._is_still else bool(rows)

    def _keys(self) -> set[str]:
        if (folder := self._watch.folder) is not None:
            return {entry.name for entry in os.scandir(folder)}
        return {row[0] for row in self._watch._rows.execute("SELECT key FROM ingestion_pages")}

    def _tells(self, stage: str, state: str) -> bool:
        """Whether this worker has told so of a stage."""
        told = self._watch._run()["stages"]
        states = {one["name"]: one["state"] for one in json.loads(told)}
        return bool(states.get(stage) == state and told != self._watch._told)

    def _has(self, row: sqlite3.Row, number: int) -> bool:
        """Whether the index holds a chunk of a document."""
        path = f"/indexes('{self._watch.job}-index')/docs('{row['id']}-{number}')"
        answer = self._watch.client.get(path, params=SEARCH | {"$select": "id"})
        assert answer.status_code in {200, 404}, answer.text
        return answer.status_code == 200

    def _is_written_to(self) -> bool:
        """Whether somebody writes into the index just now."""
        try:
            with (self._watch._index / "lock").open() as lock:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except BlockingIOError:
            return True
        return False

    def _was_written_to(self) -> bool:
        return self._watch._count_versions() > self._watch._versions


_HOLDS: dict[Phase, Callable[[_Look], bool]] = {
    Phase.CRAWLING: _Look.crawls,
    Phase.LISTING: _Look.lists,
    Phase.READING: _Look.reads,
    Phase.EMBEDDING: _Look.embeds,
    Phase.STORING: _Look.stores,
    Phase.STORED: _Look.has_stored,
    Phase.TRIMMED: _Look.has_trimmed,
    Phase.AGAIN: _Look.is_at_it_again,
    Phase.REMOVING: _Look.removes,
    Phase.REMOVED: _Look.has_removed,
    Phase.RECONCILING: _Look.reconciles,
    Phase.RESTORING: _Look.restores,
    Phase.CLEANING: _Look.cleans,
}
