"""Threads that can be left behind: whoever gave them work need not wait for it to end."""

import queue
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

Asked = TypeVar("Asked")
Got = TypeVar("Got")


class Outcome(Generic[Asked, Got]):
    """What comes of a piece of work; `asked` is the piece."""

    def __init__(self, asked: Asked) -> None:
        self.asked = asked
        self._is_there = threading.Event()
        self._got: Got | None = None
        self._error: BaseException | None = None

    def wait(self, seconds: float) -> bool:
        """Whether it is there within `seconds`."""
        return self._is_there.wait(seconds)

    def result(self) -> Got:
        """What was got; raises what the work raised."""
        if self._error is not None:
            raise self._error
        return self._got  # type: ignore[return-value]

    def settle(self, work: Callable[[Asked], Got]) -> None:
        """Do the work."""
        try:
            self._got = work(self.asked)
        except BaseException as error:  # noqa: BLE001 - whoever waits is told
            self._error = error
        self._is_there.set()


class Threads(Generic[Asked, Got]):
    """Some threads that do the same work.

    Args:
        count: how many.
        work: what they do.
        end: called once the last of them has ended.
    """

    def __init__(self, count: int, work: Callable[[Asked], Got], end: Callable[[], None]) -> None:
        self._work = work
        self._end = end
        self._inbox: queue.SimpleQueue[Outcome[Asked, Got] | None] = queue.SimpleQueue()
        self._left = self._count = count
        self._lock = threading.Lock()
        for _ in range(count):
            threading.Thread(target=self._run, name="crawl", daemon=True).start()

    def give(self, asked: Asked) -> Outcome[Asked, Got]:
        """Have a piece of work done."""
        outcome: Outcome[Asked, Got] = Outcome(asked)
        self._inbox.put(outcome)
        return outcome

    def dismiss(self) -> None:
        """Let each thread end as soon as it has done what it does."""
        for _ in range(self._count):
            self._inbox.put(None)

    def _run(self) -> None:
        while (outcome := self._inbox.get()) is not None:
            outcome.settle(self._work)
        with self._lock:
            self._left -= 1
            is_last = not self._left
        if is_last:
            self._end()
