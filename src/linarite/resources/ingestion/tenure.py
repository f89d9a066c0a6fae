"""The right to work on a run: while the worker owns the task, and nobody has ended the run."""

import math
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import structlog

from linarite.indexing.failures import IngestionFailed, TryLater
from linarite.resources.ingestion.service import Ingestion
from linarite.storage.database import Transaction
from linarite.tasks.task import Ticket

T = TypeVar("T")

_LOOK_SECONDS = 1.0
_TRIES = 6
_FIRST_SECONDS = 1.0
_LONGEST_SECONDS = 60.0

_log = structlog.get_logger("linarite.ingestion")


class RunOver(Exception):
    """The run was cancelled, or has failed elsewhere: nothing more is to be done for it."""


class Tenure:
    """Lets one task work on a run. Safe in threads, as tickets are.

    Args:
        runs: tells how the run stands.
        run_id: which.
        ticket: of the task.
    """

    def __init__(self, runs: Ingestion, run_id: str, ticket: Ticket) -> None:
        self._runs = runs
        self._run_id = run_id
        self._ticket = ticket
        self._looked = time.monotonic()

    def check(self) -> None:
        """Raise HandedBack or RunOver when the work must stop; call it several times a second."""
        self._ticket.check()
        if time.monotonic() - self._looked > _LOOK_SECONDS:
            self._looked = time.monotonic()
            with self._runs.database.reading() as connection:
                if self._runs.is_cancelled(connection, self._run_id):
                    raise RunOver

    def wait(self, seconds: float) -> None:
        """Sleep, but raise HandedBack or RunOver when the work must stop."""
        until = time.monotonic() + seconds
        self.check()
        while (left := until - time.monotonic()) > 0:
            self._ticket.wait(min(left, _LOOK_SECONDS))
            self.check()

    @contextmanager
    def writing(self) -> Iterator[Transaction]:
        """A transaction that only who has the right can commit; raises HandedBack or RunOver."""
        with self._runs.database.transaction() as tx:
            self._ticket.guard(tx)
            if self._runs.is_cancelled(tx, self._run_id):
                raise RunOver
            yield tx

    def patiently(self, ask: Callable[[], T], seconds: float = math.inf) -> T:
        """What `ask` gives; waits and asks again, a few times, where that says TryLater.

        What fails in the end tells what earlier tries failed of, as its `inner`.

        Args:
            ask: what is wanted.
            seconds: after so many it is not asked again, however few the times were.
        """
        until = time.monotonic() + seconds
        earlier: list[str] = []
        for failures in range(_TRIES):
            self.check()
            try:
                return ask()
            except IngestionFailed as failure:
                is_last = failures == _TRIES - 1 or time.monotonic() >= until
                if not isinstance(failure, TryLater) or is_last:
                    others = (told for told in dict.fromkeys(earlier) if told != str(failure))
                    failure.inner = (*others, *failure.inner)
                    raise
                earlier.append(str(failure))
                backoff = _FIRST_SECONDS * 2**failures * random.uniform(0.5, 1)
                rest = min(failure.after_seconds or backoff, _LONGEST_SECONDS)
                _log.info("waiting to try again", run=self._run_id, seconds=rest, why=str(failure))
                self.wait(rest)
        raise AssertionError  # the last try returns or raises
