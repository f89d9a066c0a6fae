"""The tickets that a worker gives out: for a task that it owns, for a tick of a schedule."""

import threading
import time
from collections.abc import Callable

from linarite.storage.database import Transaction
from linarite.tasks.task import HandedBack

_STALE_SECONDS = 3.0
_NAP_SECONDS = 0.5


class _Stoppable:
    """What both have: a flag that is raised when the work must stop."""

    def __init__(self, attempt: int = 0) -> None:
        self.attempt = attempt
        self._revoked = threading.Event()

    @property
    def is_revoked(self) -> bool:
        """Whether the work must stop."""
        return self._revoked.is_set()

    def revoke(self) -> None:
        """Make the next check raise, and wake whoever waits."""
        self._revoked.set()

    def pause(self, seconds: float) -> None:
        """Sleep until the time is over or the work must stop; raises nothing."""
        self._revoked.wait(seconds)

    def check(self) -> None:
        """Raise HandedBack when the work must stop."""
        if self.is_revoked:
            raise HandedBack

    def wait(self, seconds: float) -> None:
        """Sleep, but raise HandedBack as soon as the work must stop."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0 and not self.is_revoked:
            self._revoked.wait(min(left, _NAP_SECONDS))
            self.check()
        self.check()


class TickTicket(_Stoppable):
    """Lets a tick of a schedule work until its worker stops."""

    def guard(self, tx: Transaction) -> None:
        """Raise HandedBack when the work must stop; a tick owns nothing that could be lost."""
        self.check()


class TaskTicket(_Stoppable):
    """Lets a task work as long as its worker owns it in the database.

    Args:
        still_owned: looks it up.
        owned_within: looks it up inside a transaction, and keeps it so until that ends.
    """

    def __init__(
        self, still_owned: Callable[[], bool], owned_within: Callable[[Transaction], bool]
    ) -> None:
        super().__init__()
        self._still_owned = still_owned
        self._owned_within = owned_within
        self._confirmed = time.monotonic()

    def confirm(self, owned: bool, at: float) -> None:
        """Note what the database said at `at` (monotonic seconds)."""
        if owned:
            self._confirmed = max(self._confirmed, at)
        else:
            self.revoke()

    def check(self) -> None:
        """Raise HandedBack when the work must stop; asks the database if nobody did of late."""
        if not self.is_revoked and time.monotonic() - self._confirmed > _STALE_SECONDS:
            at = time.monotonic()
            self.confirm(self._still_owned(), at)
        super().check()

    def guard(self, tx: Transaction) -> None:
        """Raise HandedBack unless the worker owns the task; it then does until `tx` ends."""
        if not self._owned_within(tx):
            self.revoke()
        super().check()
