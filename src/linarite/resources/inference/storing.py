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

from linarite.engines.sampling import SEED_OF_NONE
from linarite.http.metrics import Metrics
from linarite.resources.deployments.records import Target
from linarite.resources.stored_completions.making import (
    NotStorable,
    StreamedAnswer,
    completion_of,
)
from linarite.resources.stored_completions.records import NewCompletion
from linarite.resources.stored_completions.writing import GroupWriter, NotStored

STORED = "x-linarite-stored"
"""The header of whole answers that could not be stored; it says `false`."""

_PATIENCE_SECONDS = 5.0
_DATA = b"data:"
_DONE = b"[DONE]"

_log = structlog.get_logger("linarite.stored_completions")


def to_store(
    target: Target,
    asked: Mapping[str, Any],
    answer: Mapping[str, Any] | StreamedAnswer,
    request_id: str,
) -> NewCompletion:
    """What is to be stored of a chat with `target`; raises NotStorable."""
    return completion_of(
        asked,
        answer,
        model=target.model.id,
        deployment=target.deployment.id,
        request_id=request_id,
        default_seed=SEED_OF_NONE if target.deployment.deterministic else None,
    )


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

    async def keep(self, answer: Mapping[str, Any] | StreamedAnswer) -> bool:
        """Store a whole answer; whether it is committed.

        It is stored, too, where the caller goes away meanwhile.
        """
        storing = self._submit(answer)
        if storing is None:
            return False
        if not storing.done():
            await asyncio.wait([storing], timeout=_PATIENCE_SECONDS)
            storing.cancel()  # in vain where it is done; else it will not be committed
        return not storing.cancelled() and storing.exception() is None

    def _submit(self, answer: Mapping[str, Any] | StreamedAnswer) -> "asyncio.Future[None] | None":
        """Have a whole answer stored, and the outcome told; None where it cannot be."""
        try:
            new = to_store(self.target, self.asked, answer, self.request_id)
        except NotStorable as error:
            self._has_failed(str(error))
            return None
        storing = self.writer.submit(self.resource, new)
        storing.add_done_callback(self._tell)
        return storing

    def _tell(self, storing: "asyncio.Future[None]") -> None:
        error = NotStored("time is over") if storing.cancelled() else storing.exception()
        if error is None:
            self.metrics.stored_completions.labels("stored").inc()
        else:
            self._has_failed(str(error))

    def _has_failed(self, reason: str) -> None:
        _log.error("an answer goes out and is not stored", reason=reason)
        self.metrics.stored_completions.labels("failed").inc()

    async def events(
        self, chunks: AsyncIterator[bytes], stamp: Mapping[str, Any], *, shows_usage: bool
    ) -> AsyncIterator[bytes]:
        """Server-sent events as they come; the answer is stored before the one that ends them.

        A stream that breaks off or tells of an error stores nothing, nor does one whose caller
        went away before the answer's last word.

        Args:
            chunks: the events.
            stamp: fields that are said in place of the engine's.
            shows_usage: whether the caller asked for the usage, which is needed here anyway.
        """
        seen, is_kept = _Seen(stamp, shows_usage), False
        try:
            async for lines in _lines(chunks):
                out: list[bytes] = []
                for line in lines:
                    if not is_kept and _data_of(line) == _DONE:
                        if said := b"".join(out):
                            yield said
                        out, is_kept = [], True
                        await self._keep_seen(seen)
                    out.append(seen.shown(line))
                if said := b"".join(out):
                    yield said
            if not is_kept:
                is_kept = True
                await self._keep_seen(seen)
        except (asyncio.CancelledError, GeneratorExit):
            # Many callers leave once they have the last word, and do not wait for the end.
            if not is_kept and seen.has_all(self.asked.get("n") or 1):
                self._submit(seen.answer)
            raise

    async def _keep_seen(self, seen: "_Seen") -> None:
        if seen.is_strange:
            self._has_failed("its stream has an event that nobody understands")
        elif not seen.is_broken:
            await self.keep(seen.answer)


class _Seen:
    """The events of a stream: how they go on, and the answer that they come to."""

    def __init__(self, stamp: Mapping[str, Any], shows_usage: bool) -> None:
        self.answer = StreamedAnswer()
        self.is_broken = False
        """Whether the stream told of an error."""
        self.is_strange = False
        """Whether it has an event that nobody understands."""
        self._stamp = stamp
        self._shows_usage = shows_usage

    def has_all(self, choices: int) -> bool:
        """Whether so many answers have come to their end."""
        return not (self.is_broken or self.is_strange) and self.answer.finished == choices

    def shown(self, line: bytes) -> bytes:
        """The line as the caller gets it; nothing of one that is held back."""
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
            self.is_strange = True
            return line
        if not self._shows_usage and event.get("usage") and not event.get("choices"):
            return b""
        if not self._stamp:
            return line
        return _DATA + b" " + orjson.dumps(said) + (b"\n" if line.endswith(b"\n") else b"")


async def _lines(chunks: AsyncIterator[bytes]) -> AsyncIterator[list[bytes]]:
    """The lines of each chunk, each with its end; of the last one, what there is."""
    rest = b""
    async for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        if lines:
            yield [line + b"\n" for line in lines]
    if rest:
        yield [rest]


def _data_of(line: bytes) -> bytes | None:
    """What a line of an event says, if it says data."""
    return line[len(_DATA) :].strip() if line.startswith(_DATA) else None
