"""Inference: what a deployment's engine is sent, who answers, and what callers get of it.

Requests are held against OpenAI's ranges and the engine's capabilities here, once for chats and
batches alike; their bodies otherwise go to the engine as they came.
"""

import os
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from pydantic import ValidationError
from starlette.concurrency import run_in_threadpool

from linarite.engines.capabilities import Capabilities, first_unable
from linarite.engines.client import Engine, Engines, Reply, StreamReply
from linarite.engines.place import ModelPlace
from linarite.errors import InferenceRefused, InvalidPayload
from linarite.http.faults import invalid_body
from linarite.resources.deployments.records import Target
from linarite.resources.deployments.service import Deployments
from linarite.resources.inference import answers
from linarite.resources.models.records import ModelRecord
from linarite.wire.inference import ChatCompletionRequest, CompletionRequest, EmbeddingRequest
from linarite.wire.shapes import Incoming

CHAT = "/chat/completions"
COMPLETIONS = "/completions"
EMBEDDINGS = "/embeddings"

_REQUESTS: Mapping[str, type[Incoming]] = {
    CHAT: ChatCompletionRequest,
    COMPLETIONS: CompletionRequest,
    EMBEDDINGS: EmbeddingRequest,
}
_NEEDS: Mapping[str, tuple[str, str]] = {
    CHAT: ("chat", "chatCompletion"),
    COMPLETIONS: ("completion", "completion"),
    EMBEDDINGS: ("embeddings", "embeddings"),
}
"""The capability behind each operation, and the service's word for the operation."""
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
            return await engines.reach(self.place_of(model))
        # A tuned model's folder may have to be put together first.
        return await engines.reach(await run_in_threadpool(self.place_of, model))

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
        _check_operation(operation, target.model, able)
        try:
            _REQUESTS[operation].model_validate(body)
        except ValidationError as error:
            raise _refused(error.errors(include_url=False, include_input=False)) from None
        _check_parameters(operation, body, able)
        return orjson.dumps({**body, "model": target.model.id})

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
        if target.model.upstream is None:
            return reply
        form = (body.get("encoding_format") or "float") if operation == EMBEDDINGS else None
        return answers.whole_answer(reply, target.model.id, form)

    def settle(
        self, operation: str, target: Target, body: Mapping[str, Any], reply: Reply
    ) -> Reply:
        """What `finish` gives, or its refusal in the form that callers read."""
        try:
            return self.finish(operation, target, body, reply)
        except InferenceRefused as refused:
            return Reply(refused.status, refused.headers, answers.as_json(refused))

    def events(self, target: Target, reply: StreamReply) -> AsyncIterator[bytes]:
        """A successful stream as callers get it."""
        if target.model.upstream is None:
            return reply.chunks
        return answers.renamed_events(reply.chunks, target.model.id)

    def refusal(self, target: Target, reply: Reply) -> InferenceRefused:
        """What callers are told of an answer that is no success."""
        upstream = target.model.upstream
        named = upstream.api_key_env if upstream is not None else None
        secret = os.environ.get(named) if named else None
        return answers.refusal(reply, is_upstream=upstream is not None, secret=secret)


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
    unable = first_unable(body, able)
    if unable is not None:
        raise _unsupported(unable, f"this model's {able.name} does not support it")
    if body.get("store"):
        raise _unsupported("store", "this server does not store completions yet")
    if operation == EMBEDDINGS:  # whose `n`, if any, nobody has looked at: it has no such field
        if body.get("stream"):
            raise _unsupported("stream", "embeddings come whole")
    elif (body.get("n") or 1) > able.most_answers:
        raise _unsupported("n", f"this model's {able.name} gives at most {able.most_answers}")


def _unsupported(param: str, why: str) -> InferenceRefused:
    return InferenceRefused(
        f"Unsupported value for `{param}`: {why}.", param=param, code="unsupported_parameter"
    )
