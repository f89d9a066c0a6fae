"""Completions are committed in groups, and one that cannot be does not take others along."""

from collections.abc import Iterator

import pytest

from linarite.clock import SystemClock
from linarite.http.pages import Page
from linarite.resources.stored_completions.records import NewCompletion
from linarite.resources.stored_completions.service import StoredCompletions, Wanted
from linarite.resources.stored_completions.writing import GroupWriter, NotStored
from linarite.settings import StoredCompletionSettings
from linarite.storage.database import Database


@pytest.fixture
def database(empty_database_url: str) -> Iterator[Database]:
    database = Database(empty_database_url)
    database.migrate()
    yield database
    database.close()


def new(name: str, **metadata: str) -> NewCompletion:
    return NewCompletion(name, "model", "deployment", 5, metadata, b"{}", b"[]")


def test_all_that_is_submitted_at_once_is_committed_when_its_future_is_done(database):
    writer = GroupWriter(database)

    futures = [writer.submit("me", new(f"{n}", even=f"{n % 2}")) for n in range(300)]
    for future in futures:
        future.result(20)

    stored = StoredCompletions(database, SystemClock(), StoredCompletionSettings())
    page, total = stored.page("me", Page(100), Wanted([("even", "0")]))
    assert [record.id for record in page.items][:2] == ["298", "296"]
    assert total == 150
    writer.close()


def test_one_that_clashes_fails_alone(database):
    writer = GroupWriter(database)
    names = ["a", "b", "c", "b", "d"]

    futures = [writer.submit("me", new(name)) for name in names]
    writer.close()

    failed = [name for name, one in zip(names, futures, strict=True) if one.exception()]
    assert failed == ["b"]
    assert isinstance(futures[3].exception(), NotStored)
    stored = StoredCompletions(database, SystemClock(), StoredCompletionSettings())
    assert stored.page("me", Page(10), Wanted())[1] == 4
