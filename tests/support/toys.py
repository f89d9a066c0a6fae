"""Toy tasks over a database of a test's own, and the worker processes that perform them."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import sqlalchemy as sa
from tests.support.toy_worker import TASK, toys

from linarite.storage.database import Database
from linarite.tasks import schema
from linarite.tasks.queue import Queue

_ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Event:
    """A line that a toy task noted."""

    at: float
    what: str
    subject: str
    step: str
    pid: int


@dataclass
class Toys:
    """The database, its queue, and what the workers noted."""

    database: Database
    queue: Queue
    log: Path
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def put(self, *subjects: str, resource: str = "default") -> None:
        """Put a toy task down for each subject."""
        with self.database.transaction() as tx:
            for subject in subjects:
                tx.execute(sa.insert(toys).values(id=subject, done=0))
                self.queue.enqueue(tx, TASK, subject, resource=resource)

    def start_worker(self, *options: str) -> subprocess.Popen[bytes]:
        """Start a worker process; returns when it is up."""
        url = self.database.url.render_as_string(hide_password=False)
        command = [sys.executable, "-m", "tests.support.toy_worker", url, str(self.log), *options]
        worker = subprocess.Popen(command, cwd=_ROOT, stderr=subprocess.DEVNULL)
        self.workers.append(worker)
        self.wait_for(lambda events: any(e.what == "up" and e.pid == worker.pid for e in events))
        return worker

    def events(self, what: str | None = None) -> list[Event]:
        """What was noted so far, in order."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        noted = [line.split() for line in lines]
        events = [Event(float(at), *rest, int(pid)) for at, *rest, pid in noted]
        return [event for event in events if what in {None, event.what}]

    def wait_for(
        self, condition: Callable[[list[Event]], bool], *, seconds: float = 30
    ) -> list[Event]:
        """The events as soon as they fulfil `condition`."""
        deadline = time.monotonic() + seconds
        while not condition(events := self.events()):
            if time.monotonic() > deadline:
                raise AssertionError(f"not within {seconds} s; noted: {events}")
            time.sleep(0.02)
        return events

    def wait_for_end(self, *subjects: str, seconds: float = 30) -> list[Event]:
        """The events as soon as each of these tasks has ended."""
        return self.wait_for(
            lambda events: set(subjects) <= {e.subject for e in events if e.what == "ends"},
            seconds=seconds,
        )

    def steps_of(self, subject: str) -> list[int]:
        """Which steps of a task were done, in order, by whichever worker."""
        return [int(event.step) for event in self.events("did") if event.subject == subject]


@contextmanager
def toy_tasks(database_url: str, folder: Path) -> Iterator[Toys]:
    """A migrated database with a queue; its workers end with the block."""
    database = Database(database_url)
    database.migrate()
    schema.migrate(database)
    with database.transaction() as tx:
        toys.create(tx)
    running = Toys(database, Queue(database), folder / "toy.log")
    try:
        yield running
    finally:
        for worker in running.workers:
            if worker.poll() is None:
                os.kill(worker.pid, signal.SIGKILL)
            worker.wait(10)
        database.close()
