"""A clock for rules about time, which tests set instead of waiting."""


class StandingClock:
    """A clock that stands still."""

    def __init__(self, now: int) -> None:
        self._now = now

    def now(self) -> int:
        return self._now
