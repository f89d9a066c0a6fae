"""Work for a caller who may go away while it is done."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Mapping
from contextlib import AsyncExitStack
from types import MappingProxyType
from typing import TypeVar

import orjson
import structlog
from fastapi import Response
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from linarite.engines.refusals import EngineFailure
from linarite.wire.inference import error_body

T = TypeVar("T")

log = structlog.get_logger()

_BROKEN_OFF = error_body(
    "The engine of this model ended while it answered; try again.",
    code="serviceUnavailable",
)


async def while_there(receive: Receive, work: Awaitable[T]) -> T:
    """What `work` gives.

    Raises:
        ClientDisconnect: the caller went away first; `work` was cancelled.
    """
    working = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(_gone(receive))
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        raise ClientDisconnect
    finally:
        for task in (working, leaving):
            task.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        continue


class PassedStream(Response):
    """Server-sent events that pass through as they come.

    When the caller goes away, and in any other case, `connection` is closed, which stops the
    engine's work. A stream that breaks off ends with an event that says so.

    Args:
        chunks: the events.
        connection: what they come by.
        headers: what the answer tells beside them.
    """

    media_type = "text/event-stream"

    def __init__(
        self,
        chunks: AsyncIterator[bytes],
        connection: AsyncExitStack,
        headers: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        super().__init__(headers={"x-accel-buffering": "no", **headers})
        del self.headers["content-length"]
        self.headers["cache-control"] = "no-cache, must-revalidate"
        self._chunks = chunks
        self._connection = connection

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it all, or as much as the caller stays for."""
        async with self._connection:
            try:
                await while_there(receive, self._send(send))
            except ClientDisconnect:
                log.info("the client went away while it was answered")

    async def _send(self, send: Send) -> None:
        start = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
        await send(start)
        try:
            async for chunk in self._chunks:
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
        except EngineFailure as failure:
            log.warning("an engine broke off its stream", reason=failure.message)
            # The blank line ends an event that was cut short.
            event = b"\n\ndata: " + orjson.dumps(_BROKEN_OFF) + b"\n\n"
            await send({"type": "http.response.body", "body": event, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})
