"""An engine's answers as this server's own: the model's name, the form asked for, the errors.

What an embedded engine says passes as it is. What an upstream says is read: it names the model its
own way, may know one form of embeddings only, and what it says of itself is not for callers.
"""

import base64
import re
import struct
from collections.abc import AsyncIterator, Mapping
from types import MappingProxyType
from typing import Any

import orjson
import structlog

from linarite.engines.client import Reply
from linarite.errors import InferenceRefused

log = structlog.get_logger()

_MODEL = re.compile(rb'"model"\s*:\s*"(?:[^"\\]|\\.)*"')
_PASSED = ("retry-after", "retry-after-ms", "x-should-retry")
_ABOUT_THE_REQUEST = frozenset({400, 408, 409, 413, 422, 429})
"""Statuses that tell the caller something; others concern this server and its upstream."""
_PASSED_FAILURES = frozenset({500, 502, 503, 504})
_SHOWN = 500


async def renamed_events(chunks: AsyncIterator[bytes], model_id: str) -> AsyncIterator[bytes]:
    """Server-sent events as they come, each of them naming `model_id`.

    A chunk goes on at once but for its last line, when that is not whole yet.
    """
    rest = b""
    async for chunk in chunks:
        whole, line_end, rest = (rest + chunk).rpartition(b"\n")
        if line_end:
            lines = (_renamed(line, model_id) for line in whole.split(b"\n"))
            yield b"\n".join(lines) + line_end
    if rest:
        yield _renamed(rest, model_id)


def _renamed(line: bytes, model_id: str) -> bytes:
    """The line with its first `model` changed; inside a JSON string the quotes would be escaped."""
    named = b'"model":' + orjson.dumps(model_id)
    return _MODEL.sub(lambda _: named, line, count=1)


def whole_answer(
    reply: Reply,
    model_id: str,
    embedding_format: str | None,
    stamp: Mapping[str, Any] = MappingProxyType({}),
) -> Reply:
    """A successful answer of an upstream.

    Args:
        reply: what it answered.
        model_id: the model that the answer names.
        embedding_format: of embeddings, the form asked for; None for other answers.
        stamp: further fields that are said in place of the upstream's.

    Raises:
        InferenceRefused: it is no JSON object, or embeddings without vectors (502).
    """
    try:
        said = orjson.loads(reply.body)
    except orjson.JSONDecodeError:
        said = None
    if not isinstance(said, dict):
        raise _no_answer("it is no JSON object")
    said |= {"model": model_id, **stamp}
    if embedding_format is not None:
        try:
            _reform(said, embedding_format)
        except (KeyError, TypeError, ValueError, OverflowError, struct.error) as error:
            raise _no_answer(f"its vectors are none: {error}") from error
    return Reply(200, _kept(reply.headers), orjson.dumps(said))


def _no_answer(reason: str) -> InferenceRefused:
    log.error("an upstream answered 200 without an answer", reason=reason)
    return failure("The engine of this model answered something that is no answer.", 502)


def _reform(said: dict[str, Any], embedding_format: str) -> None:
    """Bring every vector into the form asked for; many servers know only numbers."""
    for item in said["data"]:
        vector = item["embedding"]
        if not isinstance(vector, list | str):
            raise TypeError(f"a vector is a {type(vector).__name__}")
        if embedding_format == "base64" and isinstance(vector, list):
            packed = struct.pack(f"<{len(vector)}f", *vector)
            item["embedding"] = base64.b64encode(packed).decode("ascii")
        elif embedding_format == "float" and isinstance(vector, str):
            packed = base64.b64decode(vector, validate=True)
            item["embedding"] = list(struct.unpack(f"<{len(packed) // 4}f", packed))


def refusal(reply: Reply, *, is_upstream: bool, secret: str | None = None) -> InferenceRefused:
    """What a caller is told of an answer that is no success.

    Args:
        reply: what the engine answered.
        is_upstream: whether the engine is someone else's server.
        secret: this server's key there, which its texts must not carry further.
    """
    if not is_upstream or reply.status in _ABOUT_THE_REQUEST:
        return _told(reply, secret)
    log.error("an upstream failed", status=reply.status)
    if reply.status in _PASSED_FAILURES:
        message = f"The engine of this model failed with {reply.status}; try again."
        return failure(message, reply.status, _kept(reply.headers))
    return failure(
        f"The engine of this model refused this server's own request with {reply.status}; the "
        "operator must look at the model's upstream.",
        503,
    )


def failure(
    message: str, status: int = 503, headers: Mapping[str, str] | None = None
) -> InferenceRefused:
    """An engine's failure in OpenAI's shape; 503 tells when to try again."""
    told = {"retry-after": "1", **(headers or {})} if status == 503 else dict(headers or {})
    return InferenceRefused(
        message, status=status, kind="server_error", code="serviceUnavailable", headers=told
    )


def as_json(refused: InferenceRefused) -> bytes:
    """The body that a refusal travels as."""
    return orjson.dumps(refused.body)


def _told(reply: Reply, secret: str | None) -> InferenceRefused:
    body = reply.body if secret is None else reply.body.replace(secret.encode(), b"***")
    try:
        said = orjson.loads(body)
    except orjson.JSONDecodeError:
        said = None
    said = said if isinstance(said, dict) else {}
    error = said["error"] if isinstance(said.get("error"), dict) else said
    message = error.get("message") or said.get("detail") or said.get("error")
    if not isinstance(message, str):  # a page of a proxy, or nothing
        text = body[:_SHOWN].decode("utf-8", "replace").strip()
        message = f"The engine of this model answered {reply.status}: {text}".removesuffix(": ")
    return InferenceRefused(
        message,
        status=400 if reply.status == 422 else reply.status,
        code=_text(error.get("code")),
        param=_text(error.get("param")),
        kind=_text(error.get("type")) or "invalid_request_error",
        headers=_kept(reply.headers),
    )


def _text(value: Any) -> str | None:
    return None if value is None or value == "" else str(value)


def _kept(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: headers[name] for name in _PASSED if name in headers}
