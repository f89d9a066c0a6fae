"""Which version the tables are of, on both databases."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from linarite.resources.stored_completions import repository
from linarite.resources.stored_completions.marks import blocks, outline
from linarite.resources.stored_completions.records import NewCompletion, name_mark, pair_mark
from linarite.storage import database as storage
from linarite.storage import tables
from linarite.storage.database import Database, WrongSchema


@pytest.fixture
def database(empty_database_url: str) -> Iterator[Database]:
    database = Database(empty_database_url)
    yield database
    database.close()


def set_version(database: Database, version: str) -> None:
    with database.transaction() as tx:
        tx.execute(sa.text("UPDATE alembic_version SET version_num = :v"), {"v": version})


def test_the_newest_migration_is_the_one_that_alembic_calls_head() -> None:
    folder = Path(storage.__file__).parent / "migrations"

    assert storage._newest_version() == ScriptDirectory(str(folder)).get_current_head()


def test_an_empty_database_is_refused_until_it_is_migrated(database: Database) -> None:
    with pytest.raises(WrongSchema, match="linarite serve"):
        database.check_version()

    database.migrate()
    database.migrate()

    database.check_version()


def test_a_database_of_a_newer_version_is_neither_used_nor_migrated(database: Database) -> None:
    database.migrate()
    set_version(database, "9999")

    with pytest.raises(WrongSchema, match="9999"):
        database.check_version()
    with pytest.raises(WrongSchema, match="newer"):
        database.migrate()


def test_the_migrations_make_the_tables_that_the_code_speaks_of(database: Database) -> None:
    database.migrate()

    with database.reading() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        differences = compare_metadata(context, tables.metadata)

    assert differences == []


def test_what_is_stored_keeps_its_place_when_places_come_to_be_given_once(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'linarite.sqlite3'}")
    with database.engine.begin() as connection:
        command.upgrade(storage._alembic(connection), "0006")
    row = "(id, resource, model, deployment, created, stored_bytes, metadata, completion, messages)"
    with database.transaction() as tx:
        for name in "012":
            values = f"('{name}', 'me', 'model', 'chat', 5, 4, '{{}}', x'7b7d', x'5b5d')"
            tx.execute(sa.text(f"INSERT INTO stored_completions {row} VALUES {values}"))
        tx.execute(sa.text("DELETE FROM stored_completions WHERE id = '0'"))

    database.migrate()

    with database.transaction() as tx:
        before = repository.at(tx, "me", range(9))
        repository.delete(tx, "me", "2")
        new = NewCompletion("3", "model", "chat", 5, {}, b"{}", b"[]")
        repository.add(tx, [repository.new_row("me", new)])
        after = repository.at(tx, "me", range(9))
    assert {seq: record.id for seq, (record, _) in before.items()} == {2: "1", 3: "2"}
    assert {seq: record.id for seq, (record, _) in after.items()} == {2: "1", 4: "3"}
    database.close()


def test_what_is_stored_gets_the_bitmaps_that_storing_it_would_make(database: Database) -> None:
    with database.engine.begin() as connection:
        command.upgrade(storage._alembic(connection), "0008")
    new = [
        NewCompletion(f"{n}", "model", "chat", 2_000 - n, {"of": f"{n % 20}"}, b"{}", b"[]")
        for n in range(700)
    ]
    with database.transaction() as tx:
        repository.add(tx, [repository.new_row("me", one) for one in new])
    frequent, rare = name_mark("me", "model"), pair_mark("me", "of", "7")
    made = bitmaps_of(database, frequent)
    with database.transaction() as tx:
        tx.execute(sa.text("DROP TABLE stored_completion_bitmaps"))
        tx.execute(sa.text("ALTER TABLE stored_completion_counts DROP COLUMN recent"))
    set_version(database, "0007")

    database.migrate()

    assert made
    assert bitmaps_of(database, frequent) == made
    assert bitmaps_of(database, rare) is None


def bitmaps_of(database: Database, mark: bytes) -> dict[int, tuple[bytes, bytes, int, int]] | None:
    """The bitmaps of a mark, as they are or would be stored."""
    with database.reading() as connection:
        known = outline(connection, [mark])
        if known is None:
            return None
        [found] = blocks(connection, known, known.times)
    return {number: block.packed() for number, block in found.items()}
