"""Killing a server's processes at moments that are known, and what must be left of it afterwards.

The gap between bytes and row is a matter of milliseconds. Whoever holds the database's write lock
stretches it as long as it needs: a process that has stored its bytes then waits for its row.
"""

import os
import signal
import sqlite3
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import sqlalchemy as sa
from tests.support.files import until
from tests.support.server import API_VERSION
from tests.support.serving import Serving, is_alive

from linarite.bootstrap import build
from linarite.resources.files.service import Files
from linarite.resources.files.sweeping import drop_leftovers, drop_unused_blobs
from linarite.settings import Settings
from linarite.storage.tables import blob_extents, upload_parts
from linarite.tasks.tickets import TickTicket


@contextmanager
def client_of(running: Serving) -> Iterator[httpx.Client]:
    """A client that tries again while nobody listens."""
    with httpx.Client(
        base_url=running.endpoint,
        headers={"api-key": running.ready["api_key"]},
        params={"api-version": API_VERSION},
        timeout=30,
        transport=httpx.HTTPTransport(retries=20),
    ) as client:
        yield client


def kill(running: Serving, kind: str) -> None:
    """Kill -9 one process of a server, once it is there."""
    until(lambda: is_alive(running.processes()[kind]), f"there is a {kind}", 60)
    os.kill(running.processes()[kind], signal.SIGKILL)


@contextmanager
def nobody_writes(data: Path) -> Iterator[None]:
    """Hold the write lock of the SQLite database in a data folder."""
    connection = sqlite3.connect(data / "linarite.sqlite3", timeout=30, isolation_level=None)
    try:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")
    finally:
        connection.close()


def told_of_success(steps: Sequence[int]) -> list[str]:
    """What the events of a job that succeeded say, up to a colon, oldest first.

    Args:
        steps: those that are told, in order.
    """
    return [
        "Job enqueued. Waiting for jobs ahead to complete.",
        "Job started.",
        "Preprocessing started.",
        "Training started.",
        "Created results file",
        *(f"Step {step}" for step in steps),
        "Job succeeded.",
        "Postprocessing started.",
        "Model Evaluation Passed.",
        "Completed results file",
        "Training tokens billed",
    ]


@dataclass
class Crashing:
    """A running server whose processes a test kills; `fell` counts where.

    What looks into the database takes it for SQLite in the data folder.
    """

    serving: Serving
    fell: Counter[str] = field(default_factory=Counter)
    _killed: tuple[str, int] = ("", 0)

    def kill(self, kind: str, where: str) -> None:
        """Kill -9 one process, and note where it was."""
        pid = self.serving.processes()[kind]
        os.kill(pid, signal.SIGKILL)
        self.fell[where] += 1
        self._killed = (kind, pid)

    def recover(self) -> None:
        """Wait until another process is in the place of the one that was killed."""
        kind, pid = self._killed
        until(lambda: self.serving.processes().get(kind, pid) != pid, f"there is a new {kind}")
        until(self._is_ready, "the server is ready again")

    def nobody_writes(self) -> AbstractContextManager[None]:
        """Hold the database's write lock."""
        return nobody_writes(self.serving.data)

    def whole_objects(self) -> set[str]:
        """The keys of the objects that are written to their end."""
        return {key for key in self._objects() if "#" not in key}

    def half_objects(self) -> set[str]:
        """The keys of the objects that are being written, or were when their writer died."""
        return self._objects() - self.whole_objects()

    def named_objects(self) -> set[str]:
        """The keys that a row names."""
        query = sa.union_all(sa.select(blob_extents.c.key), sa.select(upload_parts.c.key))
        engine = sa.create_engine(f"sqlite:///{self.serving.data / 'linarite.sqlite3'}")
        with engine.connect() as connection:
            keys = set(connection.execute(query).scalars())
        engine.dispose()
        return keys

    def tell(self) -> None:
        """Print where the kills fell."""
        print("kills:", dict(self.fell))  # noqa: T201 - what a reader of the run wants to see

    def sweep(self) -> None:
        """Do what the schedules do, as if an hour had passed."""
        built = build(Settings(data=self.serving.data))
        files: Files = built.parts[Files]
        drop_unused_blobs(files, TickTicket())
        drop_leftovers(files, TickTicket(), older_than_seconds=0)
        built.database.close()

    def _is_ready(self) -> bool:
        try:
            return self.serving.get("/readyz").status_code == 200
        except httpx.TransportError:
            return False

    def _objects(self) -> set[str]:
        folder: Path = self.serving.data / "blobs"
        return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
