"""The queue's own tables: made and updated after the server's, and checked by whoever uses them."""

from importlib import metadata

import sqlalchemy as sa

from linarite.storage.database import Database, WrongSchema
from linarite.storage.tables import task_schema


def migrate(database: Database) -> None:
    """Bring the queue's tables to this version; costs one query when they are."""
    if _found(database) == _wanted():
        return
    from linarite.tasks import durable  # late: see there

    durable.migrate(database)
    with database.transaction() as tx:
        tx.execute(sa.delete(task_schema))
        tx.execute(sa.insert(task_schema).values(version=_wanted()))


def check_version(database: Database) -> None:
    """Raise WrongSchema unless the queue's tables are of this version."""
    found = _found(database)
    if found != _wanted():
        raise WrongSchema(
            f"The task tables are at version {found}, this program wants {_wanted()}: "
            "start `linarite serve` of this version once, which migrates them."
        )


def _wanted() -> str:
    return metadata.version("dbos")


def _found(database: Database) -> str | None:
    with database.reading() as connection:
        return connection.execute(sa.select(task_schema.c.version)).scalar_one_or_none()
