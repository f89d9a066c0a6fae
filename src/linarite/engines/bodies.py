"""What comes in and goes out over HTTP between this server and the engines of its machine."""

from typing import Any

import orjson
from aiohttp import web

from linarite.errors import InferenceRefused


async def json_object(request: web.Request) -> dict[str, Any]:
    """The body of a request; raises InferenceRefused where it is no JSON object."""
    try:
        body = orjson.loads(await request.read())
    except orjson.JSONDecodeError as error:
        raise InferenceRefused(
            f"We could not parse the JSON body of your request: {error}"
        ) from error
    if not isinstance(body, dict):
        raise InferenceRefused("The body of the request must be a JSON object.")
    return body


def is_batch(request: web.Request) -> bool:
    """Whether chats go first."""
    return request.headers.get("x-linarite-priority") == "batch"


def reply(
    body: dict[str, Any], status: int = 200, headers: dict[str, str] | None = None
) -> web.Response:
    """An answer of JSON."""
    return web.Response(
        body=orjson.dumps(body), status=status, headers=headers, content_type="application/json"
    )
