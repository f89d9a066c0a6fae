"""Inference: what a deployment's engine is sent, who answers, and what callers get of it.

Requests are held against OpenAI's ranges and the engine's capabilities here, once for chats and
batches alike; their bodies otherwise go to the engine as they came.
"""

import os
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
import structlog
from pydantic import ValidationError
from starlette.concurrency import run_in_threadpool

from linarite import ids
from linarite.engines.capabilities import Capabilities, first_unable
from linarite.engines.client import Engine, Engines, Reply, StreamReply
from linarite.engines.place import ModelPlace
from linarite.errors import InferenceRefused, InvalidPayload
from linarite.http.faults import invalid_body
from linarite.http.metadata import check_metadata
from linarite.resources.deployments.records import Target
from linarite.resources.deployments.service import Deployments
from linarite.resources.inference import answers
from linarite.resources.inference.response_formats import check_response_format, size_of
from linarite.resources.inference.storing import to_store
from linarite.resources.inference.tools import check_tools
from linarite.resources.models.records import ModelRecord
from linarite.resources.stored_completions.making import NotStorable
from linarite.resources.stored_completions.records import NewCompletion
from linarite.wire.inference import ChatCompletionRequest, CompletionRequest, EmbeddingRequest
from linarite.wire.shapes import Incoming

CHAT = "/chat/completions"
COMPLETIONS = "/completions"
EMBEDDINGS = "/embeddings"
MOST_DEPTH = 254
"""Arrays and objects within each other, in a body; no more are written as JSON."""

REQUESTS: Mapping[str, type[Incoming]] = {
    CHAT: ChatCompletionRequest,
    COMPLETIONS: CompletionRequest,
    EMBEDDINGS: EmbeddingRequest,
}
"""What the body of each operation declares."""
_NEEDS: Mapping[str, tuple[str, str]] = {
    CHAT: ("chat", "chatCompletion"),
    COMPLETIONS: ("completion", "completion"),
    EMBEDDINGS: ("embeddings", "embeddings"),
}
"""The capability behind each operation, and the service's word for the operation."""
log = structlog.get_logger()

_MODELS_HELP = "https://go.microsoft.com/fwlink/?linkid=2197993"


@dataclass(frozen=True)
class Inference:
    """Answers of deployments.

    Args:
        deployments: which model a name means.
        place_of: where a model is.
    """

    deployments: Deployments
    place_of: Callable[[ModelRecord], ModelPlace]

    async def target(self, resource: str, name: str) -> Target:
        """The deployment `name` of `resource`; a name asked a moment ago costs no query.

        Raises:
            DeploymentNotFound: there is none.
        """
        known = self.deployments.recall(resource, name)
        if known is not None:
            return known
        return await run_in_threadpool(self.deployments.look_up, resource, name)

    async def engine(self, engines: Engines, target: Target) -> Engine:
        """The engine behind `target`; an embedded one is started if it does not run."""
        model = target.model
        if model.base is None:
            place = self.place_of(model)
        else:  # a tuned model's folder may have to be put together first
            place = await run_in_threadpool(self.place_of, model)
        return await engines.reach(place.answering_for(target.deployment.deterministic))

    def prepare(self, operation: str, target: Target, body: dict[str, Any]) -> bytes:
        """What the engine is sent for `body`.

        Args:
            operation: `CHAT`, `COMPLETIONS` or `EMBEDDINGS`.
            target: who answers.
            body: the request; its `model` becomes the id of the model that answers.

        Raises:
            InferenceRefused: a parameter is out of range, or the model cannot do that.
        """
        able = target.model.able
        _check_determinism(target)
        _check_operation(operation, target.model, able)
        try:
            check_metadata(body.get("metadata"))
            request = REQUESTS[operation].model_validate(body)
        except InvalidPayload as refusal:
            raise as_inference(refusal) from None
        except ValidationError as error:
            raise _refused(error.errors(include_url=False, include_input=False)) from None
        _check_parameters(operation, body, able)
        if isinstance(request, ChatCompletionRequest):
            check_tools(body)
            check_response_format(request)
        return _written({**_for_engine(body), "model": target.model.id})

    def finish(
        self, operation: str, target: Target, body: Mapping[str, Any], reply: Reply
    ) -> Reply:
        """A whole answer as callers get it.

        Args:
            operation: what was asked.
            target: who answered.
            body: the request.
            reply: what the engine said.

        Raises:
            InferenceRefused: it is no success.
        """
        if reply.status != 200:
            raise self.refusal(target, reply)
        if target.model.upstream is None:  # its headers are about its own connection
            return Reply(reply.status, {}, reply.body)
        form = (body.get("encoding_format") or "float") if operation == EMBEDDINGS else None
        stamp = self.stamp(target) if body.get("store") else {}
        return answers.whole_answer(reply, target.model.id, form, stamp)

    def settle(
        self, operation: str, target: Target, body: Mapping[str, Any], reply: Reply
    ) -> Reply:
        """What `finish` gives, or its refusal in the form that callers read."""
        try:
            return self.finish(operation, target, body, reply)
        except InferenceRefused as refused:
            return Reply(refused.status, refused.headers, answers.as_json(refused))

    def to_store(
        self,
        operation: str,
        target: Target,
        body: Mapping[str, Any],
        answer: bytes,
        request_id: str,
    ) -> NewCompletion | None:
        """What is to be stored of a batch's answer; None where nothing is, or can be."""
        if operation != CHAT or not body.get("store"):
            return None
        try:
            return to_store(target, body, orjson.loads(answer), request_id)
        except NotStorable as error:
            log.error("an answer of a batch is not stored", reason=str(error))
            return None

    def events(self, target: Target, reply: StreamReply) -> AsyncIterator[bytes]:
        """A successful stream as callers get it."""
        if target.model.upstream is None:
            return reply.chunks
        return answers.renamed_events(reply.chunks, target.model.id)

    def stamp(self, target: Target) -> dict[str, Any]:
        """What a stored answer of `target` says in place of its engine's own words.

        Some upstreams give the same id again and again, and a stored answer is found by its id.
        """
        if target.model.upstream is None:
            return {}
        created = self.deployments.clock.now()
        return {"id": ids.completion_id(), "created": created, "model": target.model.id}

    def refusal(self, target: Target, reply: Reply) -> InferenceRefused:
        """What callers are told of an answer that is no success."""
        upstream = target.model.upstream
        named = upstream.api_key_env if upstream is not None else None
        secret = os.environ.get(named) if named else None
        return answers.refusal(reply, is_upstream=upstream is not None, secret=secret)


def _for_engine(body: dict[str, Any]) -> dict[str, Any]:
    """A request without what this server does itself: an engine that stores would do it again.

    Of a stream that is stored the usage is wanted, whether or not the caller wants it.
    """
    if not body.get("store"):
        return body
    asked = {name: value for name, value in body.items() if name not in {"store", "metadata"}}
    if body.get("stream"):
        asked["stream_options"] = {**(body.get("stream_options") or {}), "include_usage": True}
    return asked


def _written(body: Mapping[str, Any]) -> bytes:
    try:
        return orjson.dumps(body)
    except TypeError:  # of what was read from JSON there is only too much within itself
        deep = next(name for name, value in body.items() if size_of([value]) is None)
        raise InferenceRefused(
            f"`{deep}` nests its arrays and objects too deep; at most {MOST_DEPTH} are taken "
            "within each other, the body among them.",
            param=deep,
        ) from None


def as_inference(refusal: InvalidPayload) -> InferenceRefused:
    """A refused body in OpenAI's shape, which is what inference clients read."""
    return InferenceRefused(
        refusal.message,
        status=refusal.status,
        param=_param(refusal.target),
        headers=refusal.headers,
    )


def _refused(errors: Sequence[Any]) -> InferenceRefused:
    return as_inference(invalid_body(errors))


def _param(target: str | None) -> str | None:
    return target.removeprefix("$.").removeprefix("$") or None if target else None


def _check_determinism(target: Target) -> None:
    """Its model may have become another since it was deployed."""
    if target.deployment.deterministic and target.model.upstream is not None:
        raise InferenceRefused(
            f"The deployment {target.deployment.id!r} is deterministic, and its model is answered "
            "by an upstream now, which promises nothing of the kind."
        )


def _check_operation(operation: str, model: ModelRecord, able: Capabilities) -> None:
    capability, word = _NEEDS[operation]
    if not getattr(able, capability):
        raise InferenceRefused(
            f"The {word} operation does not work with the specified model, {model.id}. Please "
            "choose different model and try again. You can learn more about which models can be "
            f"used with each operation here: {_MODELS_HELP}",
            code="OperationNotSupported",
        )


def _check_parameters(operation: str, body: Mapping[str, Any], able: Capabilities) -> None:
    lacking = first_unable(body, _NEEDS[operation][0], able)
    if lacking is not None:
        raise InferenceRefused(lacking.text, param=lacking.param, code="unsupported_parameter")
    if body.get("store") and operation != CHAT:
        raise _unsupported("store", "only chats can be stored")
    if operation == EMBEDDINGS:  # whose `n`, if any, nobody has looked at: it has no such field
        if body.get("stream"):
            raise _unsupported("stream", "embeddings come whole")
    elif (body.get("n") or 1) > able.most_answers:
        raise _unsupported("n", f"this model's {able.name} gives at most {able.most_answers}")


def _unsupported(param: str, why: str) -> InferenceRefused:
    return InferenceRefused(
        f"Unsupported value for `{param}`: {why}.", param=param, code="unsupported_parameter"
    )
