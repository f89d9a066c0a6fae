"""Who is answered next: chats before batches, and batches never so many that chats wait.

Decisions only; `stepper` acts on them. Of batch requests that begin alike one reads its prompt
first, and the others find it in the prefix cache. While chats come and go ("chat time") batches
are held to as many answers as keep a step short, one of their prompts is read at a time, and those
whose prompt is still being read when a chat arrives step back: nothing is lost, the prefix cache
keeps what was computed.
"""

from collections import deque
from dataclasses import dataclass, field

from linarite.engines.prefixes import Blocks, Prefixes, blocks_of
from linarite.engines.sampling import Sampling

RESERVED_SLOTS = 4
_CHAT_TIME_SECONDS = 5.0
_SHORT_STEP_SECONDS = 0.045
_LEAST_BATCH_SLOTS = 4
_MEMORY = 0.8
"""How much of the running mean of step times is the past."""


@dataclass
class Request:
    """One answer that is wanted, waiting or in the making."""

    id: int
    prompt: list[int]
    sampling: Sampling
    is_batch: bool
    said: list[int] = field(default_factory=list)
    """Tokens so far, those from before it stepped back included."""
    is_reading: bool = True
    """Whether its prompt is still being computed."""
    blocks: Blocks = field(init=False)

    def __post_init__(self) -> None:
        self.blocks = blocks_of(self.prompt) if self.is_batch else ()

    @property
    def can_step_back(self) -> bool:
        """Whether it may be withdrawn now and go on later with the same answer."""
        return self.is_batch and (self.sampling.can_resume or not self.said)


class Admission:
    """The requests of one engine.

    Args:
        slots: answers at once.
        single_step_seconds: how long a step with one answer takes on this machine.
    """

    def __init__(self, slots: int, single_step_seconds: float = 0.0) -> None:
        self.slots = slots
        self.batch_slots = max(1, slots - RESERVED_SLOTS)
        self.active: dict[int, Request] = {}
        self._chats: deque[Request] = deque()
        self._batch: deque[Request] = deque()
        self._chat_time_ends = 0.0
        self._pace = max(_LEAST_BATCH_SLOTS, slots // 4)
        self._short = max(_SHORT_STEP_SECONDS, 2 * single_step_seconds)
        self._mean: float | None = None
        self._has_new_chat = False
        self._prefixes = Prefixes()

    def put(self, request: Request, now: float) -> None:
        """Queue a request."""
        if request.is_batch:
            self._batch.append(request)
            return
        self._chats.append(request)
        self._has_new_chat = True
        self._chat_time_ends = now + _CHAT_TIME_SECONDS

    def remove(self, request_id: int) -> Request | None:
        """Forget a request; it is returned if it was in the making."""
        for queue in (self._chats, self._batch):
            for request in queue:
                if request.id == request_id:
                    queue.remove(request)
                    return None
        return self.active.pop(request_id, None)

    def step_back(self) -> list[Request]:
        """Batch requests to withdraw for a chat that has just come; they wait again, in front."""
        if not self._has_new_chat:
            return []
        self._has_new_chat = False
        batch = [request for request in self.active.values() if request.is_batch]
        able = [request for request in batch if request.can_step_back]
        able.sort(key=lambda request: (not request.is_reading, len(request.said)))
        reading = sum(request.is_reading for request in able)
        withdrawn = able[: max(reading, len(batch) - self._pace)]
        for request in withdrawn:
            del self.active[request.id]
        self._batch.extendleft(sorted(withdrawn, key=lambda request: request.id, reverse=True))
        return withdrawn

    def admit(self, now: float) -> list[Request]:
        """Requests to start before the next step, in order."""
        admitted = []
        while self._chats and len(self.active) < self.slots:
            admitted.append(self._start(self._chats.popleft()))
        while self._has_room_for_batch(now) and (request := self._next_of_batch()) is not None:
            admitted.append(self._start(request))
        return admitted

    def note_read(self, request: Request) -> None:
        """Note that a request's prompt was computed: it said something."""
        if request.is_reading:
            request.is_reading = False
            self._prefixes.note_read(request.blocks)

    def note_step(self, seconds: float, now: float) -> None:
        """Learn from a step in which no prompt was read how many answers keep a step short."""
        chats = sum(not request.is_batch for request in self.active.values())
        if chats:
            self._chat_time_ends = now + _CHAT_TIME_SECONDS
        if now >= self._chat_time_ends:
            return
        batch = len(self.active) - chats
        mean = seconds if self._mean is None else self._mean
        self._mean = _MEMORY * mean + (1 - _MEMORY) * seconds
        if batch >= self._pace and self._mean < 0.75 * self._short:
            self._pace, self._mean = min(self._pace + 1, self.batch_slots), None
        elif batch <= self._pace and self._mean > self._short:
            self._pace, self._mean = max(self._pace - 1, _LEAST_BATCH_SLOTS), None

    def counts(self) -> dict[str, int]:
        """Answers in the making and waiting, by kind."""
        batch = sum(request.is_batch for request in self.active.values())
        return {
            "interactive": len(self.active) - batch,
            "batch": batch,
            "interactive_waiting": len(self._chats),
            "batch_waiting": len(self._batch),
        }

    def has_waiting(self) -> bool:
        """Whether any request waits."""
        return bool(self._chats or self._batch)

    def _start(self, request: Request) -> Request:
        request.is_reading = True
        self.active[request.id] = request
        return request

    def _next_of_batch(self) -> Request | None:
        """The first that need not wait for what another one is reading."""
        reading = [request.blocks for request in self.active.values() if request.is_reading]
        for place, request in enumerate(self._batch):
            if not self._prefixes.is_worth_waiting(request.blocks, reading):
                del self._batch[place]
                return request
        return None

    def _has_room_for_batch(self, now: float) -> bool:
        batch = sum(request.is_batch for request in self.active.values())
        if len(self.active) >= self.slots or batch >= self.batch_slots:
            return False
        if now >= self._chat_time_ends:
            return True
        is_reading = any(request.is_reading for request in self.active.values())
        return batch < self._pace and not is_reading
