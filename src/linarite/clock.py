"""The time, as something that can be passed in: Unix seconds, as everywhere in the contract."""

import time
from typing import Protocol


class Clock(Protocol):
    """What tells the time."""

    def now(self) -> int:
        """The present moment in whole Unix seconds."""


class SystemClock:
    """The machine's own clock."""

    def now(self) -> int:
        """The present moment in whole Unix seconds."""
        return int(time.time())
