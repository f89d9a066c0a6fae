"""Storing completions of this process: in groups, by one thread, each told when it is committed.

A group is what came while the group before it was written, so that one caller waits for one
transaction, and a thousand at once for a few.
"""

import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import sqlalchemy as sa
import structlog

from linarite.resources.stored_completions import repository
from linarite.resources.stored_completions.records import NewCompletion
from linarite.storage.database import Database

_MOST_WAITING = 10_000
_MOST_AT_ONCE = 256

_log = structlog.get_logger("linarite.stored_completions")


class NotStored(Exception):
    """A completion that could not be stored."""


class GroupWriter:
    """Stores what it is given, soon.

    Args:
        database: where it goes.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._thread = ThreadPoolExecutor(1, "store")
        self._lock = threading.Lock()
        self._waiting: list[tuple[str, NewCompletion, Future[None]]] = []

    def submit(self, resource: str, new: NewCompletion) -> "Future[None]":
        """Store a completion; what is given back is done once it is committed.

        It fails with NotStored when it cannot be, and a cancelled one is left out as long as its
        writing has not begun.
        """
        future: Future[None] = Future()
        with self._lock:
            if len(self._waiting) >= _MOST_WAITING:
                future.set_exception(NotStored("too many wait to be stored"))
                return future
            self._waiting.append((resource, new, future))
        self._thread.submit(self._write_waiting)
        return future

    def close(self) -> None:
        """Write what waits, and end."""
        self._thread.shutdown()

    def _write_waiting(self) -> None:
        """Write all that waits, also what came later than this was called for."""
        with self._lock:
            taken = self._waiting[:_MOST_AT_ONCE]
            del self._waiting[:_MOST_AT_ONCE]
        group = [one for one in taken if one[2].set_running_or_notify_cancel()]
        if group:
            self._write(group)

    def _write(self, group: Sequence[tuple[str, NewCompletion, "Future[None]"]]) -> None:
        try:
            with self._database.transaction() as tx:
                repository.add(tx, [(resource, new) for resource, new, _ in group])
            for _, _, future in group:
                future.set_result(None)
        except (sa.exc.IntegrityError, sa.exc.DataError) as error:
            if len(group) == 1:
                _log.error("a completion could not be stored", reason=str(error.orig))
            else:  # one of them is at fault, and the others shall not suffer for it
                for one in group:
                    self._write([one])
        except sa.exc.SQLAlchemyError as error:
            _log.error("completions could not be stored", completions=len(group), exc_info=error)
        finally:
            for _, _, future in group:
                if not future.done():
                    future.set_exception(NotStored("the database did not take it"))
