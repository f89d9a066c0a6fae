"""The rows of ingestion jobs, runs and warnings: every statement about them, and no rule."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from typing import Any

import sqlalchemy as sa

from linarite.http.pages import Listed, Page, keyset, listed, unknown_after
from linarite.resources.ingestion.lifecycle import OPEN, RUN
from linarite.resources.ingestion.records import JobRecord, Run, Trigger
from linarite.resources.ingestion.texts import reason
from linarite.storage.database import Transaction
from linarite.storage.tables import ingestion_jobs as jobs
from linarite.storage.tables import ingestion_run_warnings as warnings
from linarite.storage.tables import ingestion_runs as runs
from linarite.wire.ingestion import IngestionJobType, OperationState

_JOB = [jobs.c[field.name] for field in fields(JobRecord)]
_OF_JOB = {
    "job_id": jobs.c.id,
    "resource": jobs.c.resource,
    "created": runs.c.created_at,
    "job_created": jobs.c.created_at,
}
_RUN = [
    _OF_JOB[field.name].label(field.name) if field.name in _OF_JOB else runs.c[field.name]
    for field in fields(Run)
]
_IS_THERE = jobs.c.deleted_at.is_(None)
_REMOVED_AT_ONCE = 100
_HAS_OPEN_RUN = sa.exists().where(runs.c.job == jobs.c.seq, runs.c.status.in_(OPEN))


def insert(tx: Transaction, values: Mapping[str, Any]) -> JobRecord | None:
    """Add a job; None when its resource has one of that id, or of that index name."""
    statement = _insert_or_ignore(tx, jobs, values).returning(*_JOB)
    return _one_job(tx, statement)


def update(tx: Transaction, job: JobRecord, values: Mapping[str, Any]) -> JobRecord:
    """Change columns of a job that this transaction holds."""
    statement = sa.update(jobs).where(jobs.c.seq == job.seq).values(**values).returning(*_JOB)
    return _job(tx.execute(statement).mappings().one())


def find(connection: sa.Connection, resource: str, job_id: str) -> JobRecord | None:
    """The job of that resource, unless it is being deleted."""
    query = sa.select(*_JOB).where(jobs.c.resource == resource, jobs.c.id == job_id, _IS_THERE)
    return _one_job(connection, query)


def hold(tx: Transaction, resource: str, job_id: str) -> JobRecord | None:
    """The job, even one that is being deleted; nobody else changes it until `tx` ends."""
    query = sa.select(*_JOB).where(jobs.c.resource == resource, jobs.c.id == job_id)
    return _one_job(tx, query.with_for_update())


def by_key(connection: sa.Connection, seq: int) -> JobRecord | None:
    """The job of that number, whosever it is and even if it is being deleted: for tasks."""
    return _one_job(connection, sa.select(*_JOB).where(jobs.c.seq == seq))


def page(connection: sa.Connection, resource: str, wanted: Page) -> Listed[JobRecord]:
    """A page of a resource's jobs; raises InvalidPayload when `wanted.after` is none of them."""
    is_own = sa.and_(jobs.c.resource == resource, _IS_THERE)
    after = _seq_of(connection, jobs, is_own, wanted.after)
    query = keyset(sa.select(*_JOB).where(is_own), jobs.c.seq, wanted, after)
    return listed([_job(row) for row in connection.execute(query).mappings()], wanted)


def count(connection: sa.Connection, resource: str) -> int:
    """How many jobs a resource has, those that are being deleted included."""
    query = sa.select(sa.func.count()).where(jobs.c.resource == resource)
    return connection.execute(query).scalar_one()


def due(connection: sa.Connection, now: int, limit: int) -> list[JobRecord]:
    """Jobs whose next run is due, and that none keeps from it; the longest due first."""
    query = sa.select(*_JOB).where(jobs.c.next_run_at <= now, _IS_THERE, ~_HAS_OPEN_RUN)
    rows = connection.execute(query.order_by(jobs.c.next_run_at).limit(limit)).mappings()
    return [_job(row) for row in rows]


def take_due(tx: Transaction, job: JobRecord, next_run_at: int) -> bool:
    """Put a due job's next run off; False when somebody else was first, or it is due no more."""
    statement = sa.update(jobs).where(
        jobs.c.seq == job.seq, jobs.c.next_run_at == job.next_run_at, _IS_THERE, ~_HAS_OPEN_RUN
    )
    return tx.execute(statement.values(next_run_at=next_run_at)).rowcount == 1


def mark_deleted(tx: Transaction, job: JobRecord, now: int) -> bool:
    """Have a job be seen no more; False while it has an open run."""
    statement = sa.update(jobs).where(jobs.c.seq == job.seq, _IS_THERE, ~_HAS_OPEN_RUN)
    return tx.execute(statement.values(deleted_at=now, next_run_at=None)).rowcount == 1


def remove(tx: Transaction, seq: int) -> None:
    """Remove a job that is being deleted, with its runs."""
    of_it = sa.select(runs.c.seq).where(runs.c.job == seq)
    tx.execute(sa.delete(warnings).where(warnings.c.run.in_(of_it)))
    tx.execute(sa.delete(runs).where(runs.c.job == seq))
    tx.execute(sa.delete(jobs).where(jobs.c.seq == seq, ~_IS_THERE))


def note_place(tx: Transaction, seq: int, place: str) -> None:
    """Note that a job's chunks lie in `place`, by the definition that it has now."""
    filled = {"place": place, "filled_by": jobs.c.definition}
    tx.execute(sa.update(jobs).where(jobs.c.seq == seq).values(**filled))


def has_open_run(connection: sa.Connection, job: JobRecord) -> bool:
    """Whether a run of the job waits or is under way."""
    query = sa.select(runs.c.seq).where(runs.c.job == job.seq, runs.c.status.in_(OPEN))
    return connection.execute(query).first() is not None


def remove_old_runs(tx: Transaction, job: JobRecord, keep: int) -> None:
    """Forget the runs of a job but the `keep` newest, of which the open one is the first."""
    its = sa.select(runs.c.seq).where(runs.c.job == job.seq)
    old = its.order_by(runs.c.seq.desc()).offset(keep).limit(_REMOVED_AT_ONCE)
    if seqs := list(tx.execute(old).scalars()):
        tx.execute(sa.delete(warnings).where(warnings.c.run.in_(seqs)))
        tx.execute(sa.delete(runs).where(runs.c.seq.in_(seqs)))


def insert_run(tx: Transaction, job: JobRecord, values: Mapping[str, Any]) -> Run:
    """Add a run; raises sqlalchemy's IntegrityError while another one of the job is open."""
    tx.execute(sa.insert(runs).values(job=job.seq, **values))
    run = find_any_run(tx, values["id"])
    assert run is not None
    return run


def find_run(connection: sa.Connection, job: JobRecord, run_id: str) -> Run | None:
    """The run of that job."""
    run = find_any_run(connection, run_id)
    return run if run is not None and run.job == job.seq else None


def find_any_run(connection: sa.Connection, run_id: str) -> Run | None:
    """The run with that id, whosever it is: for tasks, which know no caller."""
    return _one_run(connection, _select_runs().where(runs.c.id == run_id))


def hold_run(tx: Transaction, run_id: str) -> Run | None:
    """The same; nobody else changes it until `tx` ends."""
    return _one_run(tx, _select_runs().where(runs.c.id == run_id).with_for_update(of=runs))


def runs_page(connection: sa.Connection, job: JobRecord, wanted: Page) -> Listed[Run]:
    """A page of a job's runs; raises InvalidPayload when `wanted.after` is none of them."""
    is_its = runs.c.job == job.seq
    after = _seq_of(connection, runs, is_its, wanted.after)
    query = keyset(_select_runs().where(is_its), runs.c.seq, wanted, after)
    return listed([_run(row) for row in connection.execute(query).mappings()], wanted)


def move(tx: Transaction, run: Run, to: OperationState, **values: Any) -> bool:
    """Move a run to another status; False when it is not in one that allows it."""
    statement = sa.update(runs).where(runs.c.seq == run.seq, runs.c.status.in_(RUN.before(to)))
    return tx.execute(statement.values(status=to, **values)).rowcount == 1


def fail_waiting(tx: Transaction, run: Run, **values: Any) -> bool:
    """Fail a run that no worker has begun; False when one has, or it has ended."""
    waits = sa.and_(runs.c.seq == run.seq, runs.c.status == OperationState.NOT_RUNNING)
    statement = sa.update(runs).where(waits)
    return tx.execute(statement.values(status=OperationState.FAILED, **values)).rowcount == 1


def note_stages(tx: Transaction, run_id: str, stages: Sequence[Mapping[str, Any]]) -> None:
    """Tell how far a run has come; nothing once it has ended."""
    is_open = sa.and_(runs.c.id == run_id, runs.c.status == OperationState.RUNNING)
    tx.execute(sa.update(runs).where(is_open).values(stages=[dict(one) for one in stages]))


def mark_cancelled(tx: Transaction, run: Run, now: int) -> bool:
    """Ask for the end of a run that is under way; False when none is, any more."""
    is_open = sa.and_(runs.c.seq == run.seq, runs.c.status == OperationState.RUNNING)
    first = sa.func.coalesce(runs.c.cancelled_at, now)
    return tx.execute(sa.update(runs).where(is_open).values(cancelled_at=first)).rowcount == 1


def add_warning(tx: Transaction, run: Run, document_key: str, text: str) -> None:
    """Keep what is to be said of a document; what was said first counts."""
    values = {"run": run.seq, "document": _mark(document_key), "text": reason(text)}
    tx.execute(_insert_or_ignore(tx, warnings, values))


def remove_warning(tx: Transaction, run: Run, document_key: str) -> None:
    """Forget what was to be said of a document."""
    is_it = (warnings.c.run == run.seq) & (warnings.c.document == _mark(document_key))
    tx.execute(sa.delete(warnings).where(is_it))


def _mark(document_key: str) -> str:
    return hashlib.sha256(document_key.encode("utf-8", "surrogatepass")).hexdigest()


def warnings_of(connection: sa.Connection, run: Run, limit: int) -> tuple[list[str], int]:
    """The first warnings of a run, and how many there are in all."""
    is_its = warnings.c.run == run.seq
    query = sa.select(warnings.c.text).where(is_its).order_by(warnings.c.seq).limit(limit)
    texts = list(connection.execute(query).scalars())
    if len(texts) < limit:
        return texts, len(texts)
    total = connection.execute(sa.select(sa.func.count()).where(is_its)).scalar_one()
    return texts, total


def keep_warnings(tx: Transaction, run: Run, keep: int, more: Callable[[int], str]) -> None:
    """Forget all warnings of a run but the first `keep`; what `more` makes of their number stays.

    Nothing is forgotten where there is but one more.
    """
    texts, total = warnings_of(tx, run, keep + 1)
    if total <= len(texts):
        return
    is_its = warnings.c.run == run.seq
    seqs = sa.select(warnings.c.seq).where(is_its).order_by(warnings.c.seq)
    last = tx.execute(seqs.offset(keep).limit(1)).scalar_one()
    tx.execute(sa.delete(warnings).where(is_its, warnings.c.seq > last))
    told = more(total - keep)
    tx.execute(sa.update(warnings).where(warnings.c.seq == last).values(text=told))


def _select_runs() -> sa.Select[Any]:
    return sa.select(*_RUN).join_from(runs, jobs, runs.c.job == jobs.c.seq)


def _insert_or_ignore(connection: sa.Connection, table: sa.Table, values: Mapping[str, Any]) -> Any:
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


def _one_job(connection: sa.Connection, query: sa.Executable) -> JobRecord | None:
    row = connection.execute(query).mappings().one_or_none()
    return None if row is None else _job(row)


def _one_run(connection: sa.Connection, query: sa.Executable) -> Run | None:
    row = connection.execute(query).mappings().one_or_none()
    return None if row is None else _run(row)


def _job(row: Mapping[Any, Any]) -> JobRecord:
    return JobRecord(**{**row, "kind": IngestionJobType(row["kind"])})


def _run(row: Mapping[Any, Any]) -> Run:
    told = {"trigger": Trigger(row["trigger"]), "status": OperationState(row["status"])}
    return Run(**{**row, **told})
