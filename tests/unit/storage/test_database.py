"""Which databases can be used, and what is said of those that cannot."""

import pytest

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
