"""A chat's answer on its way out, stored before its last byte leaves.

The answer goes out whether it could be stored or not: the caller of a whole one is told by a
header, and the operator by the log and a metric.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

import orjson
import structlog

from linarite.http.metrics import Metrics
from linarite.resources.deployments.records import Target
from linarite.resources.stored_completions.making import (
    NotStorable,
    StreamedAnswer,
    completion_of,
)
from linarite.resources.stored_completions.writing import GroupWriter, NotStored

STORED = "x-linarite-stored"
"""The header of whole answers that could not be stored; it says `false`."""

_PATIENCE_SECONDS = 5.0
_DATA = b"data:"
_DONE = b"[DONE]"

_log = structlog.get_logger("linarite.stored_completions")


@dataclass(frozen=True)
class Storing:
    """What stores one chat's answer.

    Args:
        writer: where it goes.
        metrics: where it is counted.
        resource: whose it is.
        target: who answers.
        asked: the request.
        request_id: of the HTTP request.
    """

    writer: GroupWriter
    metrics: Metrics
    resource: str
    target: Target
    asked: Mapping[str, Any]
    request_id: str

    async def keep(self, answer: Mapping[str, Any]) -> bool:
        """Store a whole answer; whether it is committed."""
        try:
            new = completion_of(
                self.asked,
                answer,
                model=self.target.model.id,
                deployment=self.target.deployment.id,
                request_id=self.request_id,
            )
            async with asyncio.timeout(_PATIENCE_SECONDS):
                await asyncio.wrap_future(self.writer.submit(self.resource, new))
        except (NotStorable, NotStored, TimeoutError) as error:
            _log.error("an answer goes out and is not stored", reason=str(error) or "time is over")
            self.metrics.stored_completions.labels("failed").inc()
            return False
        self.metrics.stored_completions.labels("stored").inc()
        return True

    async def events(
        self, chunks: AsyncIterator[bytes], stamp: Mapping[str, Any], *, shows_usage: bool
    ) -> AsyncIterator[bytes]:
        """Server-sent events as they come; the answer is stored before the one that ends them.

        A stream that breaks off or tells of an error stores nothing.

        Args:
            chunks: the events.
            stamp: fields that are said in place of the engine's.
            shows_usage: whether the caller asked for the usage, which is needed here anyway.
        """
        seen, rest, is_over = _Seen(stamp, shows_usage), b"", False
        async for chunk in chunks:
            whole, line_end, rest = (rest + chunk).rpartition(b"\n")
            if not line_end:
                continue
            out: list[bytes] = []
            for line in whole.split(b"\n"):
                if not is_over and _data_of(line) == _DONE:
                    is_over = True
                    if out:
                        yield b"\n".join(out) + b"\n"
                        out = []
                    await self._keep_seen(seen)
                if (shown := seen.line(line)) is not None:
                    out.append(shown)
            yield b"\n".join(out) + b"\n"
        if not is_over:
            await self._keep_seen(seen)
        if rest:
            yield rest

    async def _keep_seen(self, seen: "_Seen") -> None:
        if not seen.is_broken:
            await self.keep(seen.answer.whole())


class _Seen:
    """The events of a stream: how they go on, and the answer that they come to."""

    def __init__(self, stamp: Mapping[str, Any], shows_usage: bool) -> None:
        self.answer = StreamedAnswer()
        self.is_broken = False
        """Whether the stream told of an error, or has an event that nobody understands."""
        self._stamp = stamp
        self._shows_usage = shows_usage

    def line(self, line: bytes) -> bytes | None:
        """The line as the caller gets it; None for one that is held back."""
        data = _data_of(line)
        if data is None or data == _DONE or not data:
            return line
        try:
            event = orjson.loads(data)
            if event.get("error"):
                self.is_broken = True
                return line
            said = {**event, **self._stamp}
            self.answer.add(said)
        except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
            _log.warning("a stream has an event that nobody understands", reason=str(error))
            self.is_broken = True
            return line
        if not self._shows_usage and event.get("usage") and not event.get("choices"):
            return None
        return _DATA + b" " + orjson.dumps(said) if self._stamp else line


def _data_of(line: bytes) -> bytes | None:
    """What a line of an event says, if it says data."""
    return line[len(_DATA) :].strip() if line.startswith(_DATA) else None
