"""JSON bodies: read with bounds, parsed strictly, validated into wire objects.

Everything that can be wrong with one is told at once, in the contract's form: `details` lists
each fault with the JSON path it stands at. Of a key that is given twice the last value counts, as
in every JSON library.
"""

from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

import orjson
from fastapi import Depends, Request
from pydantic import BaseModel, ValidationError

from linarite.errors import InvalidPayload, PayloadTooLarge, UnsupportedMediaType
from linarite.http.faults import invalid_body

M = TypeVar("M", bound=BaseModel)

JSON = ("application/json",)
JSON_OF_UPLOADS = ("application/json", "text/json", "application/*+json")
"""What the contract lets UploadFile_Start and UploadFile_Complete consume."""

AUTHORING_BYTES = 4 << 20
"""No body of an authoring operation has reason to be longer; Python objects are 20 times that."""


def json_body(model: type[M], content_types: Sequence[str] = JSON) -> Any:
    """A dependency that gives the body of an authoring operation as a `model`.

    Raises (when the request is served):
        UnsupportedMediaType: the content type is none of `content_types`.
        PayloadTooLarge: the body is longer than 4 MiB or `limits.json_body_bytes`.
        InvalidPayload: it is not JSON, or not what `model` says; with every fault.
    """

    async def read(request: Request) -> M:
        parsed = parse_json(await read_body(request, content_types, AUTHORING_BYTES))
        return validated(model, parsed)

    return Depends(read)


async def json_object(request: Request) -> dict[str, Any]:
    """The body of an inference request, which must be a JSON object.

    Raises:
        UnsupportedMediaType: the content type is not JSON.
        PayloadTooLarge: the body is longer than `limits.json_body_bytes`.
        InvalidPayload: it is not a JSON object.
    """
    parsed = parse_json(await read_body(request))
    if not isinstance(parsed, dict):
        raise InvalidPayload("The body must be a JSON object.", target="$")
    return parsed


async def read_body(
    request: Request, content_types: Sequence[str] = JSON, limit: int | None = None
) -> bytes:
    """The whole body: its type is checked first, its length bounded by `limit` and the setting."""
    check_content_type(request, content_types)
    allowed: int = request.app.state.json_body_bytes
    allowed = allowed if limit is None else min(limit, allowed)
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > allowed:
        raise _too_large(allowed)
    pieces: list[bytes] = []
    size = 0
    async for piece in request.stream():
        size += len(piece)
        if size > allowed:
            raise _too_large(allowed)
        pieces.append(piece)
    return b"".join(pieces)


def check_content_type(request: Request, content_types: Sequence[str]) -> None:
    """Raise UnsupportedMediaType unless the request's content type is one of `content_types`."""
    sent = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if not any(_covers(taken, sent) for taken in content_types):
        raise UnsupportedMediaType(
            f"The content type is {repr(sent[:100]) if sent else 'missing'}; this operation takes "
            f"{' or '.join(content_types)}.",
            target="Content-Type",
        )
    encoding = request.headers.get("content-encoding", "identity")
    if encoding.lower() != "identity":
        raise UnsupportedMediaType(
            f"The content encoding is {encoding[:100]!r}; send the body as it is.",
            target="Content-Encoding",
        )


def parse_json(body: bytes) -> Any:
    """The value that `body` is the JSON of.

    Raises:
        InvalidPayload: it is no JSON (lone surrogates, numbers without end and nesting beyond
            1,024 included), or a string in it holds a NUL, which no database takes.
    """
    try:
        parsed = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidPayload(f"The body is not valid JSON: {error}.") from None
    if b"\\u0000" in body and any("\0" in text for text in _texts(parsed)):
        raise InvalidPayload("The body holds a NUL character, which is not taken anywhere.")
    return parsed


def validated(model: type[M], value: Any) -> M:
    """`value` as a `model`; raises InvalidPayload with every fault."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise invalid_body(error.errors(include_url=False, include_input=False)) from None


def _too_large(limit: int) -> PayloadTooLarge:
    return PayloadTooLarge(f"The body is longer than {limit} bytes, which is the limit.")


def _covers(taken: str, sent: str) -> bool:
    if "*" not in taken:
        return taken == sent
    before, after = taken.split("*")
    return sent.startswith(before) and sent.endswith(after) and len(sent) >= len(taken)


def _texts(value: Any) -> Iterator[str]:
    """Every key and string of a parsed value; without recursion, as it may nest deeply."""
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, str):
            yield one
        elif isinstance(one, dict):
            yield from one
            waiting.extend(one.values())
        elif isinstance(one, list):
            waiting.extend(one)
