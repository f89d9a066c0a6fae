"""Threads in which others' servers are called: each resource has its own."""

import threading
from concurrent.futures import ThreadPoolExecutor


class Callers:
    """Threads by resource, so that servers that do not answer hold up only whose chats name them.

    Args:
        most: how many calls of one resource are under way at once; others of it wait.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._threads: dict[str, ThreadPoolExecutor] = {}

    def of(self, resource: str) -> ThreadPoolExecutor:
        """The threads of a resource; they are started as they are needed."""
        with self._lock:
            threads = self._threads.get(resource)
            if threads is None:
                threads = self._threads[resource] = ThreadPoolExecutor(self._most, "caller")
            return threads
