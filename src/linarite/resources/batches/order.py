"""In which order requests are asked: those whose prompts begin alike next to each other.

A window slides over the input, bounded in requests and bytes; inside it, groups of a like prefix
are asked one after the other, the one that has waited longest first. Knows no engine.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

WINDOW_REQUESTS = 2_048
WINDOW_BYTES = 32 << 20


@dataclass(slots=True, eq=False)
class Ask:
    """A request on its way to an answer.

    Args:
        number: which request of the input it is, from 0.
        custom_id: what its caller calls it.
        body: what the engine is asked, or None when the line could not be read any more.
        bytes: how long its line is.
        prefix: equal for requests that begin alike.
    """

    number: int
    custom_id: str
    body: dict[str, Any] | None
    bytes: int
    prefix: int | None
    attempts: int = 0
    """How often it failed for a reason of its own."""
    first_failure: float | None = None
    """When it first met an engine that could not answer, in the loop's time."""
    last: Any = None
    """What it was answered last, if anything."""


@dataclass
class Window:
    """The requests that come next, in the order in which they are asked.

    Args:
        source: the requests in the order of the input.
    """

    source: Iterator[Ask]
    most_requests: int = WINDOW_REQUESTS
    most_bytes: int = WINDOW_BYTES
    _groups: dict[int | None, deque[Ask]] = field(default_factory=dict)
    _current: deque[Ask] = field(default_factory=deque)
    _requests: int = 0
    _bytes: int = 0
    _is_whole: bool = False

    def __len__(self) -> int:
        return self._requests

    @property
    def wants_more(self) -> bool:
        """Whether it is half empty and the input has not ended."""
        half_empty = self._requests <= self.most_requests // 2 and self._bytes <= (
            self.most_bytes // 2
        )
        return half_empty and not self._is_whole

    @property
    def is_over(self) -> bool:
        """Whether nothing is left to ask."""
        return self._is_whole and not self._requests

    def read_ahead(self) -> list[Ask]:
        """The requests that fill the window up, for `add`; reads the input, touches nothing else.

        So it can run in a thread while others take.
        """
        room, bytes_left = self.most_requests - self._requests, self.most_bytes - self._bytes
        read: list[Ask] = []
        while room > 0 and bytes_left > 0:
            ask = next(self.source, None)
            if ask is None:
                self._is_whole = True
                break
            read.append(ask)
            room -= 1
            bytes_left -= ask.bytes
        return read

    def add(self, asks: list[Ask]) -> None:
        """Put requests in their places."""
        for ask in asks:
            group = self._groups.get(ask.prefix)
            if group is None:
                group = self._groups[ask.prefix] = deque()
            group.append(ask)
            self._bytes += ask.bytes
        self._requests += len(asks)

    def take(self) -> Ask | None:
        """The next request, or None when the window is empty."""
        if not self._current:
            if not self._groups:
                return None
            # dicts keep the order of insertion: the first group holds the oldest request
            self._current = self._groups.pop(next(iter(self._groups)))
        ask = self._current.popleft()
        self._requests -= 1
        self._bytes -= ask.bytes
        return ask
