"""How many requests of a batch are out at an engine at once.

An engine that tells its slots gets that many. Any other is climbed: more while that makes it
faster, half when it pushes back (once for all requests that were out at that moment). A lost one
is tried with one request, so that one that breaks it is found, and is trusted again when it
answers. Knows the time only as it is told.
"""

from dataclasses import dataclass

START = 16

_ROUND_SECONDS = 0.2
_WORTH_IT = 1.03
_HOLD_ROUNDS = 10
_FIRST_REST_SECONDS = 0.1
_FIRST_PUSH_SECONDS = 0.05
_LONGEST_REST_SECONDS = 5.0


@dataclass
class Pace:
    """The number of requests in flight, as it should be now.

    Args:
        most: it is never more.
        known: whether the engine said how many it can take (see `bound`).
    """

    most: int
    known: bool = False
    limit: int = 0
    resumes_at: float = 0.0
    """Nothing is asked before."""
    answered_at: float | None = None
    """When the engine last answered."""
    _is_doubling: bool = True
    _hold: int = 0
    _losses: int = 0
    _before_loss: int = 0
    _pushes: int = 0
    _cut_at: float = float("-inf")
    _round_began: float | None = None
    _round_answers: int = 0
    _before: tuple[int, float] | None = None

    def __post_init__(self) -> None:
        self.limit = self.most if self.known else min(START, self.most)

    def bound(self, slots: int) -> None:
        """Note how many the engine says that it can take; it gets them at once if it is well."""
        if self.known and slots == self.most:
            return
        is_well = not self.known or self.limit >= self.most
        is_well = is_well and not (self._losses or self._pushes)
        self.most, self.known = slots, True
        self.limit = slots if is_well else min(self.limit, slots)

    def answered(self, now: float) -> None:
        """Note that a request was answered."""
        self.answered_at = now
        if self._losses:
            trusted = self.most if self.known else max(START, self._before_loss // 2)
            self.limit = min(self.most, max(self.limit, trusted))
        self._losses = self._pushes = 0
        if self._round_began is None:
            self._round_began, self._round_answers = now, 0
            return
        self._round_answers += 1
        elapsed = now - self._round_began
        if self._round_answers >= self.limit and elapsed >= _ROUND_SECONDS:
            self._end_round(self._round_answers / elapsed)
            self._round_began, self._round_answers = now, 0

    def pushed_back(self, now: float, asked_at: float, wait_seconds: float | None) -> None:
        """Note that the engine was full.

        Args:
            now: the time.
            asked_at: when it was asked what it refused.
            wait_seconds: how long it wants to be left alone, if it said so.
        """
        if wait_seconds is not None:
            self.resumes_at = max(self.resumes_at, now + wait_seconds)
        if asked_at > self._cut_at:
            rest = min(_FIRST_PUSH_SECONDS * 2 ** min(self._pushes, 16), _LONGEST_REST_SECONDS)
            self._pushes += 1
            self.resumes_at = max(self.resumes_at, now + rest)
            self._cut(now, max(1, self.limit // 2))

    def lost(self, now: float, asked_at: float) -> None:
        """Note that the engine was not there, or went away while it answered."""
        if asked_at <= self._cut_at:
            return  # one loss, noticed by each request that was out
        rest = min(_FIRST_REST_SECONDS * 2 ** min(self._losses, 16), _LONGEST_REST_SECONDS)
        if not self._losses:
            self._before_loss = self.limit
        self._losses += 1
        self.resumes_at = max(self.resumes_at, now + rest)
        self._cut(now, 1)

    def _cut(self, now: float, limit: int) -> None:
        self.limit = limit
        self._cut_at = now
        self._is_doubling = limit == 1
        self._before, self._round_began, self._hold = None, None, 0

    def _end_round(self, rate: float) -> None:
        if self.known:
            self.limit = min(self.most, self.limit * 2)
            return
        if self._before is not None:
            limit_before, rate_before = self._before
            self._before = None
            if rate < rate_before * _WORTH_IT:
                self.limit, self._is_doubling, self._hold = limit_before, False, _HOLD_ROUNDS
        if self._hold:
            self._hold -= 1
            return
        step = self.limit if self._is_doubling else max(1, self.limit // 8)
        grown = min(self.most, self.limit + step)
        if grown > self.limit:
            self._before = (self.limit, rate)
            self.limit = grown
