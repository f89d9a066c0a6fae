"""Updating and deleting stored completions, and what the sweep takes away."""

from dataclasses import replace

import openai
import pytest
from tests.support.clock import StandingClock

from linarite.resources.stored_completions import repository
from linarite.resources.stored_completions.service import StoredCompletions
from linarite.settings import StoredCompletionSettings
from linarite.tasks.tickets import TickTicket


def sweep(server, days_later: float = 0, **settings) -> None:
    """What the schedule does, some days later and under other settings."""
    stored = server.built.parts[StoredCompletions]
    now = stored.clock.now() + round(days_later * 86_400)
    kept = replace(stored, clock=StandingClock(now), settings=StoredCompletionSettings(**settings))
    kept.sweep(TickTicket())


def test_an_update_puts_metadata_beside_what_there_is(caller):
    made = caller.store(metadata={"stays": "1", "changes": "1"}).id

    updated = caller.sdk.chat.completions.update(made, metadata={"changes": "2", "new": "3"})

    assert updated.object == "chat.completion"
    assert updated.metadata == {"stays": "1", "changes": "2", "new": "3"}
    assert caller.sdk.chat.completions.retrieve(made).metadata == updated.metadata
    assert caller.ids(metadata="changes:1") == []
    assert caller.ids(metadata="changes:2") == caller.ids(metadata="new:3") == [made]
    assert [caller.page(metadata=f"changes:{n}")["total"] for n in (1, 2)] == [0, 1]


def test_nothing_but_metadata_can_be_changed(caller):
    made = caller.store(metadata={"a": "1"}).id
    body = {"metadata": {"a": "2"}, "model": "other", "choices": []}

    answer = caller.http.post(f"/openai/chat/completions/{made}", json=body)

    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error["message"] == "`model` cannot be changed; only `metadata` can."
    assert [fault["target"] for fault in error["details"]] == ["$.model", "$.choices"]
    assert caller.sdk.chat.completions.retrieve(made).metadata == {"a": "1"}


def test_an_update_cannot_lead_to_more_metadata_than_there_may_be(caller):
    made = caller.store(metadata={f"{n}": "v" for n in range(16)}).id

    caller.sdk.chat.completions.update(made, metadata={"3": "other"})
    with pytest.raises(openai.BadRequestError, match="too many properties"):
        caller.sdk.chat.completions.update(made, metadata={"16": "v"})

    assert len(caller.sdk.chat.completions.retrieve(made).metadata) == 16


@pytest.mark.parametrize("body", [{}, {"metadata": None}, {"metadata": {}}])
def test_an_update_of_nothing_changes_nothing(caller, body):
    made = caller.store(metadata={"a": "1"}).id

    answer = caller.http.post(f"/openai/chat/completions/{made}", json=body)

    assert answer.json()["metadata"] == {"a": "1"}


def test_a_deleted_completion_is_gone_with_its_messages(caller):
    made, stays = (caller.store(metadata={"run": "1"}).id for _ in range(2))

    deleted = caller.sdk.chat.completions.delete(made)

    assert (deleted.id, deleted.deleted) == (made, True)
    assert deleted.object == "chat.completion.deleted"
    for call in (caller.sdk.chat.completions.retrieve, caller.sdk.chat.completions.delete):
        with pytest.raises(openai.NotFoundError):
            call(made)
    with pytest.raises(openai.NotFoundError):
        caller.sdk.chat.completions.messages.list(made)
    assert caller.ids(metadata="run:1") == [stays]
    assert caller.page()["total"] == caller.page(metadata="run:1")["total"] == 1


def test_nothing_is_swept_unless_the_operator_says_so(caller, server):
    made = caller.store().id

    sweep(server, days_later=10_000)

    assert caller.ids() == [made]


def test_what_is_older_than_the_operator_keeps_is_swept(caller, server):
    for _ in range(3):
        caller.store(metadata={"run": "1"})

    sweep(server, days_later=1.9, retention_days=2)
    before = caller.page(metadata="run:1")["total"]
    sweep(server, days_later=2.1, retention_days=2)

    assert before == 3
    assert caller.page(metadata="run:1")["total"] == caller.page()["total"] == 0


def test_the_oldest_go_when_a_resource_has_more_bytes_than_it_keeps(caller, server):
    made = [caller.store(f"[[say {n}]]", seed=1).id for n in range(4)]  # all of one size
    with server.built.database.reading() as connection:
        usage = dict(repository.usage(connection))[caller.resource]

    sweep(server, kept_bytes=usage // 2)

    assert caller.ids(order="asc") == made[2:]
    with server.built.database.reading() as connection:
        assert dict(repository.usage(connection))[caller.resource] <= usage // 2
