"""What bears several marks is found, whatever was stored, changed and deleted in which order."""

import itertools
import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from linarite.clock import SystemClock
from linarite.http.pages import Page
from linarite.resources.stored_completions import repository
from linarite.resources.stored_completions.bitmaps import BLOCK, CHANGE_BYTES, numbers
from linarite.resources.stored_completions.marks import FEW, RECENT, blocks, outline
from linarite.resources.stored_completions.records import NewCompletion, pair_mark
from linarite.resources.stored_completions.service import StoredCompletions, Wanted
from linarite.settings import StoredCompletionSettings
from linarite.storage.database import Database

BOTH = Wanted([("left", "yes"), ("right", "yes")])
LEFT, RIGHT = {"left": "yes"}, {"right": "yes"}

resources = (f"resource-{number}" for number in itertools.count())


@pytest.fixture(scope="module")
def database(shared_database_url, tmp_path_factory) -> Iterator[Database]:
    path = tmp_path_factory.mktemp("finding") / "linarite.sqlite3"
    database = Database(shared_database_url or f"sqlite:///{path}")
    database.migrate()
    yield database
    database.close()


class Kept:
    """The completions of a resource of its own, and beside them what each of them bears."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.stored = StoredCompletions(database, SystemClock(), StoredCompletionSettings())
        self.resource = next(resources)
        self.metadata: dict[str, dict[str, str]] = {}
        self.names = (f"{number}" for number in itertools.count())

    def add(self, new: list[tuple[int, dict[str, str]]]) -> None:
        """Store completions, of which the times and the metadata are given."""
        made = []
        for created, metadata in new:
            name = next(self.names)
            self.metadata[name] = metadata
            made.append(NewCompletion(name, "model", "chat", created, metadata, b"{}", b"[]"))
        with self.database.transaction() as tx:
            self.stored.add(tx, self.resource, made)

    def update(self, name: str, metadata: dict[str, str]) -> None:
        self.stored.update(self.resource, name, metadata)
        self.metadata[name] = self.metadata[name] | metadata

    def delete(self, name: str) -> None:
        self.stored.delete(self.resource, name)
        del self.metadata[name]

    def skip(self, seqs: int) -> None:
        """Have the next completions come so many places later, as if others had been stored."""
        with self.database.transaction() as tx:
            last = repository.last_seq(tx) + seqs
            if self.database.is_sqlite:
                tx.execute(sa.text(f"UPDATE sqlite_sequence SET seq = {last}"))
            else:
                tx.execute(sa.text(f"SELECT setval('stored_completions_seq_seq', {last})"))

    def pages(self, limit: int, *, descending: bool) -> list[str]:
        """The ids of the list of those that bear both marks, page by page."""
        found: list[str] = []
        has_more = True
        while has_more:
            page = Page(limit, found[-1] if found else None, descending)
            listed, _ = self.stored.page(self.resource, page, BOTH)
            assert len(listed.items) == limit or not listed.has_more
            found += [record.id for record in listed.items]
            has_more = listed.has_more
        return found

    def expected(self, *, descending: bool) -> list[str]:
        """What looking at every completion finds."""
        with self.database.reading() as connection:
            everything = repository.walk(
                connection, self.resource, [], newest=10**12, after=None, limit=10_000
            )
        found = [
            record
            for record, _ in everything
            if self.metadata[record.id].items() >= (LEFT | RIGHT).items()
        ]
        found.sort(key=lambda record: (record.created, record.seq), reverse=descending)
        return [record.id for record in found]


def seqs_of(database: Database, resource: str) -> list[int]:
    """The places of a resource's completions, the oldest first."""
    with database.reading() as connection:
        return [seq for seq, _ in repository.oldest(connection, resource, 10_000)]


def is_exact(database: Database, resource: str) -> bool:
    """Whether the bitmaps of both marks hold what their labels say."""
    for name in ("left", "right"):
        mark = pair_mark(resource, name, "yes")
        query = "SELECT completion FROM stored_completion_labels WHERE mark = :mark"
        with database.reading() as connection:
            borne = set(connection.execute(sa.text(query), {"mark": mark}).scalars())
            known = outline(connection, [mark])
            assert known is not None
            [found] = blocks(connection, known, known.times)
        bits = found.items()
        if borne != {number * BLOCK + n for number, block in bits for n in numbers(block.bits)}:
            return False
    return True


def noted(database: Database, marks: list[bytes]) -> dict[bytes, int]:
    """How long the changes of marks are that their bitmaps do not have yet."""
    query = "SELECT length(recent) FROM stored_completion_counts WHERE mark = :mark"
    with database.reading() as connection:
        return {
            mark: connection.execute(sa.text(query), {"mark": mark}).scalar_one() for mark in marks
        }


@given(data=st.data())
@settings(max_examples=15, deadline=None)
def test_pages_hold_what_looking_at_every_completion_finds(database, data):
    """Times come in disorder, marks come and go, and every kind of density is met."""
    kept = Kept(database)
    rnd = random.Random(data.draw(st.integers(0, 2**32), label="seed"))
    count = data.draw(st.integers(FEW, 3 * FEW), label="count")
    a_second = data.draw(st.sampled_from([1, 3, 10_000]), label="a second")
    disorder = data.draw(st.sampled_from([0, 3, 200, 10_000]), label="disorder")
    meeting = data.draw(st.sampled_from([0, 0.002, 0.05, 0.7]), label="meeting")
    burst = data.draw(st.sampled_from([1, 40, 400]), label="burst")
    changed = data.draw(st.sampled_from([0, 5, 60]), label="changed")
    limit = data.draw(st.sampled_from([1, 7, 100]), label="limit")
    new = []
    for n in range(count):
        meets = random.Random(f"{meeting} {n // burst}").random() < meeting
        sides = LEFT | RIGHT if meets else LEFT if n % 2 else RIGHT
        new.append((n // a_second + rnd.randint(0, disorder), sides))
    half = rnd.randrange(count)
    kept.add(new[:half])
    kept.skip(rnd.choice([0, 300, BLOCK]))
    kept.add(new[half:])
    for name in rnd.sample(sorted(kept.metadata), changed):
        rnd.choice([kept.delete, lambda name: kept.update(name, LEFT | RIGHT)])(name)

    for descending in (True, False):
        expected = kept.expected(descending=descending)
        found = kept.pages(max(limit, len(expected) // 10), descending=descending)
        assert found == expected


def test_what_bears_a_mark_no_longer_is_found_no_longer(database):
    kept = Kept(database)
    kept.add(
        [(n, LEFT | RIGHT if n % 100 == 0 else LEFT if n % 2 else RIGHT) for n in range(1_600)]
    )
    for name in ("0", "300", "301"):
        kept.update(name, {"left": "no"})
    kept.update("301", LEFT | RIGHT)
    kept.update("302", LEFT)
    kept.delete("600")

    found = kept.pages(5, descending=False)

    assert found[:6] == ["100", "200", "301", "302", "400", "500"]
    assert "600" not in found
    assert is_exact(database, kept.resource)


def test_a_mark_that_few_bear_for_a_while_has_no_bits_of_those_that_bore_it(database):
    kept = Kept(database)
    kept.add([(n, LEFT | RIGHT) for n in range(FEW + 50)])
    with database.transaction() as tx:
        repository.delete_seqs(tx, seqs_of(database, kept.resource)[:100])
    for name in list(kept.metadata)[:100]:
        del kept.metadata[name]
    for name in list(kept.metadata)[:70]:
        kept.update(name, {"left": "no"})

    kept.add([(n, LEFT | RIGHT) for n in range(200)])

    assert is_exact(database, kept.resource)
    assert kept.pages(100, descending=True) == kept.expected(descending=True)


def test_a_transaction_that_breaks_off_leaves_the_bitmaps_as_they_were(database):
    kept = Kept(database)
    kept.add([(n, LEFT if n % 2 else RIGHT) for n in range(1_600)])
    new = [
        NewCompletion(f"new {n}", "model", "chat", 5, LEFT | RIGHT, b"{}", b"[]")
        for n in range(100)
    ]

    with database.engine.connect() as tx, tx.begin() as begun:
        kept.stored.add(tx, kept.resource, new)
        begun.rollback()

    assert kept.pages(5, descending=True) == []
    assert is_exact(database, kept.resource)


def test_marks_that_the_same_completions_bear_come_to_their_bitmaps_one_after_the_other(database):
    """So that no transaction is much longer than the rest."""
    kept = Kept(database)
    kept.add([(n, LEFT | RIGHT) for n in range(FEW + 1)])
    marks = [pair_mark(kept.resource, name, "yes") for name in ("left", "right")]
    together = 0

    for n in range(3 * RECENT):
        before = noted(database, marks)
        kept.add([(n, LEFT | RIGHT)])
        after = noted(database, marks)
        together += all(after[mark] < before[mark] for mark in marks)

    assert together == 0
    assert max(after.values()) < 2 * RECENT * CHANGE_BYTES
    assert is_exact(database, kept.resource)


def test_bitmaps_are_exact_though_several_write_at_once(database):
    """While marks become frequent, and changes come to the bitmaps of those that are."""
    kept = Kept(database)

    def write(writer: int) -> None:
        rnd = random.Random(writer)
        for group in range(30):
            names = [f"{writer} {group} {n}" for n in range(15)]
            new = [
                NewCompletion(name, "model", "chat", group, rnd.choice([LEFT, RIGHT]), b"{}", b"[]")
                for name in names
            ]
            with database.transaction() as tx:
                kept.stored.add(tx, kept.resource, new)
            kept.stored.update(kept.resource, names[0], LEFT | RIGHT)
            kept.stored.delete(kept.resource, names[1])

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))

    assert is_exact(database, kept.resource)
    assert len(kept.pages(9, descending=True)) == 4 * 30
