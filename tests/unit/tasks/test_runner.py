"""How often a task is tried, and what becomes of it then."""

from collections.abc import Callable

import pytest
import sqlalchemy as sa

from linarite.tasks import runner
from linarite.tasks.task import HandedBack, Task, Ticket
from linarite.tasks.tickets import TaskTicket


def a_ticket() -> TaskTicket:
    return TaskTicket(lambda: True, lambda _tx: True)


class Script:
    """A task that does what it is told, attempt by attempt."""

    def __init__(self, *attempts: Callable[[Ticket], None]) -> None:
        self.left = list(attempts)
        self.given_up: list[Exception] = []
        self.task = Task("toy.run", self.perform, self.give_up, attempts=3, retry_seconds=0.001)

    def perform(self, subject_id: str, ticket: Ticket) -> None:
        self.left.pop(0)(ticket)

    def give_up(self, subject_id: str, error: Exception) -> None:
        self.given_up.append(error)


def succeed(_ticket: Ticket) -> None:
    return


def fail(_ticket: Ticket) -> None:
    raise ValueError("no")


def find_no_database(_ticket: Ticket) -> None:
    raise sa.exc.OperationalError("SELECT 1", {}, OSError("away"))


def test_a_task_that_succeeds_is_run_once() -> None:
    script = Script(succeed, fail)

    runner.run(script.task, "s", a_ticket(), starts=1)

    assert len(script.left) == 1


def test_a_task_that_fails_is_tried_again() -> None:
    script = Script(fail, succeed)

    runner.run(script.task, "s", a_ticket(), starts=1)

    assert (script.left, script.given_up) == ([], [])


def test_a_task_that_keeps_failing_is_given_up_with_its_last_error() -> None:
    script = Script(fail, fail, fail)

    runner.run(script.task, "s", a_ticket(), starts=1)

    assert [str(error) for error in script.given_up] == ["no"]


def test_a_database_that_is_away_costs_no_attempt() -> None:
    script = Script(*[find_no_database] * 7, succeed)

    runner.run(script.task, "s", a_ticket(), starts=1)

    assert (script.left, script.given_up) == ([], [])


def test_a_task_that_kills_every_worker_is_given_up_untried() -> None:
    script = Script(succeed)

    runner.run(script.task, "s", a_ticket(), starts=101)

    assert [type(error) for error in script.given_up] == [runner.WorkersDied]
    assert len(script.left) == 1


def test_a_task_that_is_handed_back_is_released_not_failed() -> None:
    ticket = a_ticket()

    def stopped(its: Ticket) -> None:
        ticket.revoke()
        its.check()

    script = Script(stopped)

    with pytest.raises(runner.Released):
        runner.run(script.task, "s", ticket, starts=1)

    assert script.given_up == []


def test_whatever_a_task_raises_once_it_must_stop_releases_it() -> None:
    ticket = a_ticket()

    def cut(_its: Ticket) -> None:
        ticket.revoke()
        raise ExceptionGroup("of a task group", [HandedBack(), OSError("cut")])

    with pytest.raises(runner.Released):
        runner.run(Script(cut).task, "s", ticket, starts=1)


def test_giving_up_is_insisted_on() -> None:
    script = Script(fail, fail, fail)
    outcomes = iter([OSError("disk full"), None])
    settled = []

    def give_up(subject_id: str, error: Exception) -> None:
        if problem := next(outcomes):
            raise problem
        settled.append(subject_id)

    stubborn = Task("toy.run", script.perform, give_up, attempts=3, retry_seconds=0.001)
    runner.run(stubborn, "s", a_ticket(), starts=1)

    assert settled == ["s"]


@pytest.mark.parametrize(("attempt", "seconds"), [(0, 1), (1, 2), (5, 32), (6, 60), (900, 60)])
def test_the_delay_doubles_up_to_a_minute(attempt: int, seconds: float) -> None:
    assert runner.delay_seconds(attempt) == seconds
