"""Inference: what a deployment's engine is sent, and who answers.

Requests are held against OpenAI's ranges and the engine's capabilities here, once for chats and
batches alike; their bodies otherwise go to the engine as they came.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from pydantic import ValidationError
from starlette.concurrency import run_in_threadpool

from linarite.engines.capabilities import Capabilities, capabilities
from linarite.engines.client import Engine, Engines
from linarite.engines.place import ModelPlace
from linarite.errors import InferenceRefused, InvalidPayload
from linarite.http.faults import invalid_body
from linarite.resources.deployments.records import Target
from linarite.resources.deployments.service import Deployments
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
        return await engines.reach(self.place_of(target.model))

    def prepare(self, operation: str, target: Target, body: dict[str, Any]) -> bytes:
        """What the engine is sent for `body`.

        Args:
            operation: `CHAT`, `COMPLETIONS` or `EMBEDDINGS`.
            target: who answers.
            body: the request; its `model` becomes the id of the model that answers.

        Raises:
            InferenceRefused: a parameter is out of range, or the model cannot do that.
        """
        _check_ability(operation, target.model)
        try:
            _REQUESTS[operation].model_validate(body)
        except ValidationError as error:
            raise _refused(error.errors(include_url=False, include_input=False)) from None
        if body.get("store"):
            raise InferenceRefused(
                "`store` cannot be true: this server does not store completions yet.",
                param="store",
                code="unsupported_parameter",
            )
        return orjson.dumps({**body, "model": target.model.id})


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


def _check_ability(operation: str, model: ModelRecord) -> None:
    able: Capabilities = capabilities(
        is_embedded=model.upstream is None, is_embedding=model.kind == "embedding"
    )
    capability, word = _NEEDS[operation]
    if not getattr(able, capability):
        raise InferenceRefused(
            f"The {word} operation does not work with the specified model, {model.id}. Please "
            "choose different model and try again. You can learn more about which models can be "
            f"used with each operation here: {_MODELS_HELP}",
            code="OperationNotSupported",
        )
