"""Workers that die, stop, or are only taken for dead: nothing is lost, nothing is done twice."""

import random
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.toys import Toys, toy_tasks

pytestmark = pytest.mark.crash


@pytest.fixture
def toys(database_url: str, tmp_path: Path) -> Iterator[Toys]:
    with toy_tasks(database_url, tmp_path) as running:
        yield running


def test_a_killed_workers_task_goes_on_at_once_in_its_successor(toys: Toys) -> None:
    toys.put("one")
    first = toys.start_worker("--steps", "8")
    toys.wait_for(lambda _: len(toys.steps_of("one")) >= 2)

    first.kill()
    first.wait()
    second = toys.start_worker("--steps", "8")
    toys.wait_for_end("one")

    up, begins = (
        next(e.at for e in toys.events(what) if e.pid == second.pid) for what in ("up", "begins")
    )
    assert begins - up < 10  # no worker is taken for dead before 60 seconds
    assert toys.steps_of("one") == list(range(8))


def test_a_living_worker_takes_over_from_one_killed_on_its_machine_at_once(toys: Toys) -> None:
    first = toys.start_worker("--steps", "25")
    toys.put("one")
    toys.wait_for(lambda _: len(toys.steps_of("one")) >= 1)
    toys.start_worker("--steps", "25", "--dead-after", "600")

    first.kill()
    first.wait()
    toys.wait_for_end("one")

    assert toys.steps_of("one") == list(range(25))


def test_a_stopped_worker_hands_its_tasks_back_at_once(toys: Toys) -> None:
    options = ("--steps", "25", "--seconds", "0.3")  # a second worker starts within them
    first = toys.start_worker(*options)
    toys.put("one", "two")
    toys.wait_for(lambda _: toys.steps_of("one") != [] and toys.steps_of("two") != [])
    second = toys.start_worker(*options, "--dead-after", "600")

    first.send_signal(signal.SIGTERM)
    first.wait(30)
    toys.wait_for_end("one", "two")

    down = toys.events("down")[0]
    taken = [e.at for e in toys.events("begins") if e.pid == second.pid]
    assert (down.step, len(taken)) == ("True", 2)
    assert max(taken) - down.at < 10  # nobody is taken for dead before 600 seconds
    assert toys.steps_of("one") == toys.steps_of("two") == list(range(25))


def test_what_waited_while_no_worker_ran_is_done_by_the_next(toys: Toys) -> None:
    toys.put("one", "two", "three")

    toys.start_worker("--steps", "1")

    toys.wait_for_end("one", "two", "three")


def test_a_worker_that_was_taken_for_dead_does_nothing_more(toys: Toys) -> None:
    zombie = toys.start_worker("--steps", "12", "--dead-after", "600")
    toys.put("one")
    toys.wait_for(lambda _: len(toys.steps_of("one")) >= 2)

    zombie.send_signal(signal.SIGSTOP)
    other = toys.start_worker("--steps", "12", "--dead-after", "1.5")
    toys.wait_for(lambda events: any(e.what == "begins" and e.pid == other.pid for e in events))
    zombie.send_signal(signal.SIGCONT)
    toys.wait_for_end("one")

    assert toys.steps_of("one") == list(range(12))
    late = [e for e in toys.events("did") if e.pid == zombie.pid]
    begun = next(e.at for e in toys.events("begins") if e.pid == other.pid)
    assert all(event.at <= begun for event in late)


def test_ten_kills_lose_no_task_and_repeat_no_step(toys: Toys) -> None:
    """Kills fall at random moments of six tasks of ten steps (about 0.05 s each)."""
    moments = random.Random(7)
    names = [f"task-{n}" for n in range(6)]
    options = ("--steps", "40", "--seconds", "0.05")
    toys.put(*names)

    for _ in range(10):
        worker = toys.start_worker(*options)
        goal = len(toys.events("did")) + moments.randrange(1, 12)
        toys.wait_for(lambda _, goal=goal: len(toys.events("did")) >= goal)
        worker.kill()
        worker.wait()
    toys.start_worker(*options)
    toys.wait_for_end(*names, seconds=60)

    # a kill between the commit and the note loses the note, never the step
    assert all(sorted(set(steps)) == steps for steps in map(toys.steps_of, names))
    assert sum(len(toys.steps_of(name)) for name in names) >= 6 * 40 - 10 * 4
