"""Batch_List: pages, filters and orders."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.behaviour.batches.conftest import BatchSystem, batch_system, line
from tests.support.running_engine import RunningEngine

from linarite.errors import InvalidPayload, NotFound
from linarite.http.pages import Page
from linarite.resources.batches.records import BatchRecord


@pytest.fixture(scope="module")
def shared(
    shared_database_url: str | None,
    engine: RunningEngine,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[BatchSystem]:
    """A system for the whole module, whose tests only read."""
    folder: Path = tmp_path_factory.mktemp("listing")
    url = shared_database_url or f"sqlite:///{folder / 'linarite.sqlite3'}"
    engine.steer(delay_ms=0, every="", limit=None)
    with batch_system(folder, url, engine) as system:
        yield system


@pytest.fixture(scope="module")
def batches(shared: BatchSystem) -> list[BatchRecord]:
    """Five batches a second apart: 0 completed, 1 failed, 2 cancelled, 3 and 4 validating."""
    made = []
    for _ in range(5):
        made.append(shared.create(line(0)))
        shared.clock.seconds += 1
    shared.run(shared.validate(made[0]))
    shared.work.give_up_validating(made[1].id, OSError())
    shared.batches.cancel("default", made[2].id)
    shared.settle(made[2])
    return [shared.now(batch) for batch in made]


def listed(system: BatchSystem, batches, page: Page | None = None, **asked) -> list[int]:
    """The places of the batches that a page shows."""
    found, _ = system.batches.page("default", page or Page(20), **asked)
    places = {batch.id: place for place, batch in enumerate(batches)}
    return [places[batch.id] for batch in found.items]


def test_the_newest_is_listed_first(shared, batches):
    assert listed(shared, batches) == [4, 3, 2, 1, 0]


def test_batches_of_another_resource_are_not_listed(shared, batches):
    found, _ = shared.batches.page("other", Page(20))

    assert found.items == []
    with pytest.raises(NotFound):
        shared.batches.get("other", batches[0].id)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("status eq 'Completed'", [0]),
        ("status in ('failed', 'cancelled')", [2, 1]),
        ("not (status eq 'validating')", [2, 1, 0]),
        ("endpoint eq '/v1/chat/completions'", [4, 3, 2, 1, 0]),
        ("completed_at ne null", [0]),
        ("created_at gt {1} and created_at le {3}", [3, 2]),
        ("id eq '{id}'", [1]),
        ("input_file_id eq 'file-x'", []),
    ],
)
def test_filters_find_what_they_say(shared, batches, text, expected):
    times = [batch.created_at for batch in batches]
    text = text.format(*times, id=batches[1].id)

    assert listed(shared, batches, filter_text=text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("created_at asc", [0, 1, 2, 3, 4]),
        ("created_at desc", [4, 3, 2, 1, 0]),
        ("completed_at desc", [0, 4, 3, 2, 1]),
        ("status, created_at desc", [2, 0, 1, 4, 3]),
        ("failed_at asc, created_at asc", [0, 2, 3, 4, 1]),
    ],
)
def test_pages_of_two_show_every_batch_once_in_any_order(shared, batches, text, expected):
    seen: list[int] = []
    after = None
    while True:
        page = Page(2, after)
        seen += listed(shared, batches, page, orderby=text)
        found, _ = shared.batches.page("default", page, orderby=text)
        if not found.has_more:
            break
        after = found.items[-1].id

    assert seen == expected


def test_pages_go_on_after_any_batch(shared, batches):
    assert listed(shared, batches, Page(2, after=batches[3].id)) == [2, 1]
    assert listed(shared, batches, Page(2, after=batches[3].id, descending=False)) == [4]


@pytest.mark.parametrize(
    "asked", [{"filter_text": "secret eq 1"}, {"orderby": "secret"}, {"filter_text": ""}]
)
def test_what_cannot_be_read_is_refused(shared, asked):
    with pytest.raises(InvalidPayload):
        shared.batches.page("default", Page(20), **asked)


def test_an_unknown_after_is_refused(shared, batches):
    with pytest.raises(InvalidPayload, match="after"):
        shared.batches.page("default", Page(20, after="batch_x"))


def test_tokens_are_told_when_one_deployment_is_in_view(system):
    system.create(line(0))
    _, tokens = system.batches.page("default", Page(20))
    assert tokens is not None
    assert tokens.limit == 1_000_000

    system.create(b"not json")
    _, tokens = system.batches.page("default", Page(20))
    assert tokens is None
