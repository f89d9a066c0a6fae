"""Lists by several conditions find what looking at every completion would find."""

import random
from collections.abc import Iterator
from dataclasses import replace

import pytest

from linarite.clock import SystemClock
from linarite.http.pages import Page
from linarite.resources.stored_completions.records import NewCompletion
from linarite.resources.stored_completions.service import StoredCompletions, Wanted
from linarite.settings import StoredCompletionSettings
from linarite.storage.database import Database

COUNT = 700


def metadata_of(number: int) -> dict[str, str]:
    """Marks that come in stretches, side by side, seldom and at random."""
    marks = {
        "early": number < 300,
        "late": number >= 400,
        "even": number % 2 == 0,
        "odd": number % 2 == 1,
        "seldom": number % 97 == 5,
        "random": random.Random(number).random() < 0.3,
        "all": True,
    }
    return {name: "yes" for name, is_there in marks.items() if is_there}


@pytest.fixture(scope="module")
def stored(shared_database_url, tmp_path_factory) -> Iterator[StoredCompletions]:
    database = Database(
        shared_database_url
        or f"sqlite:///{tmp_path_factory.mktemp('listing') / 'linarite.sqlite3'}"
    )
    database.migrate()
    stored = StoredCompletions(database, SystemClock(), StoredCompletionSettings())
    # several a second, and not in the order of their times
    new = [
        NewCompletion(f"{n}", "model", "chat", n // 3, metadata_of(n), b"{}", b"[]")
        for n in range(COUNT)
    ]
    random.Random(1).shuffle(new)
    with database.transaction() as tx:
        stored.add(tx, "me", new)
        stored.add(tx, "somebody else", new)
    yield stored
    database.close()


@pytest.mark.parametrize(
    "names",
    [
        "early",
        "early late",
        "even odd",
        "seldom all",
        "random odd",
        "early even seldom",
        "nobody all",
    ],
)
@pytest.mark.parametrize("descending", [True, False], ids=["newest first", "oldest first"])
def test_pages_come_to_all_that_bear_every_mark(stored, names, descending):
    wanted = Wanted([(name, "yes") for name in names.split()], "chat")
    bearing = {f"{n}" for n in range(COUNT) if set(names.split()) <= set(metadata_of(n))}

    found, after, has_more = [], None, True
    while has_more:
        page, total = stored.page("me", Page(50, after, descending), wanted)
        found += page.items
        after, has_more = found[-1].id if found else None, page.has_more

    assert {record.id for record in found} == bearing
    places = [(record.created, record.seq) for record in found]
    assert places == sorted(places, reverse=descending)
    assert len(places) == len(bearing) == total


def test_an_alias_lists_what_it_stands_for(stored):
    knowing = replace(stored, meant=lambda _, name: {"gpt-4o": "model"}[name])

    page, total = knowing.page("me", Page(10), Wanted(name="gpt-4o"))

    assert (len(page.items), total) == (10, COUNT)
    assert knowing.page("me", Page(10), Wanted())[1] == COUNT
