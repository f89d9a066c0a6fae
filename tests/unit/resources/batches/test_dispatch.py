"""Dispatch against an engine and a journal that are a few lines of this file."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
import pytest
import sqlalchemy as sa
from structlog.testing import capture_logs

from linarite.errors import InferenceRefused
from linarite.resources.batches.answers import Answer
from linarite.resources.batches.dispatch import (
    Dispatch,
    Ended,
    EngineLost,
    Reply,
    Terms,
)
from linarite.resources.batches.order import Ask, Window
from linarite.resources.batches.pace import Pace
from linarite.resources.batches.records import Fenced
from linarite.tasks.task import HandedBack

OK = Reply(200, {}, b'{"ok":true}', 200)


def said(status: int, body: bytes = b"{}", headers: dict[str, str] | None = None) -> Reply:
    return Reply(status, headers or {}, body, status)


@dataclass
class Engine:
    """Answers as `script` says: called with the request's number and how often it was asked."""

    script: Callable[[int, int], Awaitable[Reply] | Reply] = lambda number, times: OK
    asked: dict[int, int] = field(default_factory=dict)
    in_flight: int = 0
    most_in_flight: int = 0

    async def ask(self, body: dict[str, Any]) -> Reply:
        number = body["number"]
        self.asked[number] = self.asked.get(number, 0) + 1
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            reply = self.script(number, self.asked[number])
            return reply if isinstance(reply, Reply) else await reply
        finally:
            self.in_flight -= 1

    async def slots(self) -> int | None:
        return None


@dataclass
class Journal:
    """Keeps answers in a list."""

    kept: list[Answer] = field(default_factory=list)
    goes_on: bool = True
    failures: list[Exception] = field(default_factory=list)

    def write(self, group: Sequence[Answer]) -> bool:
        if self.failures:
            raise self.failures.pop()
        self.kept += group
        return self.goes_on

    def line(self, number: int) -> dict[str, Any]:
        [found] = [answer for answer in self.kept if answer.number == number]
        return orjson.loads(found.line)


def run(
    engine: Engine,
    journal: Journal,
    requests: int = 10,
    *,
    pace: Pace | None = None,
    attempts: int = 3,
    most_out: int = 256,
    is_expired: Callable[[], bool] = lambda: False,
    check: Callable[[], None] = lambda: None,
    cancel_seconds: float = 10,
) -> Ended:
    source = (Ask(n, f"task-{n}", {"number": n}, 100, None) for n in range(requests))
    terms = Terms(
        attempts,
        most_out,
        is_expired,
        check,
        cancel_seconds,
        rest_seconds=lambda attempts, chance: 0.01,
    )
    work = Dispatch(Window(source), engine, journal, pace or Pace(most=64), terms)
    return asyncio.run(work.run())


def test_every_request_is_asked_once_and_kept_once():
    engine, journal = Engine(), Journal()

    ended = run(engine, journal, requests=500)

    assert ended is Ended.ANSWERED
    assert sorted(answer.number for answer in journal.kept) == list(range(500))
    assert set(engine.asked.values()) == {1}


def test_no_more_are_out_than_the_pace_says():
    async def slow() -> Reply:
        await asyncio.sleep(0.002)
        return OK

    engine, journal = Engine(lambda number, times: slow()), Journal()

    run(engine, journal, requests=100, pace=Pace(most=7, known=True))

    assert engine.most_in_flight == 7
    assert len(journal.kept) == 100


@pytest.mark.parametrize("most_out", [1, 7, 100])
def test_no_more_are_asked_and_not_kept_than_a_kill_may_cost(most_out):
    journal = Journal()
    out: list[int] = []

    async def answer(number: int) -> Reply:
        out.append(sum(engine.asked.values()) - len(journal.kept))
        await asyncio.sleep(0.001)
        return OK

    engine = Engine(lambda number, times: answer(number))

    run(engine, journal, requests=300, most_out=most_out)

    assert len(journal.kept) == 300
    assert max(out) <= most_out


def test_a_refusal_is_kept_as_a_failure_and_not_asked_again():
    body = b'{"error":{"message":"bad"}}'
    engine, journal = Engine(lambda number, times: said(400, body)), Journal()

    run(engine, journal, requests=1)

    assert journal.kept[0].failed
    assert journal.line(0)["response"]["body"] == {"error": {"message": "bad"}}
    assert engine.asked == {0: 1}


def test_a_request_that_is_not_valid_never_reaches_the_engine():
    async def refuse() -> Reply:
        raise InferenceRefused("`stream` cannot be true in a batch.", param="stream")

    journal = Journal()

    run(Engine(lambda number, times: refuse()), journal, requests=1)

    response = journal.line(0)["response"]
    assert response["status_code"] == 400
    assert response["body"]["error"]["param"] == "stream"


def test_a_server_that_refuses_this_one_is_not_asked_again():
    told = Reply(503, {}, b'{"error":{"message":"see to it"}}', engine_status=401)
    engine, journal = Engine(lambda number, times: told), Journal()

    run(engine, journal, requests=1)

    assert engine.asked == {0: 1}
    assert journal.line(0)["response"]["status_code"] == 503


@pytest.mark.parametrize("status", [408, 409, 500])
def test_a_failure_that_may_pass_is_asked_again(status):
    engine = Engine(lambda number, times: OK if times == 3 else said(status))
    journal = Journal()

    run(engine, journal, requests=1)

    assert engine.asked == {0: 3}
    assert not journal.kept[0].failed


def test_the_last_failure_is_the_answer_when_all_attempts_fail():
    engine, journal = Engine(lambda number, times: said(500, b"<oops>")), Journal()

    run(engine, journal, requests=1, attempts=3)

    assert engine.asked == {0: 3}
    assert journal.line(0)["response"]["status_code"] == 500
    assert "<oops>" in journal.line(0)["response"]["body"]["error"]["message"]


def test_an_answer_that_is_none_is_asked_again_and_then_a_failure():
    no_json = Reply(502, {}, b'{"error":{}}', engine_status=200)
    engine, journal = Engine(lambda number, times: no_json), Journal()

    run(engine, journal, requests=1, attempts=2)

    assert engine.asked == {0: 2}
    assert journal.line(0)["response"]["status_code"] == 502


def test_a_full_engine_that_answers_others_uses_up_the_attempts_of_one_request():
    engine = Engine(lambda number, times: said(503) if number == 0 else OK)
    journal = Journal()

    run(engine, journal, requests=20, attempts=3)

    assert engine.asked[0] == 4  # the first failure came before anything was answered since
    assert journal.line(0)["response"]["status_code"] == 503
    assert sum(answer.failed for answer in journal.kept) == 1


def test_an_engine_that_is_away_for_a_while_costs_no_request_its_answer():
    def script(number: int, times: int) -> Awaitable[Reply] | Reply:
        return lose(was_reached=False) if sum(engine.asked.values()) < 6 else OK

    async def lose(*, was_reached: bool) -> Reply:
        raise EngineLost("nobody there", was_reached=was_reached)

    engine, journal = Engine(script), Journal()

    run(engine, journal, requests=3, attempts=1)

    assert [answer.failed for answer in journal.kept] == [False, False, False]


def test_a_request_that_breaks_the_engine_each_time_ends_as_a_failure():
    async def die() -> Reply:
        await asyncio.sleep(0.01)
        raise EngineLost("connection reset", was_reached=True)

    engine = Engine(lambda number, times: die() if number == 1 else OK)
    journal = Journal()

    run(engine, journal, requests=5, attempts=2)

    assert {answer.number for answer in journal.kept if answer.failed} == {1}
    assert journal.line(1)["response"]["body"]["error"]["code"] == "engine_unreachable"


def test_a_cancelled_batch_keeps_what_comes_in_and_asks_nothing_more():
    journal = Journal(goes_on=False)

    async def slow() -> Reply:
        await asyncio.sleep(0.7)
        return OK

    engine = Engine(lambda number, times: slow())

    ended = run(engine, journal, requests=50, pace=Pace(most=4, known=True))

    assert ended is Ended.CANCELLED
    assert len(journal.kept) == len(engine.asked) == 4


def test_a_cancelled_batch_does_not_wait_longer_than_it_was_told_for_what_is_out():
    async def hang() -> Reply:
        await asyncio.sleep(60)
        return OK

    engine = Engine(lambda number, times: hang() if number else OK)
    journal = Journal(goes_on=False)

    ended = run(engine, journal, requests=4, cancel_seconds=0.1)

    assert ended is Ended.CANCELLED
    assert [answer.number for answer in journal.kept] == [0]


def test_an_expired_batch_asks_nothing_more():
    engine, journal = Engine(), Journal()

    ended = run(engine, journal, is_expired=lambda: True)

    assert ended is Ended.EXPIRED
    assert engine.asked == {}


def test_a_worker_that_must_stop_keeps_what_was_answered():
    engine, journal = Engine(), Journal()

    def check() -> None:
        if engine.asked:
            raise HandedBack

    ended = run(engine, journal, requests=10, check=check)

    assert ended is Ended.HANDED_BACK
    assert len(journal.kept) == 10


def test_a_worker_that_lost_the_batch_stops_at_once():
    journal = Journal(failures=[Fenced()])

    ended = run(Engine(), journal, requests=2)

    assert ended is Ended.FENCED
    assert journal.kept == []


@pytest.mark.parametrize(
    "away",
    [
        sa.exc.OperationalError("INSERT", {}, Exception("connection refused")),
        sa.exc.TimeoutError("QueuePool limit reached"),
    ],
)
def test_answers_wait_for_a_database_that_is_away(away):
    journal = Journal(failures=[away, away])

    run(Engine(), journal, requests=5)

    assert len(journal.kept) == 5


def test_a_fault_of_the_program_costs_one_request_its_answer_and_is_told():
    def answer(number: int, times: int) -> Reply:
        if number == 3:
            raise ZeroDivisionError
        return OK

    engine, journal = Engine(answer), Journal()

    with capture_logs() as told:
        assert run(engine, journal, requests=10) is Ended.ANSWERED

    assert [answer.number for answer in journal.kept if answer.failed] == [3]
    assert len(journal.kept) == 10
    response = journal.line(3)["response"]
    assert response["status_code"] == 500
    assert response["body"]["error"]["code"] == "internalFailure"
    assert engine.asked[3] == 3
    [entry] = [entry for entry in told if entry["log_level"] == "error"]
    assert isinstance(entry["exc_info"], ZeroDivisionError)


def test_an_input_that_cannot_be_read_for_a_fault_of_the_program_ends_the_asking():
    def source() -> Iterator[Ask]:
        yield Ask(0, "task-0", {"number": 0}, 100, None)
        raise RecursionError

    terms = Terms(3, 256, lambda: False, lambda: None, 10)
    work = Dispatch(Window(source()), Engine(), Journal(), Pace(most=64), terms)

    with pytest.raises(RecursionError):
        asyncio.run(asyncio.wait_for(work.run(), 5))


@pytest.mark.parametrize("requests", [5, 500])
def test_answers_that_cannot_be_kept_for_a_fault_of_the_program_are_not_taken_for_kept(requests):
    journal = Journal(failures=[OverflowError()])

    with pytest.raises(OverflowError):
        run(Engine(), journal, requests=requests, most_out=10)

    assert journal.kept == []
