"""Keeping the answers of one batch: in groups, by a thread, while more of them come in."""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Protocol

import sqlalchemy as sa
import structlog

from linarite.resources.batches.answers import Answer
from linarite.resources.batches.records import Fenced

_WRITE_SECONDS = 0.5
_LOOK_SECONDS = 0.5
_DATABASE_PATIENCE_SECONDS = 60.0
_DATABASE_AWAY = (sa.exc.OperationalError, sa.exc.InterfaceError, sa.exc.TimeoutError)

_log = structlog.get_logger("linarite.batches")


class Journal(Protocol):
    """Where answers are kept; called in threads, one call at a time."""

    def write(self, group: Sequence[Answer]) -> bool:
        """Keep answers, or look without any; whether the batch is still to be worked on.

        Raises:
            Fenced: another worker took over; nothing was kept.
        """


class Keeper:
    """Keeps every answer that it is given; with none to keep it still looks after the batch.

    Args:
        journal: where they go.
        on_kept: called when a group was written, or could not be.
    """

    def __init__(self, journal: Journal, on_kept: Callable[[], None]) -> None:
        self.goes_on = True
        """Whether the batch is still to be worked on."""
        self.is_fenced = False
        """Whether another worker took over."""
        self.failure: BaseException | None = None
        """Why answers cannot be kept, for good."""
        self._journal = journal
        self._on_kept = on_kept
        self._unwritten: list[Answer] = []
        self._being_written = 0
        self._writing: asyncio.Task[None] | None = None
        self._looked = self._written = time.monotonic()
        self._database_lost: float | None = None

    def __len__(self) -> int:
        """How many answers are not kept yet."""
        return len(self._unwritten) + self._being_written

    def add(self, answer: Answer) -> None:
        """Keep an answer soon (see `write_if_due`)."""
        self._unwritten.append(answer)

    def write_if_due(self, now: float, enough: int) -> None:
        """Begin to write when `enough` answers wait, or any for a while, or nobody looked lately.

        One group is written at a time, and none after one that cannot be.
        """
        if (
            self._writing is None
            and self.failure is None
            and (
                now - self._looked >= _LOOK_SECONDS
                or (self._unwritten and self._is_worth_writing(now, enough))
            )
        ):
            self._writing = asyncio.create_task(self._write())

    async def finish(self) -> None:
        """Write all that is left; raises what it fails for."""
        if self._writing is not None:
            await self._writing
        while self._unwritten and not self.is_fenced:
            if self.failure is None:
                await self._write()
            if self.failure is not None:
                raise self.failure
            if self._unwritten:
                await asyncio.sleep(_WRITE_SECONDS)

    async def drop(self) -> None:
        """Wait for nothing any more."""
        if self._writing is not None:
            self._writing.cancel()
            await asyncio.gather(self._writing, return_exceptions=True)

    def _is_worth_writing(self, now: float, enough: int) -> bool:
        if now - self._written >= _WRITE_SECONDS:
            return True
        return self._database_lost is None and len(self._unwritten) >= enough

    async def _write(self) -> None:
        group, self._unwritten = self._unwritten, []
        self._being_written = len(group)
        now = time.monotonic()
        try:
            self.goes_on = await asyncio.to_thread(self._journal.write, group) and self.goes_on
            self._written = self._looked = now
            self._database_lost = None
        except Fenced:
            self.is_fenced = True
        except _DATABASE_AWAY as error:
            self._unwritten = group + self._unwritten
            self._wait_for_database(now, error)
        except Exception as error:  # noqa: BLE001 - nobody waits for this task, and what is lost is told
            self._unwritten = group + self._unwritten
            self.failure = error
        finally:
            self._being_written, self._writing = 0, None
            self._on_kept()

    def _wait_for_database(self, now: float, error: Exception) -> None:
        """Hold what was answered for a while, as the database may come back."""
        self._written = self._looked = now
        if self._database_lost is None:
            self._database_lost = now
            _log.warning("answers wait for the database", error=str(error))
        elif now - self._database_lost > _DATABASE_PATIENCE_SECONDS:
            self.failure = error
