"""Setting the dispatch of one batch up: its open requests, its engine, its rows, its share."""

import asyncio
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
import structlog
import uvloop

from linarite.errors import DeploymentNotFound, LinariteError
from linarite.resources.batches import repository
from linarite.resources.batches.answers import Answer
from linarite.resources.batches.dispatch import Dispatch, Ended, Engine, EngineLost, Reply, Terms
from linarite.resources.batches.lines import (
    BadLine,
    InputLine,
    input_lines,
    prefix_of,
    read_request,
)
from linarite.resources.batches.order import Ask, Window
from linarite.resources.batches.pace import Pace
from linarite.resources.batches.records import BatchRecord
from linarite.resources.batches.service import Batches
from linarite.resources.deployments.records import Target
from linarite.resources.stored_completions.records import NewCompletion
from linarite.storage import blob_rows
from linarite.storage.database import Transaction
from linarite.tasks.task import Ticket
from linarite.wire.batches import BatchStatus

EngineOf = Callable[[str, str, Target], AbstractAsyncContextManager[Engine]]
"""Who answers, while the block lasts: given whose the batch is, what it asks (such as
``/chat/completions``) and where."""
Store = Callable[[Transaction, str, Sequence[NewCompletion]], None]
"""Stores completions: in a transaction, given the resource and what they are."""

_log = structlog.get_logger("linarite.batches")


class Shares:
    """How many batches of this process ask each deployment, so that they share its slots."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str | None, str | None]] = Counter()
        self._lock = threading.Lock()

    @contextmanager
    def one_more(self, record: BatchRecord) -> Iterator[Callable[[], int]]:
        """Count the batch in while the block runs; gives what tells how many there are."""
        key = (record.deployment_owner, record.deployment)
        with self._lock:
            self._counts[key] += 1
        try:
            yield lambda: self._counts[key]
        finally:
            with self._lock:
                self._counts[key] -= 1


@dataclass(frozen=True)
class Asking:
    """What asks the requests of batches that have no answer yet.

    Args:
        batches: the parts that it needs.
        engine_of: who answers.
        store: keeps the completions among the answers, given whose they are, in a transaction.
        shares: of all batches that this process asks.
    """

    batches: Batches
    engine_of: EngineOf
    store: Store
    shares: Shares = field(default_factory=Shares)

    def ask(self, record: BatchRecord, ticket: Ticket) -> Ended:
        """Ask until every request is answered or something ends it; runs an event loop."""
        batches = self.batches
        with batches.database.reading() as connection:
            blob = blob_rows.get(connection, record.input_blob_id or "")
            is_answered, failures = bytearray(record.total), 0
            for number, failed in repository.answered_numbers(connection, record.seq):
                is_answered[number] = 1
                failures += failed
        longest = batches.limits.batch_line_bytes
        lines = input_lines(batches.blobs.read(blob.extents), longest)
        window = Window(_unanswered(lines, is_answered, longest))
        presence = Presence()
        answered = sum(is_answered)
        journal = _Rows(batches, self.store, presence, record, answered - failures, failures)
        settings = batches.settings
        terms = Terms(
            settings.attempts,
            settings.in_flight,
            is_expired=lambda: batches.is_expired(record),
            check=ticket.check,
            cancel_seconds=settings.cancel_seconds,
        )

        async def ask_all() -> Ended:
            pace = Pace(settings.in_flight)
            with self.shares.one_more(record) as share:
                async with self._engine(record) as engine:
                    shared = Shared(engine, share, presence)
                    return await Dispatch(window, shared, journal, pace, terms).run()

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(ask_all())

    def _engine(self, record: BatchRecord) -> AbstractAsyncContextManager[Engine]:
        with self.batches.database.reading() as connection:
            try:
                target = self.batches.deployments.resolve(
                    connection, record.resource, record.deployment or ""
                )
            except DeploymentNotFound as refusal:
                return nullcontext(_Nobody(refusal))
        return self.engine_of(record.resource, record.endpoint, target)


def _unanswered(lines: Iterator[InputLine], is_answered: bytearray, longest: int) -> Iterator[Ask]:
    """The requests that have no answer yet."""
    for line in lines:
        if line.number >= len(is_answered):
            return
        if is_answered[line.number]:
            continue
        size = len(line.text or b"")
        try:
            request = read_request(line, longest)
        except BadLine:  # the input was valid; its bytes went bad afterwards
            yield Ask(line.number, f"line-{line.line}", None, size, None)
            continue
        yield Ask(line.number, request.custom_id, request.body, size, prefix_of(request.body))


class Presence:
    """Whether an engine was there when it was asked last."""

    is_away = False


class _Rows:
    """A journal in the database: answers as rows, in one transaction with the counts.

    Beside them, whether the engine is away, for those who watch the server.
    """

    def __init__(
        self,
        batches: Batches,
        store: Store,
        presence: Presence,
        record: BatchRecord,
        completed: int,
        failed: int,
    ) -> None:
        self._database = batches.database
        self._clock = batches.clock
        self._store = store
        self._presence = presence
        self._is_noted_away: bool | None = None
        self._record = record
        self._completed = completed
        self._failed = failed

    def write(self, group: Sequence[Answer]) -> bool:
        self._note_presence()
        if not group:
            with self._database.reading() as connection:
                status = repository.standing(connection, self._record)
            return status == BatchStatus.IN_PROGRESS
        failed = self._failed + sum(answer.failed for answer in group)
        completed = self._completed + len(group) - (failed - self._failed)
        with self._database.transaction() as tx:
            status = repository.add_answers(tx, self._record, group, completed, failed)
            self._store_completions(tx, group)
        self._completed, self._failed = completed, failed
        return status == BatchStatus.IN_PROGRESS

    def _store_completions(self, tx: Transaction, group: Sequence[Answer]) -> None:
        """Store what asked for it with the answers, so that no retry stores anything twice.

        What cannot be stored leaves the answers as they are, and what else there is to store.
        """
        wanted = [answer.stored for answer in group if answer.stored is not None]
        if wanted and not self._stores(tx, wanted) and len(wanted) > 1:
            for one in wanted:
                self._stores(tx, [one])

    def _stores(self, tx: Transaction, wanted: Sequence[NewCompletion]) -> bool:
        try:
            with tx.begin_nested():
                self._store(tx, self._record.resource, wanted)
        except (sa.exc.IntegrityError, sa.exc.DataError) as error:
            _log.error("answers of a batch are not stored", reason=str(error.orig))
            return False
        return True

    def _note_presence(self) -> None:
        is_away = self._presence.is_away
        if is_away is self._is_noted_away:
            return
        with self._database.transaction() as tx:
            away_at = self._clock.now() if is_away else None
            repository.note_engine(tx, self._record, away_at)
        self._is_noted_away = is_away


class _Nobody:
    """Stands in for a deployment that was deleted: every request is refused with that."""

    def __init__(self, refusal: LinariteError) -> None:
        self._refusal = refusal

    async def ask(self, body: dict[str, Any]) -> Reply:
        raise self._refusal

    async def slots(self) -> int | None:
        return None


class Shared:
    """An engine whose slots are divided among the batches that ask it."""

    def __init__(self, engine: Engine, share: Callable[[], int], presence: Presence) -> None:
        self._engine = engine
        self._share = share
        self._presence = presence

    async def ask(self, body: dict[str, Any]) -> Reply:
        try:
            reply = await self._engine.ask(body)
        except EngineLost:
            self._presence.is_away = True
            raise
        self._presence.is_away = False
        return reply

    async def slots(self) -> int | None:
        slots = await self._engine.slots()
        return None if slots is None else max(1, slots // max(1, self._share()))
