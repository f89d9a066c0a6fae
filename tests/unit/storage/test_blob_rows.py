import pytest

from linarite.storage import blob_rows
from linarite.storage.database import Database
from linarite.storage.objects import Extent


@pytest.fixture
def database(tmp_path):
    database = Database(f"sqlite:///{tmp_path / 'rows.sqlite3'}")
    database.migrate()
    yield database
    database.close()


def keep(database, *extents, user="file:1"):
    with database.transaction() as tx:
        return blob_rows.keep(tx, extents, user=user, now=1)


def test_a_blob_is_its_extents_in_order(database):
    blob = keep(database, Extent("b", 2), Extent("a", 1), Extent("c", 0))

    with database.reading() as connection:
        assert blob_rows.get(connection, blob.id) == blob
    assert blob.bytes == 3
    assert [extent.key for extent in blob.extents] == ["b", "a", "c"]


def test_a_blob_of_nothing_has_no_extents(database):
    blob = keep(database)

    with database.reading() as connection:
        assert blob_rows.get(connection, blob.id).extents == ()


def test_a_blob_lives_as_long_as_its_last_user(database):
    blob = keep(database, Extent("a", 1), user="file:1")
    with database.transaction() as tx:
        blob_rows.use(tx, blob.id, "batch:1")
        blob_rows.release(tx, blob.id, "file:1")

    with database.transaction() as tx:
        assert blob_rows.unused(tx) == []
        assert blob_rows.forget(tx, blob.id) == []
        blob_rows.release(tx, blob.id, "batch:1")
        assert blob_rows.unused(tx) == [blob.id]
        assert blob_rows.forget(tx, blob.id) == ["a"]
        assert blob_rows.unused(tx) == []


def test_only_one_of_two_forgets_a_blob(database):
    blob = keep(database, Extent("a", 1))
    with database.transaction() as tx:
        blob_rows.release(tx, blob.id, "file:1")

    with database.transaction() as tx:
        assert [blob_rows.forget(tx, blob.id) for _ in range(2)] == [["a"], []]


def test_a_use_that_has_ended_may_end_again(database):
    blob = keep(database, Extent("a", 1))

    with database.transaction() as tx:
        blob_rows.release(tx, blob.id, "file:1")
        blob_rows.release(tx, blob.id, "file:1")


def test_of_many_keys_those_are_told_that_a_row_names(database):
    keep(database, Extent("a", 1), Extent("b", 1))

    with database.reading() as connection:
        assert blob_rows.named(connection, ["a", "b", "c"]) == {"a", "b"}
