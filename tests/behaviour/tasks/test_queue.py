"""What a resource may rely on when it puts a task down, on both databases."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from tests.support.toy_worker import TASK
from tests.support.toy_worker import toys as toy_rows
from tests.support.toys import Toys, toy_tasks


@pytest.fixture
def toys(database_url: str, tmp_path: Path) -> Iterator[Toys]:
    with toy_tasks(database_url, tmp_path) as running:
        yield running


def test_a_task_whose_transaction_rolled_back_is_never_run(toys: Toys) -> None:
    with toys.database.engine.connect() as connection, connection.begin() as transaction:
        toys.queue.enqueue(connection, TASK, "never", resource="default")
        transaction.rollback()
    toys.put("after")

    toys.start_worker("--steps", "1")
    toys.wait_for_end("after")

    assert [event.subject for event in toys.events("begins")] == ["after"]


def test_a_task_put_down_twice_is_run_once(toys: Toys) -> None:
    toys.put("one")
    with toys.database.transaction() as tx:
        toys.queue.enqueue(tx, TASK, "one", resource="default")

    toys.start_worker("--steps", "1")
    toys.put("two")
    toys.wait_for_end("one", "two")

    assert sorted(event.subject for event in toys.events("begins")) == ["one", "two"]


def test_putting_down_what_waits_already_spares_the_rest_of_the_transaction(toys: Toys) -> None:
    toys.put("one")

    with toys.database.transaction() as tx:
        toys.queue.enqueue(tx, TASK, "one", resource="default")
        tx.execute(sa.insert(toy_rows).values(id="kept", done=3))

    with toys.database.reading() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(toy_rows)).scalar() == 2


def test_a_task_that_ended_can_be_put_down_again(toys: Toys) -> None:
    toys.start_worker("--steps", "1")
    toys.put("one")
    toys.wait_for_end("one")

    def put_again(_events: object) -> bool:
        with toys.database.transaction() as tx:
            toys.queue.enqueue(tx, TASK, "one", resource="default")
        return len(toys.events("ends")) >= 2

    toys.wait_for(put_again)


def test_a_resource_with_many_tasks_does_not_hold_up_anothers_first(toys: Toys) -> None:
    toys.put(*[f"many-{n}" for n in range(12)], resource="greedy")
    toys.put("few-0", "few-1", resource="modest")

    toys.start_worker("--steps", "3", "--seconds", "0.1", "--concurrency", "4")
    toys.wait_for_end("few-0", "few-1")

    begun = [event.subject for event in toys.events("begins")]
    assert max(begun.index("few-0"), begun.index("few-1")) < 8


def test_two_workers_share_the_tasks(toys: Toys) -> None:
    workers = [toys.start_worker("--steps", "2", "--concurrency", "2") for _ in range(2)]
    names = [f"task-{n}" for n in range(8)]
    toys.put(*names)

    toys.wait_for_end(*names)

    assert {event.pid for event in toys.events("begins")} == {worker.pid for worker in workers}
    assert len(toys.events("begins")) == len(names)


def test_a_failing_task_is_tried_again_and_then_given_up(toys: Toys) -> None:
    toys.put("failing")

    toys.start_worker()
    toys.wait_for(lambda events: any(event.what == "given-up" for event in events))

    assert [event.step for event in toys.events("fails")] == ["0", "1", "2"]
    assert [event.step for event in toys.events("given-up")] == ["ValueError"]


def test_a_tick_of_a_schedule_is_run_by_one_of_many_workers(toys: Toys) -> None:
    for _ in range(3):
        toys.start_worker("--tick", "1.0")

    ticks = [
        event.at
        for event in toys.wait_for(lambda events: sum(e.what == "ticks" for e in events) >= 5)
        if event.what == "ticks"
    ]

    gaps = [later - earlier for earlier, later in itertools.pairwise(ticks)]
    assert min(gaps) > 0.9
