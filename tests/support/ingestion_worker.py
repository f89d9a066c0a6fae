"""Workers for one run of ingestion over stand-ins, which kill themselves at moments they are told.

    python -m tests.support.ingestion_worker DATA DATABASE_URL STANDING RUN [MOMENT COUNT]...

A moment is a call at a seam (see `ingestion_parts`), or a transaction by what it writes, ``before``
or ``after`` its commit: ``claim before``, ``settle after``. For each there is a process that works
until it dies at that moment, the COUNT-th time it comes to it; then one that works to the end of
the run. They are forks of one that has everything loaded, which saves a second for each.
"""

import argparse
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from tests.support.ingestion_parts import Standing

from linarite.bootstrap import build
from linarite.resources.ingestion.service import Ingestion
from linarite.resources.ingestion.tasks import Work
from linarite.settings import Settings
from linarite.tasks import durable as durable  # loaded before the forks, as it takes a second
from linarite.tasks.worker import Worker

_SECONDS = 40
_WRITES = {
    "compare": ("INSERT INTO ingestion_documents",),
    "put down": ("INSERT INTO", "workflow_status"),
    "claim": ("UPDATE ingestion_documents SET lane=", "RETURNING"),
    "write-ahead": ("UPDATE ingestion_documents SET digest=",),
    "cache": ("INSERT INTO ingestion_embeddings",),
    "settle": ("UPDATE ingestion_documents SET state=CASE",),
    "vanish": ("DELETE FROM ingestion_documents",),
    "finish": ("UPDATE ingestion_runs SET status=", "finished_at="),
}
"""What a statement holds that makes its transaction the one of that name."""


class Killer:
    """Counts one moment, and ends the process at the one that it was told."""

    def __init__(self, moment: str | None, count: int) -> None:
        self.is_armed = moment is not None
        self._moment, self._left = moment, count
        self._lock = threading.Lock()

    def passes(self, moment: str) -> None:
        if moment == self._moment:
            with self._lock:
                self._left -= 1
                if self._left == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                    time.sleep(60)

    def watch(self, engine: sa.Engine) -> None:
        """Tell transactions apart by their statements."""

        def executing(connection: sa.Connection, _cursor: Any, statement: str, *_: Any) -> None:
            for name, parts in _WRITES.items():
                if all(part in statement for part in parts):
                    connection.info["writes"] = name

        def committing(connection: sa.Connection) -> None:
            if name := connection.info.get("writes"):
                self.passes(f"{name} before")

        def given_back(_connection: Any, record: Any) -> None:
            if name := record.info.pop("writes", None):
                self.passes(f"{name} after")

        sa.event.listen(engine, "before_cursor_execute", executing)
        sa.event.listen(engine, "commit", committing)
        sa.event.listen(engine, "checkin", given_back)


def work(options: argparse.Namespace, killer: Killer) -> None:
    """Work until the run is over, or this process dies."""
    built = build(Settings(data=options.data, database_url=options.url))
    killer.watch(built.database.engine)
    standing = Standing(options.standing, killer.passes, crawls=True)
    runs = built.parts[Ingestion]
    settings = built.settings.tasks.model_copy(update={"poll_seconds": 0.02})
    worker = Worker(built.database, Work(runs, standing.open).tasks(), [], settings)
    worker.start()
    while True:
        with built.database.reading() as connection:
            if runs.is_cancelled(connection, options.run) and not killer.is_armed:
                break
        time.sleep(0.05)
    worker.stop(within_seconds=10)


def in_a_fork(options: argparse.Namespace, killer: Killer) -> int:
    """How a process that works ended: its exit code, or a signal's number below 0."""
    if (pid := os.fork()) == 0:
        signal.alarm(_SECONDS)
        work(options, killer)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("url")
    parser.add_argument("standing", type=Path)
    parser.add_argument("run")
    parser.add_argument("moments", nargs="*")
    options = parser.parse_args()
    for moment, count in zip(options.moments[::2], options.moments[1::2], strict=True):
        if in_a_fork(options, Killer(moment, int(count))) != -signal.SIGKILL:
            sys.exit(f"no worker came to {moment!r} {count} times")
    sys.exit(in_a_fork(options, Killer(None, 0)))


if __name__ == "__main__":
    main()
