"""What sites want of robots, as RFC 9309 has it."""

import threading
import time
from collections.abc import Callable

from protego import Protego

from linarite.indexing.crawling.addresses import origin
from linarite.indexing.crawling.fetching import ROBOT, Fetcher, Limits, NotFetched

_LIMITS = Limits(seconds=30, bytes=500 << 10, redirects=5)
_LONGEST_DELAY = 10.0


class Robots:
    """The rules of each origin, fetched once a crawl, and the pace that they ask for.

    Args:
        seconds: how long a robots.txt may take at most.
        wait: sleeps that many seconds.
    """

    def __init__(self, seconds: float, wait: Callable[[float], None]) -> None:
        self._limits = Limits(min(_LIMITS.seconds, seconds), _LIMITS.bytes, _LIMITS.redirects)
        self._wait = wait
        self._lock = threading.Lock()
        self._rules: dict[str, Protego | NotFetched] = {}
        self._next: dict[str, float] = {}

    def admit(self, url: str, fetcher: Fetcher) -> None:
        """Wait until `url` may be asked for.

        Raises:
            NotFetched: the rules keep robots off, or are not to be had.
        """
        where = origin(url)
        with self._lock:
            if where not in self._rules:
                self._rules[where] = self._fetched(where, fetcher)
            rules = self._rules[where]
            if isinstance(rules, NotFetched):
                raise NotFetched(str(rules), is_final=rules.is_final)
            if not rules.can_fetch(url, ROBOT):
                raise NotFetched(
                    "the site's robots.txt keeps robots off it", is_final=True, is_gone=True
                )
            delay = min(rules.crawl_delay(ROBOT) or 0.0, _LONGEST_DELAY)
            now = time.monotonic()
            turn = max(self._next.get(where, now), now)
            self._next[where] = turn + delay
        if turn > now:
            self._wait(turn - now)

    def _fetched(self, where: str, fetcher: Fetcher) -> Protego | NotFetched:
        """The rules; where none are to be had, whether that forbids everything or nothing."""
        try:
            rules = fetcher.fetch(f"{where}/robots.txt", self._limits, as_document=False)
        except NotFetched as error:
            if error.is_final:  # there is none, or it is none: nothing is forbidden
                return Protego.parse("")
            why = f"the site's robots.txt is not to be had ({error}), so nothing of it is fetched"
            return NotFetched(why, is_final=False)
        return Protego.parse(rules.body.decode("utf-8-sig", "replace"))
