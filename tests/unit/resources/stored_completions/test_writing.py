"""Completions are committed in groups, and one that cannot be does not take others along."""

import asyncio
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

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


@pytest.fixture
def sqlite(tmp_path: Path) -> Iterator[Database]:
    database = Database(f"sqlite:///{tmp_path / 'linarite.sqlite3'}")
    database.migrate()
    yield database
    database.close()


def new(name: str, messages: bytes = b"[]", **metadata: str) -> NewCompletion:
    return NewCompletion(name, "model", "deployment", 5, metadata, b"{}", messages)


def run(database: Database, work) -> None:
    """Await `work` of a writer, and end it."""

    async def whole() -> None:
        writer = GroupWriter(database)
        await work(writer)
        await writer.close()

    asyncio.run(whole())


def stored_in(database: Database, *pairs: tuple[str, str]) -> tuple[list[str], int | None]:
    """The newest of what is stored with those pairs, and how many there are."""
    stored = StoredCompletions(database, SystemClock(), StoredCompletionSettings())
    page, total = stored.page("me", Page(100), Wanted(pairs))
    return [record.id for record in page.items], total


def test_all_that_is_submitted_at_once_is_committed_when_its_future_is_done(database):
    async def work(writer):
        await asyncio.gather(
            *(writer.submit("me", new(f"{n}", even=f"{n % 2}")) for n in range(300))
        )
        assert stored_in(database)[1] == 300

    run(database, work)

    ids, total = stored_in(database, ("even", "0"))
    assert ids[:2] == ["298", "296"]
    assert total == 150


def test_thousands_are_stored_in_one_transaction(database):
    stored = StoredCompletions(database, SystemClock(), StoredCompletionSettings())
    with database.transaction() as tx:
        stored.add(tx, "me", [new(f"{n}") for n in range(7_300)])

    assert stored_in(database)[1] == 7_300


def test_one_that_clashes_fails_alone(database):
    async def work(writer):
        futures = [writer.submit("me", new(name)) for name in ("a", "b", "c", "b", "d")]
        outcomes = await asyncio.gather(*futures, return_exceptions=True)
        assert [isinstance(one, NotStored) for one in outcomes] == [
            False,
            False,
            False,
            True,
            False,
        ]

    run(database, work)

    assert stored_in(database)[1] == 4


def test_one_that_clashes_with_what_another_process_stored_fails(database):
    async def work(writer):
        await GroupWriter(database).submit("me", new("a"))
        with pytest.raises(NotStored):
            await writer.submit("me", new("a"))
        await writer.submit("somebody else", new("a"))

    run(database, work)

    assert stored_in(database) == (["a"], 1)


def test_no_more_wait_than_memory_is_for(sqlite):
    long = b'["%b"]' % (b"a" * (8 << 20))

    async def work(writer):
        with sqlite.transaction():
            waiting = [writer.submit("me", new(f"{n}", long)) for n in range(34)]
            assert [one.done() for one in waiting] == [False] * 33 + [True]
            with pytest.raises(NotStored, match="too many"):
                await waiting[-1]
        await asyncio.gather(*waiting[:-1])
        await writer.submit("me", new("after"))

    run(sqlite, work)

    assert stored_in(sqlite)[1] == 34


def test_the_loop_goes_on_while_another_writes_and_then_it_is_stored(sqlite):
    async def work(writer):
        await writer.submit("me", new("before"))
        with sqlite.transaction():
            began = time.monotonic()
            waiting = writer.submit("me", new("meanwhile"))
            done, _ = await asyncio.wait([waiting], timeout=0.2)
            assert not done
            assert time.monotonic() - began < 2
        await waiting

    run(sqlite, work)

    assert stored_in(sqlite) == (["meanwhile", "before"], 2)


@pytest.mark.parametrize("leaves", [0, 1], ids=["being written", "waiting behind it"])
def test_who_gives_up_before_it_is_committed_is_not_stored(database, leaves):
    async def work(writer):
        with database.transaction() as tx:  # holds up whoever counts
            if not database.is_sqlite:
                tx.execute(sa.text("LOCK TABLE stored_completion_usage IN EXCLUSIVE MODE"))
            futures = [writer.submit("me", new(f"{number}")) for number in range(2)]
            await asyncio.sleep(0.3)
            futures[leaves].cancel()
        await futures[1 - leaves]

    run(database, work)

    assert stored_in(database) == ([f"{1 - leaves}"], 1)


def test_a_long_queue_does_not_hold_up_the_loop(sqlite):
    async def work(writer):
        with sqlite.transaction():
            futures = [writer.submit("me", new(f"{n}")) for n in range(2_000)]
        await futures[150]
        assert not futures[-1].done()
        await futures[-1]

    run(sqlite, work)

    assert stored_in(sqlite)[1] == 2_000


def test_what_nobody_foresaw_and_what_comes_too_late_fails_in_its_future(database):
    strange = NewCompletion("strange", "model", "deployment", 5, {"a": object()}, b"{}", b"[]")

    async def work(writer):
        with pytest.raises(NotStored):
            await writer.submit("me", strange)
        await writer.submit("me", new("in time"))
        await writer.close()
        late = writer.submit("me", new("late"))
        with pytest.raises(NotStored, match="stops"):
            await late

    run(database, work)

    assert stored_in(database) == (["in time"], 1)


def test_the_log_of_sqlite_stays_small_however_many_are_stored(sqlite):
    async def work(writer):
        for number in range(700):
            await writer.submit("me", new(f"{number}", number=f"{number}"))
        log = Path(f"{sqlite.url.database}-wal")
        assert log.stat().st_size < 16_000_000  # 30 MB are written

    run(sqlite, work)

    assert stored_in(sqlite)[1] == 700


def test_no_thread_is_waited_for_where_nobody_else_writes(sqlite):
    async def work(writer):
        await writer.submit("me", new("a"))
        assert not [one for one in threading.enumerate() if one.name.startswith("store")]

    run(sqlite, work)


def test_long_texts_do_not_hold_up_the_loop(sqlite):
    async def work(writer):
        turns, stored = 0, writer.submit("me", new("long", b"[" + b"0" * 10_000_000 + b"]"))
        while not stored.done():
            turns += 1
            await asyncio.sleep(0)
        await stored
        assert turns > 100

    run(sqlite, work)
