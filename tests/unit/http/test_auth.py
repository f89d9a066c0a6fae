import asyncio
import hashlib
from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from linarite.errors import Unauthorized
from linarite.http.auth import Keys, put_key
from linarite.storage.database import Database
from linarite.storage.tables import api_keys


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    database = Database(database_url)
    database.migrate()
    yield database
    database.close()


def put(database: Database, key: str, *, resource: str = "default", name: str = "server") -> None:
    with database.transaction() as tx:
        put_key(tx, resource=resource, name=name, key=key, now=0)


def resource_of(database: Database, key: str) -> str:
    return asyncio.run(Keys(database).resource_of(key))


def test_a_key_opens_its_resource(database: Database):
    put(database, "first")
    put(database, "other", resource="other")

    assert resource_of(database, "first") == "default"
    assert resource_of(database, "other") == "other"


def test_a_resource_may_have_two_keys(database: Database):
    put(database, "first", name="1")
    put(database, "second", name="2")

    assert resource_of(database, "first") == resource_of(database, "second")


def test_a_key_takes_the_place_of_its_name(database: Database):
    put(database, "old")
    put(database, "new")

    assert resource_of(database, "new") == "default"
    with pytest.raises(Unauthorized):
        resource_of(database, "old")


def test_a_key_moves_with_its_last_put(database: Database):
    put(database, "key")
    put(database, "key", resource="other", name="first")

    assert resource_of(database, "key") == "other"


def test_the_key_itself_is_stored_nowhere(database: Database):
    put(database, "a-long-and-secret-key")

    with database.reading() as connection:
        row = connection.execute(sa.select(api_keys)).one()
    assert "a-long-and-secret-key" not in map(str, row)
    assert row.digest == hashlib.sha256(b"a-long-and-secret-key").hexdigest()


def test_a_found_key_is_remembered_and_a_wrong_one_is_not(database: Database):
    put(database, "key")
    keys = Keys(database)

    asyncio.run(keys.resource_of("key"))
    with database.transaction() as tx:
        tx.execute(sa.delete(api_keys))

    assert asyncio.run(keys.resource_of("key")) == "default"
    with pytest.raises(Unauthorized):
        asyncio.run(keys.resource_of("wrong"))
