"""A worker process with one toy task, for tests that kill it: ``python -m … URL LOG [options]``.

A task appends a line to LOG at each of its steps: ``event subject step worker``. What it has done
stands in the table `toy`, so that a successor goes on rather than begins again.
"""

import argparse
import os
import signal
import threading
import time
from pathlib import Path

import sqlalchemy as sa

from linarite.settings import TaskSettings
from linarite.storage.database import Database
from linarite.tasks.task import Schedule, Task, Ticket
from linarite.tasks.worker import Worker

TASK = "toy.run"
toys = sa.Table(
    "toy",
    sa.MetaData(),
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("done", sa.Integer, nullable=False),
)


class Toy:
    """Steps that take a while, each of them kept."""

    def __init__(self, database: Database, log: Path, steps: int, seconds: float) -> None:
        self._database = database
        self._log = log
        self._steps = steps
        self._seconds = seconds

    def perform(self, subject_id: str, ticket: Ticket) -> None:
        if subject_id.startswith("failing"):
            self.note("fails", subject_id, ticket.attempt)
            raise ValueError("as its name says")
        self.note("begins", subject_id, 0)
        while (step := self._done(subject_id)) < self._steps:
            ticket.wait(self._seconds)
            with self._database.transaction() as tx:
                ticket.guard(tx)
                tx.execute(sa.update(toys).where(toys.c.id == subject_id).values(done=step + 1))
            self.note("did", subject_id, step)
        self.note("ends", subject_id, self._steps)

    def give_up(self, subject_id: str, error: Exception) -> None:
        self.note("given-up", subject_id, type(error).__name__)

    def tick(self, ticket: Ticket) -> None:
        self.note("ticks", "-", 0)

    def note(self, event: str, subject_id: str, step: object) -> None:
        line = f"{time.time():.3f} {event} {subject_id} {step} {os.getpid()}\n"
        with self._log.open("a") as log:
            log.write(line)

    def _done(self, subject_id: str) -> int:
        with self._database.reading() as connection:
            query = sa.select(toys.c.done).where(toys.c.id == subject_id)
            return int(connection.execute(query).scalar_one())


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("log", type=Path)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.2)
    parser.add_argument("--concurrency", type=int, default=4)
    parser.add_argument("--dead-after", type=float, default=60)
    parser.add_argument("--beat", type=float, default=0.3)
    parser.add_argument("--tick", type=float)
    options = parser.parse_args()
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())

    database = Database(options.url)
    toy = Toy(database, options.log, options.steps, options.seconds)
    task = Task(TASK, toy.perform, toy.give_up, options.concurrency, attempts=3, retry_seconds=0.1)
    schedules = [Schedule("toy.tick", options.tick, toy.tick)] if options.tick else []
    settings = TaskSettings(heartbeat_seconds=options.beat, dead_after_seconds=options.dead_after)
    worker = Worker(database, [task], schedules, settings)
    worker.start()
    toy.note("up", "-", 0)
    while not stop.wait(0.2):
        pass
    drained = worker.stop(within_seconds=5)
    toy.note("down", "-", drained)
    os._exit(0)


if __name__ == "__main__":
    main()
