"""The one database: SQLite in a folder or PostgreSQL, the same SQL for both.

Knows connections and transactions, and nothing of what the tables mean.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.engine.interfaces import DBAPIConnection

from linarite.errors import ServiceUnavailable

if TYPE_CHECKING:
    from alembic.config import Config

Transaction = sa.Connection
"""A connection inside a transaction that its opener commits."""

_MIGRATIONS = Path(__file__).parent / "migrations"
_SQLITE_PRAGMAS = (
    "journal_mode=WAL",
    "synchronous=NORMAL",
    "busy_timeout=30000",
    "foreign_keys=ON",
    "temp_store=MEMORY",
)


class WrongSchema(ServiceUnavailable):
    """The database was written by another version of Linarite."""


class DatabaseUnusable(ServiceUnavailable):
    """The database does not answer, or is none that Linarite can keep its data in."""


class Database:
    """Connections to the database behind `url`.

    Args:
        url: an SQLAlchemy URL, ``sqlite:///…`` or ``postgresql+psycopg://…``.

    Raises:
        DatabaseUnusable: it is neither.
    """

    def __init__(self, url: str) -> None:
        self.url = _understood(url)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        options: dict[str, Any] = {"pool_size": 20, "max_overflow": 40}
        if self.is_sqlite:  # so that few connections fill the cache of pages that each has
            options["pool_use_lifo"] = True
        else:
            options["pool_pre_ping"] = True
        self.engine = sa.create_engine(self.url, **options)
        if self.is_sqlite:
            sa.event.listen(self.engine, "connect", _set_up_sqlite)
            sa.event.listen(self.engine, "begin", _begin_sqlite)
        # on PostgreSQL, where each statement would see another moment
        moment = {} if self.is_sqlite else {"isolation_level": "REPEATABLE READ"}
        self._reader = self.engine.execution_options(linarite_reading=True, **moment)

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """A transaction that may write: committed at the end, rolled back on an exception.

        On SQLite it takes the write lock at once, so that it never fails half-way for a lock;
        no I/O but the database's may happen inside.
        """
        with self.engine.begin() as tx:
            yield tx

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """A consistent view to read from; takes no lock that a writer would wait for."""
        with self._reader.connect() as connection:
            yield connection

    def unwaiting(self) -> sa.Connection:
        """A connection to SQLite of the caller's own, on which nothing waits; close it at the end.

        A transaction fails at once where another one writes, and leaves it to `checkpoint` to
        bring what it committed from the log into the database's file.
        """
        connection = self.engine.connect()
        connection.detach()
        for pragma in ("busy_timeout=0", "wal_autocheckpoint=0"):
            _driver_of(connection).execute(f"PRAGMA {pragma}")
        return connection

    def checkpoint(self) -> None:
        """Empty SQLite's log, as far as nobody reads what it holds; waits for the disk."""
        with self.engine.connect() as connection:
            _driver_of(connection).execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()

    def migrate(self) -> None:
        """Bring the tables to this version of Linarite; costs one query when they are.

        Raises:
            WrongSchema: they are of a newer version, which this one would not understand.
            DatabaseUnusable: the database does not answer.
        """
        found, wanted = self._version(), _newest_version()
        if found == wanted:
            return
        if found is not None and found > wanted:
            raise WrongSchema(
                f"The database is at version {found}, newer than this program's {wanted}: "
                "it was used by a newer Linarite, install that."
            )
        from alembic import command  # late: takes half a second, and few starts migrate

        with self.engine.begin() as connection:
            if not self.is_sqlite:  # two servers that start at once migrate one after the other
                connection.execute(sa.text("SELECT pg_advisory_xact_lock(718_281_828)"))
            command.upgrade(_alembic(connection), "head")

    def check_version(self) -> None:
        """Raise WrongSchema unless the tables are of this version, DatabaseUnusable if unknown."""
        found, wanted = self._version(), _newest_version()
        if found != wanted:
            raise WrongSchema(
                f"The database is at version {found}, this program wants {wanted}: "
                "start `linarite serve` of this version once, which migrates it."
            )

    def _version(self) -> str | None:
        """The migration that the tables are at; None when there are none."""
        try:
            with self.reading() as connection:
                if not sa.inspect(connection).has_table("alembic_version"):
                    return None
                query = sa.text("SELECT version_num FROM alembic_version")
                return connection.execute(query).scalar_one_or_none()
        except sa.exc.OperationalError as error:
            raise DatabaseUnusable(
                f"The database {self.url!r} does not answer: {error.orig}"
            ) from error

    def close(self) -> None:
        """Close every connection."""
        self.engine.dispose()


def _understood(url: str) -> sa.URL:
    try:
        read = sa.make_url(url.replace("postgresql://", "postgresql+psycopg://", 1))
    except sa.exc.ArgumentError:
        raise DatabaseUnusable(
            "The database's URL cannot be read; write sqlite:///FILE or "
            "postgresql://USER:PASSWORD@HOST/NAME."
        ) from None
    if read.drivername not in {"sqlite", "postgresql+psycopg"}:
        raise DatabaseUnusable(
            f"Linarite keeps its data in SQLite or PostgreSQL, not in {read.drivername!r}: write "
            "sqlite:///FILE or postgresql://USER:PASSWORD@HOST/NAME."
        )
    return read


def _newest_version() -> str:
    """The newest migration: their files are numbered in order."""
    return max(file.name.partition("_")[0] for file in _MIGRATIONS.glob("versions/[0-9]*.py"))


def _alembic(connection: sa.Connection) -> "Config":
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    config.attributes["connection"] = connection
    return config


def _driver_of(connection: sa.Connection) -> sqlite3.Connection:
    """What is below SQLAlchemy, which would begin a transaction for every statement."""
    below = connection.connection.dbapi_connection
    assert isinstance(below, sqlite3.Connection)
    return below


def _set_up_sqlite(connection: DBAPIConnection, _record: object) -> None:
    connection.isolation_level = None
    for pragma in _SQLITE_PRAGMAS:
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: sa.Connection) -> None:
    reading = connection.get_execution_options().get("linarite_reading", False)
    connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")
