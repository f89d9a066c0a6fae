"""The rows of tuning jobs, events and checkpoints: every statement about them, and no rule."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from enum import Enum, auto
from typing import Any

import sqlalchemy as sa

from linarite.http.pages import Listed, Page, keyset, listed, unknown_after
from linarite.resources.fine_tuning.lifecycle import JOB
from linarite.resources.fine_tuning.records import (
    CheckpointRecord,
    EventRecord,
    Fenced,
    JobRecord,
)
from linarite.storage.database import Database, Transaction
from linarite.storage.tables import (
    fine_tuning_checkpoints,
    fine_tuning_events,
    fine_tuning_jobs,
    fine_tuning_steps,
)
from linarite.wire.fine_tuning import FineTuningMethodType, LogLevel
from linarite.wire.models import FineTuningState

_JOB = [fine_tuning_jobs.c[field.name] for field in fields(JobRecord)]
_EVENT = [fine_tuning_events.c[field.name] for field in fields(EventRecord)]
_CHECKPOINT = [fine_tuning_checkpoints.c[field.name] for field in fields(CheckpointRecord)]
_OPEN = (FineTuningState.PENDING, FineTuningState.RUNNING)
_STEPS_AT_ONCE = 1_000


def insert(tx: Transaction, values: Mapping[str, Any]) -> JobRecord:
    """Add a job."""
    statement = sa.insert(fine_tuning_jobs).values(**values).returning(*_JOB)
    return _job(tx.execute(statement).mappings().one())


class Lock(Enum):
    """What others cannot do with a row until the transaction ends. SQLite has one writer anyway."""

    SHARED = auto()
    """Change it."""
    ALONE = auto()
    """Change it, or hold it."""


def find(
    connection: sa.Connection, resource: str, job_id: str, *, lock: Lock | None = None
) -> JobRecord | None:
    """The job of that resource."""
    job = find_any(connection, job_id, lock=lock)
    return job if job is not None and job.resource == resource else None


def find_any(
    connection: sa.Connection, job_id: str, *, lock: Lock | None = None
) -> JobRecord | None:
    """The job with that id, whosever it is: for tasks, which know no caller."""
    query = sa.select(*_JOB).where(fine_tuning_jobs.c.id == job_id)
    return _one_job(connection, _locking(query, lock))


def of_file(connection: sa.Connection, file_id: str) -> JobRecord | None:
    """The job that writes its results into that file."""
    query = sa.select(*_JOB).where(fine_tuning_jobs.c.result_file_id == file_id)
    return _one_job(connection, query)


def page(connection: sa.Connection, resource: str, wanted: Page) -> Listed[JobRecord]:
    """A page of a resource's jobs; raises InvalidPayload when `wanted.after` is none of them."""
    is_own = fine_tuning_jobs.c.resource == resource
    after = _seq_of(connection, fine_tuning_jobs, is_own, wanted.after)
    query = keyset(sa.select(*_JOB).where(is_own), fine_tuning_jobs.c.seq, wanted, after)
    return listed([_job(row) for row in connection.execute(query).mappings()], wanted)


def count(connection: sa.Connection, resource: str, status: FineTuningState | None = None) -> int:
    """How many jobs a resource has, all or those of one status."""
    query = sa.select(sa.func.count()).where(fine_tuning_jobs.c.resource == resource)
    if status is not None:
        query = query.where(fine_tuning_jobs.c.status == status)
    return connection.execute(query).scalar_one()


def move(
    tx: Transaction, job_id: str, to: FineTuningState, *, run: int | None = None, **values: Any
) -> JobRecord | None:
    """Move a job to another status; None when it is not in one that allows it.

    Args:
        tx: the transaction.
        job_id: which job.
        to: its new status.
        run: of the worker that asks, when the job must not have been taken over since.
        values: further columns to set.
    """
    statement = sa.update(fine_tuning_jobs).where(
        fine_tuning_jobs.c.id == job_id, fine_tuning_jobs.c.status.in_(JOB.before(to))
    )
    if run is not None:
        statement = statement.where(fine_tuning_jobs.c.run == run)
    return _one_job(tx, statement.values(status=to, **values).returning(*_JOB))


def take(tx: Transaction, job_id: str) -> JobRecord | None:
    """Begin to work on a job: whoever did before can write no more."""
    statement = sa.update(fine_tuning_jobs).where(fine_tuning_jobs.c.id == job_id)
    return _one_job(tx, statement.values(run=fine_tuning_jobs.c.run + 1).returning(*_JOB))


def note(tx: Transaction, taken: JobRecord, **values: Any) -> JobRecord:
    """Set columns of a job that this run took, whatever its status; raises Fenced if it lost it."""
    statement = sa.update(fine_tuning_jobs).where(
        fine_tuning_jobs.c.seq == taken.seq, fine_tuning_jobs.c.run == taken.run
    )
    record = _one_job(tx, statement.values(**values).returning(*_JOB))
    if record is None:
        raise Fenced
    return record


def let_go(tx: Transaction, job: JobRecord) -> None:
    """Forget the blobs that a job that has ended reads no more."""
    statement = sa.update(fine_tuning_jobs).where(fine_tuning_jobs.c.seq == job.seq)
    none = {"training_blob_id": None, "validation_blob_id": None, "adapter": sa.null()}
    tx.execute(statement.values(**none))


def standing(connection: sa.Connection, taken: JobRecord) -> FineTuningState:
    """The job's status; raises Fenced when another run has begun or the job is gone."""
    query = sa.select(fine_tuning_jobs.c.status).where(
        fine_tuning_jobs.c.seq == taken.seq, fine_tuning_jobs.c.run == taken.run
    )
    status = connection.execute(query).scalar_one_or_none()
    if status is None:
        raise Fenced
    return FineTuningState(status)


def remove(tx: Transaction, job: JobRecord) -> bool:
    """Remove a job that has ended with all that is its; False when it has not."""
    is_it = fine_tuning_jobs.c.seq == job.seq
    is_open = tx.execute(
        sa.select(fine_tuning_jobs.c.seq).where(is_it, fine_tuning_jobs.c.status.in_(_OPEN))
    )
    if is_open.first() is not None:
        return False
    for table in (fine_tuning_events, fine_tuning_steps, fine_tuning_checkpoints):
        tx.execute(sa.delete(table).where(table.c.job == job.seq))
    tx.execute(sa.delete(fine_tuning_jobs).where(is_it))
    return True


def add_events(tx: Transaction, job: JobRecord, events: Sequence[EventRecord]) -> None:
    """Add events in their order; of a step that has its event already nothing is added."""
    for event in events:
        values = {field.name: getattr(event, field.name) for field in fields(EventRecord)}
        tx.execute(_insert_or_ignore(tx, fine_tuning_events, {"job": job.seq, **values}))


def told(connection: sa.Connection, job: JobRecord, messages: Sequence[str]) -> set[str]:
    """Those of `messages` that an event of the job says."""
    query = sa.select(fine_tuning_events.c.message).where(
        fine_tuning_events.c.job == job.seq, fine_tuning_events.c.message.in_(messages)
    )
    return set(connection.execute(query).scalars())


def events_page(connection: sa.Connection, job: JobRecord, wanted: Page) -> Listed[EventRecord]:
    """A page of a job's events; raises InvalidPayload when `wanted.after` is none of them."""
    is_its = fine_tuning_events.c.job == job.seq
    after = _seq_of(connection, fine_tuning_events, is_its, wanted.after)
    query = keyset(sa.select(*_EVENT).where(is_its), fine_tuning_events.c.seq, wanted, after)
    return listed([_event(row) for row in connection.execute(query).mappings()], wanted)


def add_steps(tx: Transaction, job: JobRecord, steps: Mapping[int, Mapping[str, Any]]) -> None:
    """Keep the metrics of steps; one that is known already stays as it is."""
    for step, metrics in steps.items():
        values = {"job": job.seq, "step": step, "metrics": dict(metrics)}
        tx.execute(_insert_or_ignore(tx, fine_tuning_steps, values))


def metrics_of(connection: sa.Connection, job: JobRecord, step: int) -> dict[str, Any]:
    """The metrics of one step; none when it is not known."""
    query = sa.select(fine_tuning_steps.c.metrics).where(
        fine_tuning_steps.c.job == job.seq, fine_tuning_steps.c.step == step
    )
    found: dict[str, Any] | None = connection.execute(query).scalar_one_or_none()
    return found or {}


def last_step(connection: sa.Connection, job: JobRecord) -> int | None:
    """The highest step that is known."""
    query = sa.select(sa.func.max(fine_tuning_steps.c.step))
    step: int | None = connection.execute(query.where(fine_tuning_steps.c.job == job.seq)).scalar()
    return step


def steps_after(
    connection: sa.Connection, job: JobRecord, step: int, limit: int
) -> list[tuple[int, dict[str, Any]]]:
    """The next steps after that one and their metrics, `limit` at most."""
    query = (
        sa.select(fine_tuning_steps.c.step, fine_tuning_steps.c.metrics)
        .where(fine_tuning_steps.c.job == job.seq, fine_tuning_steps.c.step > step)
        .order_by(fine_tuning_steps.c.step)
        .limit(limit)
    )
    return [(row.step, row.metrics) for row in connection.execute(query)]


def steps_in_order(database: Database, job: JobRecord) -> Iterator[tuple[int, dict[str, Any]]]:
    """Every step and its metrics: read in pages, so that no transaction stays open."""
    last = -1
    while True:
        with database.reading() as connection:
            rows = steps_after(connection, job, last, _STEPS_AT_ONCE)
        yield from rows
        if len(rows) < _STEPS_AT_ONCE:
            return
        last = rows[-1][0]


def add_checkpoint(tx: Transaction, job: JobRecord, record: CheckpointRecord) -> None:
    """Add a checkpoint; raises sqlalchemy's IntegrityError when there is one of that step."""
    values = {field.name: getattr(record, field.name) for field in fields(CheckpointRecord)}
    tx.execute(sa.insert(fine_tuning_checkpoints).values(job=job.seq, **values))


def last_checkpoint(connection: sa.Connection, job: JobRecord) -> int:
    """The step of a job's newest checkpoint; 0 when there is none."""
    query = sa.select(sa.func.max(fine_tuning_checkpoints.c.step))
    query = query.where(fine_tuning_checkpoints.c.job == job.seq)
    return connection.execute(query).scalar() or 0


def remove_checkpoint(tx: Transaction, record: CheckpointRecord) -> None:
    """Remove a checkpoint."""
    tx.execute(sa.delete(fine_tuning_checkpoints).where(fine_tuning_checkpoints.c.id == record.id))


def checkpoints(connection: sa.Connection, job: JobRecord) -> list[CheckpointRecord]:
    """A job's checkpoints, newest first."""
    query = sa.select(*_CHECKPOINT).where(fine_tuning_checkpoints.c.job == job.seq)
    rows = connection.execute(query.order_by(fine_tuning_checkpoints.c.seq.desc())).mappings()
    return [CheckpointRecord(**row) for row in rows]


def checkpoints_page(
    connection: sa.Connection, job: JobRecord, wanted: Page
) -> Listed[CheckpointRecord]:
    """A page of a job's checkpoints; raises InvalidPayload when `wanted.after` is none of them."""
    is_its = fine_tuning_checkpoints.c.job == job.seq
    after = _seq_of(connection, fine_tuning_checkpoints, is_its, wanted.after)
    query = keyset(
        sa.select(*_CHECKPOINT).where(is_its), fine_tuning_checkpoints.c.seq, wanted, after
    )
    rows = connection.execute(query).mappings()
    return listed([CheckpointRecord(**row) for row in rows], wanted)


def job_of_checkpoint(
    connection: sa.Connection, checkpoint_id: str, *, lock: Lock | None = None
) -> JobRecord | None:
    """The job that a checkpoint is of."""
    query = (
        sa.select(*_JOB)
        .join(fine_tuning_checkpoints, fine_tuning_checkpoints.c.job == fine_tuning_jobs.c.seq)
        .where(fine_tuning_checkpoints.c.id == checkpoint_id)
    )
    return _one_job(connection, _locking(query, lock))


def with_checkpoints(
    connection: sa.Connection, resource: str | None
) -> list[tuple[JobRecord, CheckpointRecord]]:
    """Every checkpoint of a resource, or of all, with its job; oldest first."""
    query = (
        sa.select(
            *(column.label(f"job_{column.name}") for column in _JOB),
            *(column.label(f"checkpoint_{column.name}") for column in _CHECKPOINT),
        )
        .join(fine_tuning_checkpoints, fine_tuning_checkpoints.c.job == fine_tuning_jobs.c.seq)
        .order_by(fine_tuning_checkpoints.c.seq)
    )
    if resource is not None:
        query = query.where(fine_tuning_jobs.c.resource == resource)
    return [
        (_job(_part(row, "job_")), CheckpointRecord(**_part(row, "checkpoint_")))
        for row in connection.execute(query).mappings()
    ]


def _part(row: Mapping[Any, Any], prefix: str) -> dict[str, Any]:
    return {
        str(key).removeprefix(prefix): value
        for key, value in row.items()
        if str(key).startswith(prefix)
    }


def _insert_or_ignore(
    connection: sa.Connection, table: sa.Table, values: Mapping[str, Any]
) -> sa.Executable:
    """An INSERT that a row with the same key makes nothing of, in both databases' words."""
    if connection.dialect.name == "sqlite":
        from sqlalchemy.dialects.sqlite import insert as insert_into
    else:
        from sqlalchemy.dialects.postgresql import insert as insert_into  # type: ignore[assignment]  # alike
    return insert_into(table).values(**values).on_conflict_do_nothing()


def _seq_of(
    connection: sa.Connection, table: sa.Table, is_its: sa.ColumnElement[bool], after: str | None
) -> int | None:
    if after is None:
        return None
    query = sa.select(table.c.seq).where(is_its, table.c.id == after)
    seq: int | None = None if "\0" in after else connection.execute(query).scalar_one_or_none()
    if seq is None:
        raise unknown_after(after)
    return seq


def _locking(query: sa.Select[Any], lock: Lock | None) -> sa.Select[Any]:
    if lock is None:
        return query
    return query.with_for_update(read=lock is Lock.SHARED, of=fine_tuning_jobs)


def _one_job(connection: sa.Connection, query: sa.Executable) -> JobRecord | None:
    row = connection.execute(query).mappings().one_or_none()
    return None if row is None else _job(row)


def _job(row: Mapping[Any, Any]) -> JobRecord:
    told = {
        "status": FineTuningState(row["status"]),
        "method": FineTuningMethodType(row["method"]),
    }
    return JobRecord(**{**row, **told})


def _event(row: sa.RowMapping) -> EventRecord:
    return EventRecord(**{**row, "level": LogLevel(row["level"])})


def blob_ids_of(records: Iterable[CheckpointRecord]) -> set[str]:
    """The blobs that checkpoints are made of."""
    return {blob_id for record in records for blob_id in record.files.values()}
