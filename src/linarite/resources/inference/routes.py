"""Inference as clients call it: under a deployment, or with the deployment's name as `model`.

A caller that goes away takes its request along: the engine stops working on it.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from functools import partial
from types import MappingProxyType
from typing import Annotated, Any

import orjson
import structlog
from fastapi import APIRouter, Depends, Request, Response

from linarite.engines.client import Engines, Reply, StreamReply
from linarite.engines.refusals import EngineUnreachable
from linarite.errors import InferenceRefused, InvalidPayload, ServiceUnavailable
from linarite.http.auth import Resource
from linarite.http.bodies import json_object
from linarite.http.links import root
from linarite.http.metrics import Metrics
from linarite.http.wiring import part
from linarite.resources.deployments.records import Target
from linarite.resources.inference import data_sources
from linarite.resources.inference.answers import failure
from linarite.resources.inference.filtering import ContentFilter, Filtering
from linarite.resources.inference.grounding import Answering, Grounded, Grounding
from linarite.resources.inference.limits import RateLimits
from linarite.resources.inference.service import (
    CHAT,
    COMPLETIONS,
    EMBEDDINGS,
    Inference,
    as_inference,
)
from linarite.resources.inference.storing import STORED, Storing
from linarite.resources.inference.streams import PassedStream, while_there
from linarite.resources.stored_completions.writing import GroupWriter

router = APIRouter()
"""Under ``/deployments/{deployment}``, as Azure's clients call it."""
plain_router = APIRouter()
"""Under ``/openai/v1`` alone, where `model` names the deployment, as OpenAI's clients call it."""

InferencePart = Annotated[Inference, Depends(part(Inference))]
_NO_LIMITS: Mapping[str, str] = MappingProxyType({})
Events = Callable[[StreamReply], AsyncIterator[bytes]]

log = structlog.get_logger()


@router.post("/deployments/{deployment:path}/chat/completions", name="ChatCompletions_Create")
async def create_chat_completion(
    request: Request, inference: InferencePart, resource: Resource, deployment: str
) -> Response:
    """Answer a chat."""
    return await _answer(request, inference, resource, CHAT, deployment)


@router.post("/deployments/{deployment:path}/completions", name="Completions_Create")
async def create_completion(
    request: Request, inference: InferencePart, resource: Resource, deployment: str
) -> Response:
    """Continue a text."""
    return await _answer(request, inference, resource, COMPLETIONS, deployment)


@router.post("/deployments/{deployment:path}/embeddings", name="Embeddings_Create")
async def create_embedding(
    request: Request, inference: InferencePart, resource: Resource, deployment: str
) -> Response:
    """Embed texts."""
    return await _answer(request, inference, resource, EMBEDDINGS, deployment)


@plain_router.post("/chat/completions", name="ChatCompletions_Create_v1")
async def create_plain_chat_completion(
    request: Request, inference: InferencePart, resource: Resource
) -> Response:
    """Answer a chat."""
    return await _answer(request, inference, resource, CHAT)


@plain_router.post("/completions", name="Completions_Create_v1")
async def create_plain_completion(
    request: Request, inference: InferencePart, resource: Resource
) -> Response:
    """Continue a text."""
    return await _answer(request, inference, resource, COMPLETIONS)


@plain_router.post("/embeddings", name="Embeddings_Create_v1")
async def create_plain_embedding(
    request: Request, inference: InferencePart, resource: Resource
) -> Response:
    """Embed texts."""
    return await _answer(request, inference, resource, EMBEDDINGS)


async def _answer(
    request: Request,
    inference: Inference,
    resource: str,
    operation: str,
    deployment: str | None = None,
) -> Response:
    try:
        body = await json_object(request)
    except InvalidPayload as refusal:
        raise as_inference(refusal) from None
    target = await inference.target(resource, deployment or _named(body))
    source, body = data_sources.read(body) if operation == CHAT else (None, body)
    prepared = inference.prepare(operation, target, body)
    limits = await _admit(request, operation, target, body)
    try:
        grounded = None
        if source is not None:
            grounded = await _grounded(request, resource, target, source, body)
            prepared = inference.prepare(operation, target, grounded.body)
            limits = await _grown(request, operation, target, body, grounded, limits)
        return await _answer_admitted(
            request, inference, resource, operation, target, body, prepared, limits, grounded
        )
    except InferenceRefused as refused:  # it was counted all the same
        refused.headers = {**refused.headers, **limits}
        raise


async def _answer_admitted(
    request: Request,
    inference: Inference,
    resource: str,
    operation: str,
    target: Target,
    body: dict[str, Any],
    prepared: bytes,
    limits: Mapping[str, str],
    grounded: Grounded | None,
) -> Response:
    """The answer to a request that was let in; `limits` are among its headers."""
    filtering = _filtering(request, operation, body if grounded is None else grounded.body)
    if filtering is not None:
        await while_there(request.receive, filtering.check_prompt())
    reaching = _reaching(request, inference, target, grounded)
    try:
        storing = _storing(request, resource, target, body) if body.get("store") else None
        if body.get("stream"):
            events = _events(inference, target, storing)
            if filtering is not None:
                events = filtering.around(events)
            if grounded is not None:
                events = grounded.around(events)
            return await _stream(
                request, inference, target, reaching, operation, prepared, events, limits
            )
        reply = await while_there(request.receive, _ask(reaching, operation, prepared))
    except EngineUnreachable as lost:  # which address did not answer is not for callers
        log.warning("an engine did not answer", reason=lost.message)
        raise failure(f"The engine of {target.model.id} does not answer; try again.") from lost
    except ServiceUnavailable as unavailable:
        raise failure(unavailable.message, headers=unavailable.headers) from unavailable
    finished = inference.finish(operation, target, body, reply)
    if filtering is not None:
        finished = await while_there(request.receive, filtering.checked(finished))
    said = finished if grounded is None else grounded.whole(finished)
    headers = {"cache-control": "no-cache, must-revalidate", **said.headers, **limits}
    if storing is not None and not await storing.keep(orjson.loads(finished.body)):
        headers[STORED] = "false"
    return Response(said.body, headers=headers, media_type="application/json")


async def _admit(
    request: Request, operation: str, target: Target, body: dict[str, Any]
) -> Mapping[str, str]:
    """Hold the request against its deployment's rate limits; gives the headers that tell them."""
    if not target.deployment.is_limited:
        return _NO_LIMITS
    limits: RateLimits = request.app.state.parts[RateLimits]
    name = request.scope["route"].name.removesuffix("_v1")
    version = request.query_params.get("api-version", "v1")
    return await limits.admit(operation, name, version, target, body)


async def _grown(
    request: Request,
    operation: str,
    target: Target,
    body: dict[str, Any],
    grounded: Grounded,
    limits: Mapping[str, str],
) -> Mapping[str, str]:
    """The headers of `_admit` once the documents are counted, too."""
    if not target.deployment.is_limited or grounded.unasked is not None:
        return limits
    rates: RateLimits = request.app.state.parts[RateLimits]
    return {**limits, **await rates.grow(operation, target, body, grounded.body)}


async def _grounded(
    request: Request,
    resource: str,
    target: Target,
    source: data_sources.Source,
    asked: dict[str, Any],
) -> Grounded:
    """The chat with what was found for it, while its caller is there."""
    grounding: Grounding = request.app.state.parts[Grounding]
    engines, address = _engines(request), root(request)
    work = grounding.ground(engines, resource, target, source, asked, address)
    try:
        return await while_there(request.receive, work)
    except EngineUnreachable as lost:
        log.warning("an embedding engine did not answer", reason=lost.message)
        raise failure("The engine that embeds the question does not answer; try again.") from lost
    except ServiceUnavailable as unavailable:
        raise failure(unavailable.message, headers=unavailable.headers) from unavailable


async def _reaching(
    request: Request, inference: Inference, target: Target, grounded: Grounded | None
) -> Answering:
    """What answers: the target's engine, unless nothing was found that it could answer from."""
    if grounded is not None and grounded.unasked is not None:
        return grounded.unasked
    return await inference.engine(_engines(request), target)


async def _ask(reaching: Awaitable[Answering], operation: str, prepared: bytes) -> Reply:
    engine = await reaching
    return await engine.post(operation, prepared)


async def _stream(
    request: Request,
    inference: Inference,
    target: Target,
    reaching: Awaitable[Answering],
    operation: str,
    prepared: bytes,
    events: Events,
    headers: Mapping[str, str],
) -> Response:
    """The answer as it comes; refusals come whole, before anything was streamed."""
    async with AsyncExitStack() as stack:

        async def opened() -> StreamReply:
            engine = await reaching
            return await stack.enter_async_context(engine.stream(operation, prepared))

        reply = await while_there(request.receive, opened())
        if reply.status != 200:
            body = b"".join([chunk async for chunk in reply.chunks])
            raise inference.refusal(target, Reply(reply.status, reply.headers, body))
        return PassedStream(events(reply), stack.pop_all(), headers)


def _events(inference: Inference, target: Target, storing: Storing | None) -> Events:
    """What makes the events that callers get of those that an engine sends."""
    if storing is None:
        return partial(inference.events, target)
    stamp = inference.stamp(target)
    shows_usage = (storing.asked.get("stream_options") or {}).get("include_usage", False)

    def stored(reply: StreamReply) -> AsyncIterator[bytes]:
        return storing.events(reply.chunks, stamp, shows_usage=shows_usage)

    return stored


def _filtering(request: Request, operation: str, body: dict[str, Any]) -> Filtering | None:
    """The content filter, where there is one and the operation makes texts of texts."""
    content_filter: ContentFilter | None = request.app.state.parts.get(ContentFilter)
    if content_filter is None or operation == EMBEDDINGS:
        return None
    return Filtering(content_filter, _engines(request), operation, body)


def _storing(request: Request, resource: str, target: Target, body: dict[str, Any]) -> Storing:
    parts = request.app.state.parts
    request_id = request.scope["linarite.request_id"]
    return Storing(parts[GroupWriter], parts[Metrics], resource, target, body, request_id)


def _named(body: dict[str, Any]) -> str:
    name = body.get("model")
    if not isinstance(name, str) or not name:
        raise InferenceRefused("you must provide a model parameter", param="model")
    return name


def _engines(request: Request) -> Engines:
    engines: Engines = request.app.state.engines
    return engines
