"""The statements of this room: its own tables, and what it reads of DBOS's table of workflows.

DBOS's table is named here alone, by the few columns that fencing, takeover and cleaning need.
"""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from linarite.storage.database import Database, Transaction
from linarite.storage.tables import schedules, workers


def workflow_status(database: Database) -> sa.TableClause:
    """DBOS's table of workflows: in SQLite's one schema, or in its own on PostgreSQL."""
    return sa.table(
        "workflow_status",
        sa.column("workflow_uuid", sa.Text),
        sa.column("queue_name", sa.Text),
        sa.column("status", sa.Text),
        sa.column("executor_id", sa.Text),
        sa.column("owner_xid", sa.Text),
        sa.column("recovery_attempts", sa.BigInteger),
        sa.column("created_at", sa.BigInteger),
        sa.column("updated_at", sa.BigInteger),
        schema=None if database.is_sqlite else "dbos",
    )


def database_now(database: Database) -> sa.ColumnElement[float]:
    """The database's own clock in Unix seconds, so that machines need not agree on the time."""
    if database.is_sqlite:
        return (sa.func.julianday("now") - 2440587.5) * 86400.0
    return sa.cast(sa.extract("epoch", sa.func.clock_timestamp()), sa.Float)


def beat(database: Database, worker_id: str) -> None:
    """Say that this worker lives; lists it where it is not listed."""
    now = database_now(database)
    with database.transaction() as tx:
        seen = tx.execute(sa.update(workers).where(workers.c.id == worker_id).values(seen_at=now))
        if seen.rowcount == 0:
            tx.execute(sa.insert(workers).values(id=worker_id, seen_at=now))


def unlist(database: Database, worker_id: str) -> None:
    """Take a worker off the list."""
    with database.transaction() as tx:
        tx.execute(sa.delete(workers).where(workers.c.id == worker_id))


def listed(database: Database) -> dict[str, float]:
    """Every listed worker and the seconds since it was last seen."""
    with database.reading() as connection:
        rows = connection.execute(
            sa.select(workers.c.id, database_now(database) - workers.c.seen_at)
        )
        return {worker_id: float(age) for worker_id, age in rows}


def owners(database: Database, workflow_ids: list[str]) -> dict[str, str | None]:
    """Which execution owns each of these workflows; None where none does."""
    status = workflow_status(database)
    query = sa.select(status.c.workflow_uuid, status.c.owner_xid).where(
        status.c.workflow_uuid.in_(workflow_ids)
    )
    with database.reading() as connection:
        return {row[0]: row[1] for row in connection.execute(query)}


def locked_owner(database: Database, tx: Transaction, workflow_id: str) -> str | None:
    """Which execution owns the workflow, from now until `tx` ends.

    On SQLite `tx` holds the only write lock; on PostgreSQL the row is locked against takeover.
    """
    status = workflow_status(database)
    query = sa.select(status.c.owner_xid).where(status.c.workflow_uuid == workflow_id)
    if not database.is_sqlite:
        query = query.with_for_update(read=True)
    return tx.execute(query).scalar_one_or_none()


def queues_with_work(database: Database, queue_names: Sequence[str]) -> sa.TextClause:
    """Asks for the names of those queues in which a task waits; made once, as it is asked often."""
    status = workflow_status(database)
    in_flight = sa.text("status IN ('ENQUEUED', 'PENDING')")  # SQLite finds the index by it

    def waiting(name: str) -> sa.Select[Any]:
        waits = status.c.queue_name == name, status.c.status == "ENQUEUED", in_flight
        return sa.select(sa.literal(name)).where(sa.exists().where(*waits))

    query = sa.union_all(*map(waiting, queue_names))
    # as text: recognizing so big an expression in the cache takes longer than the query
    return sa.text(str(query.compile(database.engine, compile_kwargs={"literal_binds": True})))


def busy_executors(database: Database) -> set[str]:
    """The ids of all workers, living or not, that tasks are in the hands of."""
    status = workflow_status(database)
    in_flight = sa.text("status IN ('ENQUEUED', 'PENDING')")  # as in `queues_with_work`
    query = sa.select(status.c.executor_id).where(status.c.status == "PENDING", in_flight)
    with database.reading() as connection:
        return set(connection.execute(query).scalars())


def times_started(database: Database, workflow_id: str) -> int:
    """How often any worker picked the workflow up."""
    status = workflow_status(database)
    query = sa.select(status.c.recovery_attempts).where(status.c.workflow_uuid == workflow_id)
    with database.reading() as connection:
        return int(connection.execute(query).scalar_one_or_none() or 0)


def finished_before(database: Database, seconds_ago: float, *, limit: int) -> list[str]:
    """The oldest workflows that ended longer than `seconds_ago`."""
    status = workflow_status(database)
    cut = (database_now(database) - seconds_ago) * 1000
    query = (
        sa.select(status.c.workflow_uuid)
        .where(status.c.status.not_in(["ENQUEUED", "PENDING", "DELAYED"]))
        .where(status.c.updated_at < cut)
        .order_by(status.c.created_at)
        .limit(limit)
    )
    with database.reading() as connection:
        return list(connection.execute(query).scalars())


def add_schedule(database: Database, name: str) -> None:
    """Make a schedule known; its first tick is due at once."""
    with database.transaction() as tx:
        known = tx.execute(sa.select(schedules.c.name).where(schedules.c.name == name)).first()
        if known is None:
            tx.execute(sa.insert(schedules).values(name=name, due_at=0))


def take_tick(database: Database, name: str, every_seconds: float) -> bool:
    """Whether this tick of a schedule is the caller's to run; the next one is set by it."""
    now = database_now(database)
    due = sa.update(schedules).where(schedules.c.name == name, schedules.c.due_at <= now)
    with database.reading() as connection:
        waiting = sa.select(schedules.c.name).where(due.whereclause)  # type: ignore[arg-type]  # it has one
        if connection.execute(waiting).first() is None:
            return False
    with database.transaction() as tx:
        return tx.execute(due.values(due_at=now + every_seconds)).rowcount == 1
