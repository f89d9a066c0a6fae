"""An async client that is asked as if it were a sync one, so that one test holds for both."""

import asyncio
import inspect
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_SECONDS = 60


class Blocking:
    """What belongs to an async client: each call runs on its loop and is waited for.

    Resources of the client come wrapped again; so do pages and streams, which are iterated as
    their sync twins are. Everything else, such as the answers, comes as it is.
    """

    def __init__(self, inner: Any, loop: asyncio.AbstractEventLoop) -> None:
        self._inner = inner
        self._loop = loop

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._inner, name)
        if inspect.isroutine(value):
            return lambda *given, **named: self._settled(value(*given, **named))
        return self._wrapped(value)

    def __iter__(self) -> Iterator[Any]:
        iterator = self._inner.__aiter__()
        while True:
            try:
                yield self._run(iterator.__anext__())
            except StopAsyncIteration:
                return

    def _settled(self, value: Any) -> Any:
        return self._wrapped(self._run(value) if inspect.isawaitable(value) else value)

    def _wrapped(self, value: Any) -> Any:
        is_resource = type(value).__module__.startswith("openai.resources")
        return Blocking(value, self._loop) if is_resource or hasattr(value, "__aiter__") else value

    def _run(self, awaitable: Any) -> Any:
        async def wait() -> Any:
            return await awaitable

        return asyncio.run_coroutine_threadsafe(wait(), self._loop).result(_SECONDS)


@contextmanager
def running_loop() -> Iterator[asyncio.AbstractEventLoop]:
    """An event loop that runs in a thread until the block ends."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="loop")
    thread.start()
    try:
        yield loop
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
