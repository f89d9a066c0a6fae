"""Inference as clients call it: under a deployment, or with the deployment's name as `model`.

Answers pass through as the engine gives them. A caller that goes away takes its request along:
the engine stops working on it.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Mapping
from contextlib import AsyncExitStack
from typing import Annotated, Any, TypeVar

import structlog
from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import StreamingResponse
from starlette.requests import ClientDisconnect

from linarite.engines.client import Engine, Engines, StreamReply
from linarite.engines.refusals import EngineFailure
from linarite.errors import InferenceRefused, InvalidPayload, ServiceUnavailable
from linarite.http.auth import Resource
from linarite.http.bodies import raw_json
from linarite.http.wiring import part
from linarite.resources.inference.service import (
    CHAT,
    COMPLETIONS,
    EMBEDDINGS,
    Inference,
    as_inference,
)

T = TypeVar("T")

router = APIRouter()
"""Under ``/deployments/{deployment}``, as Azure's clients call it."""
plain_router = APIRouter()
"""Under ``/openai/v1`` alone, where `model` names the deployment, as OpenAI's clients call it."""

InferencePart = Annotated[Inference, Depends(part(Inference))]

log = structlog.get_logger()

_PASSED = ("retry-after", "retry-after-ms", "x-should-retry")
_STREAM_HEADERS = {"cache-control": "no-cache, must-revalidate", "x-accel-buffering": "no"}


@router.post("/deployments/{deployment}/chat/completions", name="ChatCompletions_Create")
async def create_chat_completion(
    request: Request, inference: InferencePart, resource: Resource, deployment: str
) -> Response:
    """Answer a chat."""
    return await _answer(request, inference, resource, CHAT, deployment)


@router.post("/deployments/{deployment}/completions", name="Completions_Create")
async def create_completion(
    request: Request, inference: InferencePart, resource: Resource, deployment: str
) -> Response:
    """Continue a text."""
    return await _answer(request, inference, resource, COMPLETIONS, deployment)


@router.post("/deployments/{deployment}/embeddings", name="Embeddings_Create")
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
        _, body = await raw_json(request)
    except InvalidPayload as refusal:
        raise as_inference(refusal) from None
    target = await inference.target(resource, deployment or _named(body))
    prepared = inference.prepare(operation, target, body)
    try:
        engine = await _while_there(request, inference.engine(_engines(request), target))
        if body.get("stream"):
            return await _stream(request, engine, operation, prepared)
        reply = await _while_there(request, engine.post(operation, prepared))
    except ServiceUnavailable as failure:
        raise _unavailable(failure) from failure
    return _passed(reply.status, reply.headers, reply.body)


async def _stream(request: Request, engine: Engine, operation: str, prepared: bytes) -> Response:
    """The answer as it comes; refusals come whole, before anything was streamed."""
    async with AsyncExitStack() as stack:
        opening = stack.enter_async_context(engine.stream(operation, prepared))
        reply = await _while_there(request, opening)
        if reply.status != 200:
            body = b"".join([chunk async for chunk in reply.chunks])
            return _passed(reply.status, reply.headers, body)
        chunks = _chunks(reply, stack.pop_all())
    return StreamingResponse(chunks, media_type="text/event-stream", headers=_STREAM_HEADERS)


async def _chunks(reply: StreamReply, connection: AsyncExitStack) -> AsyncIterator[bytes]:
    async with connection:
        try:
            async for chunk in reply.chunks:
                yield chunk
        except EngineFailure as failure:
            log.warning("an engine broke off its stream", reason=failure.message)
            yield _BROKEN_OFF


_BROKEN_OFF = (
    b'data: {"error":{"message":"The engine ended while it answered; try again.",'
    b'"type":"server_error","param":null,"code":"serviceUnavailable"}}\n\n'
)


def _passed(status: int, headers: Mapping[str, str], body: bytes) -> Response:
    """An engine's answer as this server's; what only concerns the two of them stays here."""
    if status in {401, 403, 404, 405} or 300 <= status < 400:
        log.error("an upstream refused this server", status=status, body=body[:500])
        raise InferenceRefused(
            f"The engine of this model refused this server's request with {status}; its operator "
            "must look at the model's upstream.",
            status=503,
            kind="server_error",
            code="serviceUnavailable",
        )
    kept = {name: headers[name] for name in _PASSED if name in headers}
    return Response(body, status, headers=kept, media_type="application/json")


def _unavailable(failure: ServiceUnavailable) -> InferenceRefused:
    headers = {"retry-after": "1", **failure.headers}
    return InferenceRefused(
        failure.message,
        status=503,
        kind="server_error",
        code="serviceUnavailable",
        headers=headers,
    )


def _named(body: dict[str, Any]) -> str:
    name = body.get("model")
    if not isinstance(name, str) or not name:
        raise InferenceRefused("you must provide a model parameter", param="model")
    return name


def _engines(request: Request) -> Engines:
    engines: Engines = request.app.state.engines
    return engines


async def _while_there(request: Request, work: Awaitable[T]) -> T:
    """What `work` gives; it is cancelled when the caller goes away first."""
    working = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        raise ClientDisconnect
    finally:
        for task in (working, leaving):
            task.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        continue
