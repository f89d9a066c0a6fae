"""Statements that go to the driver as they stand: SQLAlchemy's own work on them would take longer.

They are written for PostgreSQL, in words that need little to be SQLite's.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import Any

import sqlalchemy as sa


def run_each(connection: sa.Connection, statement: str, rows: Sequence[tuple[Any, ...]]) -> None:
    """Run a statement with each of `rows`."""
    if not rows:
        return
    if connection.dialect.name == "sqlite":
        statement = _for_sqlite(statement)
    with _cursor(connection) as cursor:
        cursor.executemany(statement, rows)


def returned(
    connection: sa.Connection,
    statement: str,
    values: Sequence[Any] = (),
    lists: Sequence[list[Any]] = (),
) -> Sequence[tuple[Any, ...]]:
    """Run a statement; the rows that it gives back.

    Args:
        connection: where to.
        statement: which.
        values: what stands in its places.
        lists: what stands in each ``= ANY(%s)``, after the other places.
    """
    if connection.dialect.name == "sqlite":
        for some in lists:
            places = ", ".join(["%s"] * len(some))
            statement = statement.replace("= ANY(%s)", f"IN ({places})", 1)
        statement, values = _for_sqlite(statement), [*values, *chain.from_iterable(lists)]
    else:
        values = [*values, *lists]
    with _cursor(connection) as cursor:
        cursor.execute(statement, values)
        return list(cursor.fetchall())


def _for_sqlite(statement: str) -> str:
    return statement.replace("%s", "?").replace("bytea", "BLOB")


@contextmanager
def _cursor(connection: sa.Connection) -> Iterator[Any]:
    """A cursor of the driver's in the connection's transaction; fails as SQLAlchemy does."""
    if not connection.in_transaction():
        connection.begin()
    driver = connection.dialect.loaded_dbapi
    # as text, bytes would be twice as many
    form = {} if connection.dialect.name == "sqlite" else {"binary": True}
    cursor = connection.connection.cursor(**form)
    try:
        yield cursor
    except driver.Error as error:
        raise sa.exc.DBAPIError.instance(None, None, error, driver.Error) from error
    finally:
        cursor.close()
