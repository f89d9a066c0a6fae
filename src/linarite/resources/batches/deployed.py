"""A deployment's engine as a batch asks it, and what its requests cost in tokens."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
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
from linarite.resources.inference import data_sources
from linarite.resources.inference.answers import as_json
from linarite.resources.inference.counting import PlaceOf, answer_tokens, prompt_tokens
from linarite.resources.inference.filtering import (
    ContentFilter,
    Filtering,
    FilterUnavailable,
)
from linarite.resources.inference.grounding import Grounded
from linarite.resources.inference.service import CHAT
from linarite.resources.stored_completions.records import NewCompletion

Prepare = Callable[[str, Target, dict[str, Any]], bytes]
"""Makes what an engine is sent of a body: given what is asked, and where; raises LinariteError."""
Settle = Callable[[str, Target, Mapping[str, Any], client.Reply], client.Reply]
"""Makes what callers get of what an engine answered: given what was asked, where, and the body."""
Source = data_sources.Source
ToStore = Callable[[str, Target, Mapping[str, Any], bytes, str], NewCompletion | None]
"""Makes what is to be stored: given what was asked, where, the body, the answer's body, its id."""


Ground = Callable[[client.Engines, str, Target, Source, dict[str, Any]], Awaitable[Grounded]]
"""Looks for what a chat asks: given connections, whose the chat is, who answers, its source, and
the chat without it."""


@dataclass(frozen=True)
class DeployedEngines:
    """Engines for batches, each with connections of its own for the loop that it is used in.

    Args:
        host_socket: where this machine's engine host listens.
        place_of: where a model is.
        prepare: makes what an engine is sent.
        settle: makes what callers get of its answer.
        to_store: makes what is to be stored of that.
        ground: looks for what chats with a data source ask.
        content_filter: judges prompts and answers, if anything does.
    """

    host_socket: Path
    place_of: PlaceOf
    prepare: Prepare
    settle: Settle
    to_store: ToStore
    ground: Ground
    content_filter: ContentFilter | None = None

    @asynccontextmanager
    async def __call__(self, resource: str, endpoint: str, target: Target) -> AsyncIterator[Engine]:
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

            async def grounded(source: Source, body: dict[str, Any]) -> Grounded:
                if self.ground is None:
                    raise InferenceRefused(
                        "Data sources are not searched here.", param=data_sources.NAME
                    )
                return await self.ground(engines, resource, target, source, body)

            yield _Deployed(
                engines, place, endpoint, prepare, settle, to_store, filtering, grounded
            )


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
        grounded: Callable[[Source, dict[str, Any]], Awaitable[Grounded]],
    ) -> None:
        self._engines = engines
        self._place = place
        self._endpoint = endpoint
        self._prepare = prepare
        self._settle = settle
        self._to_store = to_store
        self._filtering = filtering
        self._grounded = grounded

    async def ask(self, body: dict[str, Any]) -> Reply:
        """Answer one request of a batch; streams are refused, for their pieces have no line."""
        if body.get("stream"):
            raise InferenceRefused(
                "`stream` cannot be true in a batch: each request has one line of the output.",
                param="stream",
            )
        source, body = data_sources.read(body) if self._endpoint == CHAT else (None, body)
        prepared, filtering, grounded = self._prepare(body), self._filtering(body), None
        try:
            if source is not None:
                grounded = await self._grounded(source, body)
                prepared, filtering = self._prepare(grounded.body), self._filtering(grounded.body)
            if filtering is not None:
                await filtering.check_prompt()
            reply = await self._posted(prepared, grounded)
            settled = self._settle(body, reply)
            if filtering is not None and settled.status == 200:
                settled = await filtering.checked(settled)
        except (EngineFailure, ModelMissing) as failure:
            raise EngineLost(failure.message, was_reached=was_reached(failure)) from failure
        except FilterUnavailable as failure:  # the batch waits for it as for its engine
            raise EngineLost(failure.message, was_reached=False) from failure
        except InferenceRefused as refused:
            if refused.status < 500:
                raise
            # an index or an embedding that is away: the line is asked again
            return Reply(refused.status, refused.headers, as_json(refused), refused.status, None)
        headers = {"x-request-id": ids.request_id(), **reply.headers}
        request_id = headers["x-request-id"]
        stored = self._to_store(body, settled.body, request_id) if settled.status == 200 else None
        if grounded is not None and settled.status == 200:
            settled = grounded.whole(settled)
        return Reply(settled.status, headers, settled.body, reply.status, stored)

    async def _posted(self, prepared: bytes, grounded: Grounded | None) -> client.Reply:
        if grounded is not None and grounded.unasked is not None:
            return await grounded.unasked.post(self._endpoint, prepared)
        engine = await self._engines.reach(self._place)
        return await engine.post(self._endpoint, prepared, batch=True)

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
