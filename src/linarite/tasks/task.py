"""What a task is: the durable unit of work behind a job, and the ticket under which it runs.

Knows no resource and no database row; `queue` puts tasks down, `worker` picks them up.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from linarite.storage.database import Transaction


class HandedBack(Exception):
    """This worker may not go on with the task: it is stopping, or another worker took over.

    Let it pass: the task stays in the queue, and whoever runs it next continues from what is in
    the database.
    """


class Ticket(Protocol):
    """The right to work on one task, until it is handed back."""

    @property
    def attempt(self) -> int:
        """How often the task was tried before and failed, from 0."""

    def check(self) -> None:
        """Raise HandedBack when the work must stop; call it several times a second.

        Costs nothing most of the time, and one look at the database when the last confirmation
        is old (as after a pause of the whole process). Safe from any thread and event loop.
        """

    def wait(self, seconds: float) -> None:
        """Sleep, but raise HandedBack as soon as the work must stop. Not for event loops."""

    def guard(self, tx: Transaction) -> None:
        """Raise HandedBack unless this worker owns the task; it then does until `tx` ends.

        Makes a write of a worker that was taken for dead impossible rather than unlikely.
        """


@dataclass(frozen=True)
class Task:
    """A kind of durable work.

    `perform` runs in a thread of its own, at least once and by one worker at a time; it may be
    interrupted anywhere and is then run again from the start, so it continues from what its
    subject's rows say. When it raises anything but HandedBack it is tried again after a growing
    delay; after `attempts` tries `give_up` settles the subject.
    """

    name: str
    """``<resource>.<verb>``."""
    perform: Callable[[str, Ticket], None]
    """Does the work of the subject with this id."""
    give_up: Callable[[str, Exception], None]
    """Settles the subject with this id after the last failure (its job fails, for example)."""
    concurrency: int = 4
    """How many of them one worker runs at once; of four or more, one resource gets at most 3/4."""
    per_resource: int | None = None
    """How many of one resource all workers together run at once; None: any number."""
    attempts: int = 5
    """How often it is tried before it is given up."""
    retry_seconds: float = 1.0
    """How long after its first failure it is tried again; doubles each time, up to a minute."""


@dataclass(frozen=True)
class Schedule:
    """Work that comes round: run by one worker at each tick, and missed rather than made up."""

    name: str
    every_seconds: float
    perform: Callable[[Ticket], None]
