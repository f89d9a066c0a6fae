"""Which databases can be used, and what is said of those that cannot."""

import pytest
import sqlalchemy as sa

from linarite.storage.database import Database, DatabaseUnusable


@pytest.mark.parametrize("url", ["mysql://me:secret@db/x", "postgresql+asyncpg://me@db/x", "db"])
def test_a_database_of_another_kind_is_refused_with_the_kinds_there_are(url: str) -> None:
    with pytest.raises(DatabaseUnusable, match="postgresql://") as refused:
        Database(url)

    assert "secret" not in refused.value.message


def test_a_database_that_does_not_answer_is_named_without_its_password() -> None:
    database = Database("postgresql://me:secret@127.0.0.1:1/x")

    with pytest.raises(DatabaseUnusable, match=r"127\.0\.0\.1:1/x does not answer") as refused:
        database.check_version()

    assert "secret" not in refused.value.message


def test_all_that_is_read_together_is_of_one_moment(empty_database_url: str) -> None:
    database = Database(empty_database_url)
    with database.transaction() as tx:
        tx.execute(sa.text("CREATE TABLE kept (number INTEGER)"))

    with database.reading() as reader:
        before = reader.execute(sa.text("SELECT count(*) FROM kept")).scalar_one()
        with database.transaction() as tx:
            tx.execute(sa.text("INSERT INTO kept VALUES (1)"))
        meanwhile = reader.execute(sa.text("SELECT count(*) FROM kept")).scalar_one()
    with database.reading() as reader:
        after = reader.execute(sa.text("SELECT count(*) FROM kept")).scalar_one()

    assert (before, meanwhile, after) == (0, 0, 1)
    database.close()
