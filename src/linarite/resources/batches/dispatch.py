"""Asking the requests of one batch: as many at once as the engine keeps up with, each answer kept.

One event loop per running batch, in its task's thread. A few *askers* take requests one after
the other, so that a request costs neither a task nor a query; what they bring goes to a `Keeper`.
Knows no HTTP and no SQL: both are behind `Engine` and `Journal`.
"""

import asyncio
import heapq
import itertools
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, Protocol

import structlog

from linarite.errors import InferenceRefused, LinariteError
from linarite.resources.batches import answers
from linarite.resources.batches.answers import Answer
from linarite.resources.batches.keeping import Journal, Keeper
from linarite.resources.batches.order import Ask, Window
from linarite.resources.batches.pace import Pace
from linarite.resources.batches.retry import (
    Verdict,
    asked_wait_seconds,
    backoff_seconds,
    counts,
    verdict,
)
from linarite.resources.stored_completions.records import NewCompletion
from linarite.tasks.task import HandedBack
from linarite.wire.inference import error_body

_TICK_SECONDS = 0.05
_MOST_RESTING = 4_096
_BOUND_SECONDS = 2.0
_HAND_BACK_GRACE_SECONDS = 3.0
_UNCOUNTED_SECONDS = 0.1
_TELL_SECONDS = 30.0

_log = structlog.get_logger("linarite.batches")


@dataclass(frozen=True, slots=True)
class Reply:
    """What an engine answered.

    Args:
        status: as callers are told it.
        headers: as the engine sent them.
        body: as callers get it; a JSON object where `status` is 200.
        engine_status: as the engine said it, for what may be wrong between it and this server.
        stored: what is to be stored of it, where the request asked for that.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    engine_status: int
    stored: NewCompletion | None = None


class EngineLost(Exception):
    """The engine gave no answer.

    Args:
        was_reached: whether it had taken the request, rather than not be there.
    """

    def __init__(self, message: str, *, was_reached: bool) -> None:
        super().__init__(message)
        self.was_reached = was_reached


class Engine(Protocol):
    """Who answers a batch's requests."""

    async def ask(self, body: dict[str, Any]) -> Reply:
        """Answer one request.

        Raises:
            LinariteError: the request is refused before it reaches the engine.
            EngineLost: there was no answer.
        """

    async def slots(self) -> int | None:
        """How many requests of this batch it can take at once, or None when it does not tell.

        Raises:
            EngineLost: it is not there.
        """


class Ended(Enum):
    """Why asking ended."""

    ANSWERED = auto()
    """Every request has its answer."""
    CANCELLED = auto()
    EXPIRED = auto()
    FENCED = auto()
    HANDED_BACK = auto()


@dataclass(frozen=True)
class Terms:
    """What bounds the asking.

    Args:
        attempts: how often a request may fail before its last failure is its answer.
        most_out: how many requests may be asked and not yet kept: what a kill can cost.
        is_expired: whether the batch's time is over.
        check: raises HandedBack when this worker must stop.
        cancel_seconds: how long what is out may come in once the batch is cancelled or expired.
        rest_seconds: how long a request rests after so many failures, given a random number.
    """

    attempts: int
    most_out: int
    is_expired: Callable[[], bool]
    check: Callable[[], None]
    cancel_seconds: float
    rest_seconds: Callable[[int, float], float] = backoff_seconds


class Dispatch:
    """Asks every request of a window and keeps every answer.

    Args:
        window: the requests that have no answer yet.
        engine: who answers.
        journal: who keeps.
        pace: how many at once.
        terms: when to stop.
    """

    def __init__(
        self, window: Window, engine: Engine, journal: Journal, pace: Pace, terms: Terms
    ) -> None:
        self._window = window
        self._engine = engine
        self._changed = asyncio.Event()
        self._keeper = Keeper(journal, self._changed.set)
        self._pace = pace
        self._terms = terms
        self._resting: list[tuple[float, int, Ask]] = []
        self._order = itertools.count()
        self._asked = 0
        self._askers: set[asyncio.Task[None]] = set()
        self._reading: asyncio.Task[None] | None = None
        self._bounding: asyncio.Task[None] | None = None
        self._ended: Ended | None = None
        self._stopping = False
        self._failure: BaseException | None = None
        self._began = time.monotonic()
        self._bounded = float("-inf")
        self._told_lost = self._told_fault = float("-inf")

    async def run(self) -> Ended:
        """Ask until every request is answered or something ends it; every answer is kept."""
        try:
            while self._ended is None:
                self._tick()
                await self._pause()
            await self._wind_down()
        finally:
            others = (self._reading, self._bounding)
            await self._drop(*self._askers, *filter(None, others))
            await self._keeper.drop()
        return Ended.FENCED if self._keeper.is_fenced else self._ended

    def _tick(self) -> None:
        now = time.monotonic()
        if failure := self._failure or self._keeper.failure:
            raise failure
        self._ended = self._ended or self._why_end()
        if self._ended is not None:
            return
        if now - self._bounded > _BOUND_SECONDS and self._bounding is None:
            self._bounding = asyncio.create_task(self._bound())
        self._write_if_due(now)
        self._read_on()
        self._send_askers()
        if self._is_all_answered:
            self._ended = Ended.ANSWERED

    async def _pause(self) -> None:
        self._changed.clear()
        try:
            async with asyncio.timeout(_TICK_SECONDS):
                await self._changed.wait()
        except TimeoutError:
            pass

    def _why_end(self) -> Ended | None:
        if self._keeper.is_fenced:
            return Ended.FENCED
        if not self._keeper.goes_on:
            return Ended.CANCELLED
        try:
            self._terms.check()
        except HandedBack:
            return Ended.HANDED_BACK
        return Ended.EXPIRED if self._terms.is_expired() else None

    @property
    def _is_all_answered(self) -> bool:
        idle = not (self._askers or self._resting or self._reading)
        return idle and self._window.is_over

    def _read_on(self) -> None:
        if self._reading is None and self._window.wants_more:
            self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        try:
            self._window.add(await asyncio.to_thread(self._window.read_ahead))
        except Exception as error:  # noqa: BLE001 - `_tick` raises it: nobody waits for this task
            self._failure = error
        finally:
            self._reading = None
            self._changed.set()

    async def _bound(self) -> None:
        try:
            slots = await self._engine.slots()
            if slots is not None:
                self._pace.bound(slots)
        except EngineLost:
            pass  # it is asked again soon
        finally:
            self._bounded, self._bounding = time.monotonic(), None

    @property
    def _out(self) -> int:
        """How many requests are asked and not yet kept."""
        return len(self._askers) + len(self._keeper)

    def _send_askers(self) -> None:
        now = time.monotonic()
        if self._stopping or now < self._pace.resumes_at:
            return
        due = sum(1 for at, _, _ in self._resting if at <= now)
        room = min(self._pace.limit - len(self._askers), self._terms.most_out - self._out)
        wanted = min(room, len(self._window) + due)
        for _ in range(wanted):
            asker = asyncio.create_task(self._ask_on())
            self._askers.add(asker)
            asker.add_done_callback(self._asker_ended)

    def _asker_ended(self, asker: asyncio.Task[None]) -> None:
        self._askers.discard(asker)
        if not asker.cancelled() and (error := asker.exception()) is not None:
            self._failure = error
        if not self._askers:
            self._changed.set()

    async def _ask_on(self) -> None:
        while (ask := self._take()) is not None:
            await self._ask(ask)

    def _take(self) -> Ask | None:
        """The next request for an asker, or None when it has to go."""
        now = time.monotonic()
        if (
            self._stopping
            or len(self._askers) > self._pace.limit
            or now < self._pace.resumes_at
            or self._out > self._terms.most_out
        ):
            return None
        if self._window.wants_more:
            self._read_on()
        if self._resting and self._resting[0][0] <= now:
            return heapq.heappop(self._resting)[2]
        return self._window.take() if len(self._resting) < _MOST_RESTING else None

    async def _ask(self, ask: Ask) -> None:
        if ask.body is None:
            body = error_body("This line can no longer be read.", code="input_modified")
            self._keep(answers.refused(ask.number, ask.custom_id, 500, body))
            return
        try:
            await self._ask_engine(ask, ask.body)
        except Exception as fault:  # noqa: BLE001 - one request shall not end all others
            self._has_failed(ask, fault)

    async def _ask_engine(self, ask: Ask, body: dict[str, Any]) -> None:
        self._asked += 1
        began, place = time.monotonic(), self._asked
        was_alone = len(self._askers) == 1
        try:
            reply = await self._engine.ask(body)
        except LinariteError as refusal:
            self._refuse(ask, refusal)
        except EngineLost as lost:
            alone = was_alone and place == self._asked
            self._lost(ask, lost, began, alone=alone)
        else:
            self._take_reply(ask, reply, began)

    def _has_failed(self, ask: Ask, fault: Exception) -> None:
        """Ask again what this program itself failed at: it may have been for want of something."""
        now = time.monotonic()
        if now - self._told_fault > _TELL_SECONDS:
            self._told_fault = now
            _log.error("the server failed at a request of a batch", exc_info=fault)
        ask.last = (500, error_body("The server failed at this request.", code="internalFailure"))
        self._ask_again(ask, now, counted=True)

    def _take_reply(self, ask: Ask, reply: Reply, began: float) -> None:
        now = time.monotonic()
        meaning = verdict(reply.engine_status)
        if meaning is Verdict.ANSWERED and reply.status == 200:
            self._pace.answered(now)
            body, request_id = answers.one_line(reply.body), reply.headers.get("x-request-id")
            self._keep(answers.answered(ask.number, ask.custom_id, body, request_id, reply.stored))
            return
        ask.last = reply
        if meaning is Verdict.REFUSED:
            self._pace.answered(now)
            self._give_up(ask)
        elif meaning is not Verdict.ENGINE:
            self._ask_again(ask, now, counted=True)
        else:
            wait = asked_wait_seconds(reply.headers, time.time())
            self._pace.pushed_back(now, began, wait)
            self._ask_again(ask, now, counted=self._counts(ask, now))

    def _lost(self, ask: Ask, lost: EngineLost, began: float, *, alone: bool) -> None:
        now = time.monotonic()
        body = error_body(f"The engine gave no answer: {lost}", code="engine_unreachable")
        ask.last = (503, body)
        counted = self._counts(ask, now)  # before the pace forgets when others were answered
        self._pace.lost(now, began)
        if now - self._told_lost > _TELL_SECONDS:
            self._told_lost = now
            _log.warning("a batch waits for its engine", reason=str(lost))
        self._ask_again(ask, now, counted=counted or (lost.was_reached and alone))

    def _counts(self, ask: Ask, now: float) -> bool:
        if ask.first_failure is None:
            ask.first_failure = now
        return counts(
            now=now,
            first_failure=ask.first_failure,
            engine_answered=self._pace.answered_at,
            began=self._began,
        )

    def _ask_again(self, ask: Ask, now: float, *, counted: bool) -> None:
        if counted:
            ask.attempts += 1
            if ask.attempts >= self._terms.attempts:
                self._give_up(ask)
                return
        chance = random.random()
        rest = _UNCOUNTED_SECONDS * (1 + chance)
        if counted:
            rest = self._terms.rest_seconds(ask.attempts, chance)
        heapq.heappush(self._resting, (now + rest, next(self._order), ask))

    def _give_up(self, ask: Ask) -> None:
        if isinstance(ask.last, Reply):
            status, body = ask.last.status, answers.error_of(ask.last.body, ask.last.status)
            request_id = ask.last.headers.get("x-request-id")
        else:
            (status, body), request_id = ask.last, None
        self._keep(answers.refused(ask.number, ask.custom_id, status, body, request_id))

    def _refuse(self, ask: Ask, refusal: LinariteError) -> None:
        if isinstance(refusal, InferenceRefused):
            body = refusal.body
        else:
            body = {"error": {"code": refusal.code, "message": refusal.message}}
        self._keep(answers.refused(ask.number, ask.custom_id, refusal.status, body))

    def _keep(self, answer: Answer) -> None:
        self._keeper.add(answer)
        self._write_if_due(time.monotonic())

    def _write_if_due(self, now: float) -> None:
        # early enough for askers to go on while it is written
        self._keeper.write_if_due(now, (self._terms.most_out - self._pace.limit) // 2)

    async def _wind_down(self) -> None:
        """Let what is out come in for a while, then write everything."""
        self._stopping = True
        if self._ended is Ended.FENCED:
            return
        is_hand_back = self._ended is Ended.HANDED_BACK
        grace = _HAND_BACK_GRACE_SECONDS if is_hand_back else self._terms.cancel_seconds
        if self._askers:
            await asyncio.wait(self._askers, timeout=grace)
        await self._drop(*self._askers)
        await self._keeper.finish()

    async def _drop(self, *tasks: asyncio.Task[None]) -> None:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
