"""The queue's own tables and their version."""

from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from linarite.storage.database import Database, WrongSchema
from linarite.storage.tables import task_schema
from linarite.tasks import schema


@pytest.fixture
def database(empty_database_url: str) -> Iterator[Database]:
    database = Database(empty_database_url)
    database.migrate()
    yield database
    database.close()


def test_tables_that_were_never_made_are_refused(database: Database) -> None:
    with pytest.raises(WrongSchema, match="linarite serve"):
        schema.check_version(database)


def test_migrating_makes_them_right_and_may_be_repeated(database: Database) -> None:
    schema.migrate(database)
    schema.migrate(database)

    schema.check_version(database)


def test_tables_of_another_version_are_refused(database: Database) -> None:
    schema.migrate(database)
    with database.transaction() as tx:
        tx.execute(sa.update(task_schema).values(version="3.0.0"))

    with pytest.raises(WrongSchema, match=r"3\.0\.0"):
        schema.check_version(database)
