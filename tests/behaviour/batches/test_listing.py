"""Batch_List: pages, filters and orders."""

import pytest
from tests.behaviour.batches.conftest import BatchSystem, line

from linarite.errors import InvalidPayload, NotFound
from linarite.http.pages import Page


@pytest.fixture
def batches(system):
    """Five batches a second apart: 0 completed, 1 failed, 2 cancelled, 3 and 4 validating."""
    made = []
    for _ in range(5):
        made.append(system.create(line(0)))
        system.clock.seconds += 1
    system.run(system.validate(made[0]))
    system.work.give_up_validating(made[1].id, OSError())
    system.batches.cancel("default", made[2].id)
    system.settle(made[2])
    return [system.now(batch) for batch in made]


def listed(system: BatchSystem, batches, page: Page | None = None, **asked) -> list[int]:
    """The places of the batches that a page shows."""
    found, _ = system.batches.page("default", page or Page(20), **asked)
    places = {batch.id: place for place, batch in enumerate(batches)}
    return [places[batch.id] for batch in found.items]


def test_the_newest_is_listed_first(system, batches):
    assert listed(system, batches) == [4, 3, 2, 1, 0]


def test_batches_of_another_resource_are_not_listed(system, batches):
    found, _ = system.batches.page("other", Page(20))

    assert found.items == []
    with pytest.raises(NotFound):
        system.batches.get("other", batches[0].id)


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
def test_filters_find_what_they_say(system, batches, text, expected):
    times = [batch.created_at for batch in batches]
    text = text.format(*times, id=batches[1].id)

    assert listed(system, batches, filter_text=text) == expected


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
def test_pages_of_two_show_every_batch_once_in_any_order(system, batches, text, expected):
    seen: list[int] = []
    after = None
    while True:
        page = Page(2, after)
        seen += listed(system, batches, page, orderby=text)
        found, _ = system.batches.page("default", page, orderby=text)
        if not found.has_more:
            break
        after = found.items[-1].id

    assert seen == expected


def test_pages_go_on_after_any_batch(system, batches):
    assert listed(system, batches, Page(2, after=batches[3].id)) == [2, 1]
    assert listed(system, batches, Page(2, after=batches[3].id, descending=False)) == [4]


@pytest.mark.parametrize(
    "asked", [{"filter_text": "secret eq 1"}, {"orderby": "secret"}, {"filter_text": ""}]
)
def test_what_cannot_be_read_is_refused(system, asked):
    with pytest.raises(InvalidPayload):
        system.batches.page("default", Page(20), **asked)


def test_an_unknown_after_is_refused(system, batches):
    with pytest.raises(InvalidPayload, match="after"):
        system.batches.page("default", Page(20, after="batch_x"))


def test_tokens_are_told_when_one_deployment_is_in_view(system, batches):
    _, tokens = system.batches.page("default", Page(20))
    assert tokens is not None
    assert tokens.limit == 1_000_000

    system.create(b"not json")
    _, tokens = system.batches.page("default", Page(20))
    assert tokens is None
