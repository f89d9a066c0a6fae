"""Storing completions of this process: in groups, each told when it is committed.

SQLite is written to at once, on the event loop's own thread: a transaction takes a tenth of a
millisecond, and another thread would wait longer than that for its turns. What might wait is left
to a thread: a database that somebody else writes to, long texts, more completions than a group,
PostgreSQL. What comes while the thread is at work is the next group, so that one caller waits for
one transaction, and a thousand at once for a few.
"""

import asyncio
from collections import deque
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import sqlalchemy as sa
import structlog

from linarite.resources.stored_completions import repository
from linarite.resources.stored_completions.records import NewCompletion
from linarite.storage.database import Database

_MOST_WAITING = 10_000
_MOST_BYTES_WAITING = 256 << 20
_MOST_AT_ONCE = 100
_MOST_BYTES_HERE = 16 << 10
"""Of one completion: longer texts take long to be compressed."""
_CHECKPOINT_AFTER = 250
"""Transactions on the loop's thread, 16 pages or so each, after which SQLite's log is emptied."""

_log = structlog.get_logger("linarite.stored_completions")


class NotStored(Exception):
    """A completion that could not be stored."""


@dataclass(frozen=True, slots=True, eq=False)
class _Waiting:
    resource: str
    new: NewCompletion
    done: "asyncio.Future[None]"

    @property
    def size(self) -> int:
        return len(self.new.completion) + len(self.new.messages)


class GroupWriter:
    """Stores what it is given, soon. For one event loop.

    Args:
        database: where it goes.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._thread = ThreadPoolExecutor(1, "store")
        self._here: sa.Connection | None = None
        """The loop's own connection."""
        self._waiting: deque[_Waiting] = deque()
        self._bytes_waiting = 0
        self._is_at_work = False
        """Whether the thread is."""
        self._since_checkpoint = 0
        self._is_closed = False

    def submit(self, resource: str, new: NewCompletion) -> "asyncio.Future[None]":
        """Store a completion; what is given back is done once it is committed.

        It fails with NotStored when it cannot be, whatever the reason, and one that is cancelled
        before it is committed is left out.
        """
        done = asyncio.get_running_loop().create_future()
        is_full = len(self._waiting) >= _MOST_WAITING or self._bytes_waiting >= _MOST_BYTES_WAITING
        if self._is_closed or is_full:
            why = "the server stops" if self._is_closed else "too many wait to be stored"
            done.set_exception(NotStored(why))
            return done
        one = _Waiting(resource, new, done)
        self._waiting.append(one)
        self._bytes_waiting += one.size
        if not self._is_at_work:
            self._write_waiting()
        return done

    async def close(self) -> None:
        """Write what waits, and end."""
        while self._waiting or self._is_at_work:
            await asyncio.sleep(0.01)
        self._is_closed = True
        await asyncio.to_thread(self._thread.shutdown)
        if self._here is not None:
            self._here.close()

    def _write_waiting(self) -> None:
        """Write what waits here and now, and have the thread write what cannot be."""
        self._is_at_work = False
        while not self._is_at_work and (group := self._next_group()):
            if self._is_quick(group) and self._write_here(group):
                _settle(group, set(group))
                self._checkpoint_if_due()
            else:
                self._write_in_thread(group)

    def _next_group(self) -> list[_Waiting]:
        """Those who still wait, up to so many at once; nobody where nobody does."""
        group: list[_Waiting] = []
        while self._waiting and len(group) < _MOST_AT_ONCE:
            one = self._waiting.popleft()
            self._bytes_waiting -= one.size
            if not one.done.cancelled():
                group.append(one)
        return group

    def _is_quick(self, group: Sequence[_Waiting]) -> bool:
        """Whether the loop can spare the time to write the group, behind which others may wait."""
        longest = max(one.size for one in group)
        return self._database.is_sqlite and not self._waiting and longest <= _MOST_BYTES_HERE

    def _write_here(self, group: Sequence[_Waiting]) -> bool:
        """Write on the loop's thread; whether that was possible without waiting."""
        try:
            if self._here is None:
                self._here = self._database.unwaiting()
            rows = _rows(group)
            with self._here.begin():
                repository.add(self._here, rows)
        except Exception:  # noqa: BLE001 - the thread tries again, with patience, and tells of it
            return False
        self._since_checkpoint += 1
        return True

    def _checkpoint_if_due(self) -> None:
        """Have the thread empty SQLite's log when it is long.

        Meanwhile nothing is written: a log that is always written to is never empty.
        """
        if self._since_checkpoint < _CHECKPOINT_AFTER:
            return
        self._since_checkpoint, self._is_at_work = 0, True
        loop = asyncio.get_running_loop()
        emptying = loop.run_in_executor(self._thread, self._database.checkpoint)
        emptying.add_done_callback(self._has_emptied)

    def _has_emptied(self, emptying: "asyncio.Future[None]") -> None:
        if (error := emptying.exception()) is not None:
            _log.warning("the database's log was not emptied", reason=str(error))
        self._write_waiting()

    def _write_in_thread(self, group: Sequence[_Waiting]) -> None:
        self._is_at_work = True
        loop = asyncio.get_running_loop()
        writing = loop.run_in_executor(self._thread, self._write, group)

        def has_written(writing: "asyncio.Future[set[_Waiting]]") -> None:
            error = writing.exception()
            if error is not None:
                _log.error("completions could not be stored", exc_info=error)
            _settle(group, set() if error else writing.result())
            self._write_waiting()

        writing.add_done_callback(has_written)

    def _write(self, group: Sequence[_Waiting]) -> set[_Waiting]:
        """Write a group; those that are committed."""
        wanted = [one for one in group if not one.done.cancelled()]
        if not wanted:
            return set()
        try:
            rows = _rows(wanted)
            with self._database.transaction() as tx:
                repository.add(tx, rows)
                # the transaction may have waited long: who has been told otherwise is not stored
                if any(one.done.cancelled() for one in wanted):
                    raise _GivenUp
        except _GivenUp:
            return self._write(wanted)
        except (sa.exc.IntegrityError, sa.exc.DataError) as error:
            if len(wanted) == 1:
                _log.error("a completion could not be stored", reason=str(error.orig))
                return set()
            # one of them is at fault, and the others shall not suffer for it
            return set().union(*(self._write([one]) for one in wanted))
        except sa.exc.SQLAlchemyError as error:
            _log.error("completions could not be stored", completions=len(wanted), exc_info=error)
            return set()
        return set(wanted)


class _GivenUp(Exception):
    """Somebody who waited waits no longer."""


def _rows(group: Sequence[_Waiting]) -> list[repository.NewRow]:
    return [repository.new_row(one.resource, one.new) for one in group]


def _settle(group: Sequence[_Waiting], committed: Collection[_Waiting]) -> None:
    """Tell all who still wait."""
    for one in group:
        if one.done.done():
            continue
        if one in committed:
            one.done.set_result(None)
        else:
            one.done.set_exception(NotStored("the database did not take it"))
