"""A deployment's engine as a batch asks it, and what its requests cost in tokens."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from linarite import ids
from linarite.engines import client
from linarite.engines.place import ModelPlace
from linarite.engines.posting import NotConnected
from linarite.engines.refusals import EngineFailure, EngineUnreachable, ModelMissing
from linarite.engines.tokens import Tokens
from linarite.errors import InferenceRefused
from linarite.resources.batches.dispatch import Engine, EngineLost, Reply
from linarite.resources.batches.validation import TokenCount
from linarite.resources.deployments.records import Target
from linarite.resources.inference.counting import PlaceOf, answer_tokens, prompt_tokens
from linarite.resources.inference.filtering import (
    ContentFilter,
    Filtering,
    FilterUnavailable,
)
from linarite.resources.stored_completions.records import NewCompletion

Prepare = Callable[[str, Target, dict[str, Any]], bytes]
"""Makes what an engine is sent of a body: given what is asked, and where; raises LinariteError."""
Settle = Callable[[str, Target, Mapping[str, Any], client.Reply], client.Reply]
"""Makes what callers get of what an engine answered: given what was asked, where, and the body."""
ToStore = Callable[[str, Target, Mapping[str, Any], bytes, str], NewCompletion | None]
"""Makes what is to be stored: given what was asked, where, the body, the answer's body, its id."""


@dataclass(frozen=True)
class DeployedEngines:
    """Engines for batches, each with connections of its own for the loop that it is used in.

    Args:
        host_socket: where this machine's engine host listens.
        place_of: where a model is.
        prepare: makes what an engine is sent.
        settle: makes what callers get of its answer.
        to_store: makes what is to be stored of that.
        content_filter: judges prompts and answers, if anything does.
    """

    host_socket: Path
    place_of: PlaceOf
    prepare: Prepare
    settle: Settle
    to_store: ToStore
    content_filter: ContentFilter | None = None

    @asynccontextmanager
    async def __call__(self, endpoint: str, target: Target) -> AsyncIterator[Engine]:
        """The engine that answers `endpoint` for `target`, while the block lasts."""
        async with client.Engines(self.host_socket) as engines:
            place = self.place_of(target.model)
            place = place.answering_for(target.deployment.deterministic)

            def prepare(body: dict[str, Any]) -> bytes:
                return self.prepare(endpoint, target, body)

            def settle(body: Mapping[str, Any], reply: client.Reply) -> client.Reply:
                return self.settle(endpoint, target, body, reply)

            def to_store(
                body: Mapping[str, Any], answer: bytes, request_id: str
            ) -> NewCompletion | None:
                return self.to_store(endpoint, target, body, answer, request_id)

            def filtering(body: Mapping[str, Any]) -> Filtering | None:
                if self.content_filter is None or endpoint == "/embeddings":
                    return None
                return Filtering(self.content_filter, engines, endpoint, body)

            yield _Deployed(engines, place, endpoint, prepare, settle, to_store, filtering)


class _Deployed:
    """One deployment's engine."""

    def __init__(
        self,
        engines: client.Engines,
        place: ModelPlace,
        endpoint: str,
        prepare: Callable[[dict[str, Any]], bytes],
        settle: Callable[[Mapping[str, Any], client.Reply], client.Reply],
        to_store: Callable[[Mapping[str, Any], bytes, str], NewCompletion | None],
        filtering: Callable[[Mapping[str, Any]], Filtering | None],
    ) -> None:
        self._engines = engines
        self._place = place
        self._endpoint = endpoint
        self._prepare = prepare
        self._settle = settle
        self._to_store = to_store
        self._filtering = filtering

    async def ask(self, body: dict[str, Any]) -> Reply:
        """Answer one request of a batch; streams are refused, for their pieces have no line."""
        if body.get("stream"):
            raise InferenceRefused(
                "`stream` cannot be true in a batch: each request has one line of the output.",
                param="stream",
            )
        prepared, filtering = self._prepare(body), self._filtering(body)
        try:
            if filtering is not None:
                await filtering.check_prompt()
            engine = await self._engines.reach(self._place)
            reply = await engine.post(self._endpoint, prepared, batch=True)
            settled = self._settle(body, reply)
            if filtering is not None and settled.status == 200:
                settled = await filtering.checked(settled)
        except (EngineFailure, ModelMissing) as failure:
            raise EngineLost(failure.message, was_reached=was_reached(failure)) from failure
        except FilterUnavailable as failure:  # the batch waits for it as for its engine
            raise EngineLost(failure.message, was_reached=False) from failure
        headers = {"x-request-id": ids.request_id(), **reply.headers}
        request_id = headers["x-request-id"]
        stored = self._to_store(body, settled.body, request_id) if settled.status == 200 else None
        return Reply(settled.status, headers, settled.body, reply.status, stored)

    async def slots(self) -> int | None:
        """What it tells of the requests that batches may have out at it."""
        try:
            engine = await self._engines.reach(self._place)
            return await engine.slots()
        except (EngineFailure, ModelMissing) as failure:
            raise EngineLost(failure.message, was_reached=False) from failure


def was_reached(failure: Exception) -> bool:
    """Whether an engine went away with a request, rather than never having had it."""
    cause = failure.__cause__
    is_told = isinstance(failure, EngineUnreachable) and cause is not None
    return is_told and not isinstance(cause, NotConnected | aiohttp.ClientConnectorError)


@dataclass(frozen=True)
class TokenCounts:
    """What requests cost: their prompt, and the longest answers that they allow.

    Args:
        tokens: counts prompts.
        place_of: where a model is.
    """

    tokens: Tokens
    place_of: PlaceOf

    def __call__(self, endpoint: str, target: Target) -> TokenCount:
        """What counts the requests of one batch."""
        place = self.place_of(target.model)

        def count(body: dict[str, Any]) -> int:
            prompt = prompt_tokens(self.tokens, place, endpoint, body)
            return prompt + answer_tokens(endpoint, body)

        return count
