"""How a server of someone else is addressed: by its name for a model, and with its own key."""

import os
from collections.abc import Mapping

import orjson

from linarite.engines.refusals import EngineFailure
from linarite.settings import Upstream

_BATCH_PRIORITY = 10


def addressed(body: bytes, is_batch: bool, upstream: Upstream, model_id: str) -> bytes:
    """The body under the name that the upstream knows the model by.

    A caller's own `priority` goes no further where priorities are how chats pass batches.
    """
    request = orjson.loads(body)
    request["model"] = upstream.model or model_id
    if upstream.priority:
        request.pop("priority", None)
        if is_batch:
            request["priority"] = _BATCH_PRIORITY
    return orjson.dumps(request)


def with_key(given: Mapping[str, str], upstream: Upstream) -> dict[str, str]:
    """The headers that it gets.

    Raises:
        EngineFailure: the variable that is to hold its key is not set.
    """
    headers = {**given, "content-type": "application/json"}
    if upstream.api_key_env is not None:
        headers["authorization"] = f"Bearer {_key(upstream.api_key_env)}"
    return headers


def _key(name: str) -> str:
    key = os.environ.get(name)
    if not key:
        raise EngineFailure(
            f"The environment variable {name}, which holds this model's upstream key, is not set."
        )
    return key
