"""The rows of batches and of their answers: every statement about them, and none of the rules."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Any

import sqlalchemy as sa

from linarite.http.odata import Field, Key, Predicate, following, ordering
from linarite.http.pages import Listed, Page, listed, unknown_after
from linarite.resources.batches.answers import Answer, pack, unpack
from linarite.resources.batches.lifecycle import BATCH, OPEN, VALIDATED, entered_at
from linarite.resources.batches.lines import bare_path
from linarite.resources.batches.records import BatchRecord, Fenced
from linarite.storage.database import Database, Transaction
from linarite.storage.tables import batch_answers, batches, deployments
from linarite.wire.batches import BatchStatus

SORTABLE: Mapping[str, Field] = {
    name: Field(batches.c[name])
    for name in (
        "id",
        "created_at",
        "expires_at",
        "in_progress_at",
        "finalizing_at",
        "completed_at",
        "failed_at",
        "expired_at",
        "cancelling_at",
        "cancelled_at",
        "input_file_id",
        "output_file_id",
        "error_file_id",
        "completion_window",
    )
} | {
    "status": Field(batches.c.status, str.lower, frozenset(BatchStatus)),
    "endpoint": Field(batches.c.endpoint, bare_path),
}
"""What `$filter` and `$orderby` may name."""

_COLUMNS = [batches.c[field.name] for field in fields(BatchRecord)]
_PAGE = 1_000
_DELETED_AT_ONCE = 2_000
# The same words in both databases; a line that has its answer keeps it.
_INSERT_ANSWERS = sa.text(
    "INSERT INTO batch_answers (batch, line, failed, body) "
    "VALUES (:batch, :line, :failed, :body) ON CONFLICT DO NOTHING"
)


def insert(tx: Transaction, values: Mapping[str, Any]) -> BatchRecord:
    """Add a batch."""
    statement = sa.insert(batches).values(**values).returning(*_COLUMNS)
    return _record(tx.execute(statement).mappings().one())


def find(connection: sa.Connection, resource: str, batch_id: str) -> BatchRecord | None:
    """The batch of that resource."""
    query = sa.select(*_COLUMNS).where(batches.c.id == batch_id, batches.c.resource == resource)
    return _one(connection, query)


def find_any(connection: sa.Connection, batch_id: str) -> BatchRecord | None:
    """The batch with that id, whosever it is: for tasks, which know no caller."""
    return _one(connection, sa.select(*_COLUMNS).where(batches.c.id == batch_id))


def of_file(connection: sa.Connection, file_id: str) -> BatchRecord | None:
    """The batch that writes its answers into that file."""
    is_its = sa.or_(batches.c.output_file_id == file_id, batches.c.error_file_id == file_id)
    return _one(connection, sa.select(*_COLUMNS).where(is_its))


def by_creation(page: Page) -> tuple[Key, ...]:
    """The order of a page that nobody ordered otherwise."""
    return (Key(batches.c.seq, page.descending),)


def page(
    connection: sa.Connection,
    resource: str,
    wanted: Page,
    condition: Predicate | None,
    order: Sequence[Key],
) -> Listed[BatchRecord]:
    """A page of a resource's batches that meet `condition`.

    Raises:
        InvalidPayload: `wanted.after` is no batch of the resource.
    """
    is_own = batches.c.resource == resource
    if order[-1].column is not batches.c.seq:  # two batches may be alike in all that is named
        order = (*order, Key(batches.c.seq, order[0].descending))
    query = sa.select(*_COLUMNS).where(is_own)
    if condition is not None:
        query = query.where(condition)
    if wanted.after is not None:
        place = sa.select(*(key.column for key in order)).where(
            is_own, batches.c.id == wanted.after
        )
        row = connection.execute(place).one_or_none()
        if row is None:
            raise unknown_after(wanted.after)
        query = query.where(following(order, row))
    rows = connection.execute(query.order_by(*ordering(order)).limit(wanted.limit + 1))
    return listed([_record(row) for row in rows.mappings()], wanted)


def move(
    tx: Transaction,
    batch_id: str,
    to: BatchStatus,
    now: int,
    *,
    run: int | None = None,
    **values: Any,
) -> BatchRecord | None:
    """Move a batch to another status; None when it is not in one that allows it.

    Args:
        tx: the transaction.
        batch_id: which batch.
        to: its new status, entered `now`.
        now: Unix seconds.
        run: of the worker that asks, when the batch must not have been taken over since.
        values: further columns to set.
    """
    statement = sa.update(batches).where(
        batches.c.id == batch_id, batches.c.status.in_(BATCH.before(to))
    )
    if run is not None:
        statement = statement.where(batches.c.run == run)
    values = {entered_at(to): now, "status": to, **values}
    return _one(tx, statement.values(**values).returning(*_COLUMNS))


def take(tx: Transaction, batch_id: str, *, untouched: bool = False) -> BatchRecord | None:
    """Begin to work on a validated batch: whoever did before can write no more.

    The number of the run rises each time; it falls below 0 instead where the batch is only
    settled, so that settling can be tried again and still nobody has asked its requests.

    Args:
        tx: the transaction.
        batch_id: which batch.
        untouched: to settle it, and only if nobody began to ask its requests.
    """
    statement = sa.update(batches).where(batches.c.id == batch_id, batches.c.status.in_(VALIDATED))
    run = sa.func.abs(batches.c.run) + 1
    if untouched:
        statement = statement.where(batches.c.run <= 0)
        run = -run
    return _one(tx, statement.values(run=run).returning(*_COLUMNS))


def name_outputs(tx: Transaction, batch_id: str, output: str, error: str) -> None:
    """Set the files that the answers go to."""
    statement = sa.update(batches).where(batches.c.id == batch_id)
    tx.execute(statement.values(output_file_id=output, error_file_id=error))


def lock_deployment(tx: Transaction, owner: str, deployment: str) -> None:
    """Let one transaction at a time reckon with a deployment's tokens."""
    query = sa.select(deployments.c.seq).where(
        deployments.c.resource == owner, deployments.c.id == deployment
    )
    tx.execute(query.with_for_update())


def enqueued_tokens(
    connection: sa.Connection, owner: str, deployment: str, statuses: Iterable[BatchStatus] = OPEN
) -> int:
    """The tokens that the batches of all resources in `statuses` have waiting for a deployment."""
    query = sa.select(sa.func.coalesce(sa.func.sum(batches.c.enqueued_tokens), 0)).where(
        batches.c.deployment == deployment,
        batches.c.deployment_owner == owner,
        batches.c.status.in_(tuple(statuses)),
    )
    return int(connection.execute(query).scalar_one())


def overdue(connection: sa.Connection, now: int, limit: int) -> list[BatchRecord]:
    """Batches whose time is over and that nobody has begun to ask."""
    query = sa.select(*_COLUMNS).where(
        batches.c.status == BatchStatus.IN_PROGRESS, batches.c.expires_at <= now, batches.c.run <= 0
    )
    rows = connection.execute(query.order_by(batches.c.expires_at).limit(limit)).mappings()
    return [_record(row) for row in rows]


def answered_numbers(connection: sa.Connection, batch: int) -> Iterator[tuple[int, bool]]:
    """The requests that have an answer, and whether it is a failure."""
    query = sa.select(batch_answers.c.line, batch_answers.c.failed)
    rows = connection.execute(query.where(batch_answers.c.batch == batch))
    for number, failed in rows:
        yield number, bool(failed)


def add_answers(
    tx: Transaction, record: BatchRecord, group: Sequence[Answer], completed: int, failed: int
) -> BatchStatus:
    """Keep answers together with the counts that they make; tells the batch's status.

    Raises:
        Fenced: another run has begun, or the batch is not one that is asked.
    """
    kept = (BatchStatus.IN_PROGRESS, BatchStatus.CANCELLING)
    statement = (
        sa.update(batches)
        .where(batches.c.seq == record.seq, batches.c.run == record.run, batches.c.status.in_(kept))
        .values(completed=completed, failed=failed)
        .returning(batches.c.status)
    )
    status = tx.execute(statement).scalar_one_or_none()
    if status is None:
        raise Fenced
    rows = [
        {"batch": record.seq, "line": a.number, "failed": a.failed, "body": pack(a.line)}
        for a in group
    ]
    tx.execute(_INSERT_ANSWERS, rows)
    return BatchStatus(status)


def note_engine(tx: Transaction, record: BatchRecord, away_at: int | None) -> None:
    """Set since when the batch's engine is away; nothing when another run has begun."""
    is_its = (batches.c.seq == record.seq) & (batches.c.run == record.run)
    tx.execute(sa.update(batches).where(is_its).values(engine_away_at=away_at))


def count_without_engine(connection: sa.Connection) -> int:
    """How many batches of all resources are being asked while their engine is away."""
    query = sa.select(sa.func.count()).where(
        batches.c.status == BatchStatus.IN_PROGRESS, batches.c.engine_away_at.is_not(None)
    )
    return connection.execute(query).scalar_one()


def standing(connection: sa.Connection, record: BatchRecord) -> BatchStatus:
    """The batch's status; raises Fenced when another run has begun."""
    query = sa.select(batches.c.status, batches.c.run).where(batches.c.seq == record.seq)
    status, run = connection.execute(query).one()
    if run != record.run:
        raise Fenced
    return BatchStatus(status)


def answers_in_order(
    database: Database, batch: int, *, failed: bool
) -> Iterator[tuple[int, bytes]]:
    """The answers of one kind by number: read in pages, so that no transaction stays open."""
    column = batch_answers.c.line
    yield from _pages(database, batch, failed, column)


def answers_as_they_came(database: Database, batch: int, *, failed: bool) -> Iterator[bytes]:
    """The lines of one kind in the order of finishing, as many as there are by now."""
    for _, line in _pages(database, batch, failed, batch_answers.c.seq):
        yield line


def _pages(
    database: Database, batch: int, failed: bool, column: sa.Column[int]
) -> Iterator[tuple[int, bytes]]:
    last = -1
    while True:
        query = (
            sa.select(column, batch_answers.c.body)
            .where(batch_answers.c.batch == batch, batch_answers.c.failed == failed, column > last)
            .order_by(column)
            .limit(_PAGE)
        )
        with database.reading() as connection:
            rows = connection.execute(query).all()
        for place, body in rows:
            yield place, unpack(body)
        if len(rows) < _PAGE:
            return
        last = rows[-1][0]


def delete_answers(database: Database, batch: int) -> None:
    """Remove the answers of a batch that has ended, in slices, so that nobody waits long."""
    some = (
        sa.select(batch_answers.c.seq)
        .where(batch_answers.c.batch == batch)
        .limit(_DELETED_AT_ONCE)
        .scalar_subquery()
    )
    while True:
        with database.transaction() as tx:
            statement = sa.delete(batch_answers).where(batch_answers.c.seq.in_(some))
            if tx.execute(statement).rowcount < _DELETED_AT_ONCE:
                return


def _one(connection: sa.Connection, query: sa.Executable) -> BatchRecord | None:
    row = connection.execute(query).mappings().one_or_none()
    return None if row is None else _record(row)


def _record(row: sa.RowMapping) -> BatchRecord:
    return BatchRecord(**{**row, "status": BatchStatus(row["status"])})
