"""JSON bodies: read with bounds, parsed strictly, validated into wire objects.

Everything that can be wrong with one is told at once, in the contract's form: `details` lists
each fault with the JSON path it stands at.
"""

from collections.abc import Sequence
from typing import Any, TypeVar

import orjson
from fastapi import Depends, Request
from pydantic import BaseModel, ValidationError

from linarite.errors import Fault, InvalidPayload, PayloadTooLarge, UnsupportedMediaType

M = TypeVar("M", bound=BaseModel)

JSON = ("application/json",)
JSON_OF_UPLOADS = ("application/json", "text/json", "application/*+json")
"""What the contract lets UploadFile_Start and UploadFile_Complete consume."""

_FAULTS_SHOWN = 50


def json_body(model: type[M], content_types: Sequence[str] = JSON) -> Any:
    """A dependency that gives the request's body as a `model`.

    Raises (when the request is served):
        UnsupportedMediaType: the content type is none of `content_types`.
        PayloadTooLarge: the body is longer than `limits.json_body_bytes`.
        InvalidPayload: it is not JSON, or not what `model` says; with every fault.
    """

    async def read(request: Request) -> M:
        parsed = parse_json(await read_body(request, content_types))
        return validated(model, parsed)

    return Depends(read)


async def read_body(request: Request, content_types: Sequence[str] = JSON) -> bytes:
    """The whole body, which is small by nature: its type is checked and its length bounded."""
    check_content_type(request, content_types)
    limit: int = request.app.state.json_body_bytes
    pieces: list[bytes] = []
    size = 0
    async for piece in request.stream():
        size += len(piece)
        if size > limit:
            raise PayloadTooLarge(f"The body is longer than {limit} bytes, which is the limit.")
        pieces.append(piece)
    return b"".join(pieces)


def check_content_type(request: Request, content_types: Sequence[str]) -> None:
    """Raise UnsupportedMediaType unless the request's content type is one of `content_types`."""
    sent = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if not any(_covers(taken, sent) for taken in content_types):
        raise UnsupportedMediaType(
            f"The content type is {sent or 'missing'!r}; this operation takes "
            f"{' or '.join(content_types)}.",
            target="Content-Type",
        )


def parse_json(body: bytes) -> Any:
    """The value that `body` is the JSON of.

    Raises:
        InvalidPayload: it is no JSON (lone surrogates and endless nesting included), or a string
            in it holds a NUL, which no database takes.
    """
    try:
        parsed = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidPayload(f"The body is not valid JSON: {error}.") from None
    if b"\\u0000" in body and (path := _path_of_nul(parsed, "$")) is not None:
        raise InvalidPayload(f"{path} holds a NUL character.", target=path)
    return parsed


def validated(model: type[M], value: Any) -> M:
    """`value` as a `model`; raises InvalidPayload with every fault."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise invalid_payload(error.errors(include_url=False, include_input=False)) from None


def invalid_payload(errors: Sequence[Any]) -> InvalidPayload:
    """The refusal that pydantic's `errors` amount to; the message is the first fault's."""
    faults = [_fault(error) for error in errors[:_FAULTS_SHOWN]]
    first = faults[0]
    return InvalidPayload(first.message, target=first.target, faults=faults)


def _fault(error: Any) -> Fault:
    location = [part for part in error["loc"] if part not in {"body", "query", "path", "header"}]
    path = "$" + "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in location)
    name = str(location[-1]) if location else "the body"
    if error["type"] == "missing":
        return Fault(path, f"`{name}` is required.")
    said = error["msg"][0].lower() + error["msg"][1:]
    return Fault(path, f"Invalid value for `{name}`: {said}.")


def _covers(taken: str, sent: str) -> bool:
    if "*" not in taken:
        return taken == sent
    before, after = taken.split("*")
    return sent.startswith(before) and sent.endswith(after) and len(sent) > len(taken) - 1


def _path_of_nul(value: Any, path: str) -> str | None:
    if isinstance(value, str):
        return path if "\0" in value else None
    children: Sequence[tuple[str, Any]] = ()
    if isinstance(value, dict):
        if any("\0" in key for key in value):
            return path
        children = [(f"{path}.{key}", item) for key, item in value.items()]
    elif isinstance(value, list):
        children = [(f"{path}[{index}]", item) for index, item in enumerate(value)]
    return next((found for p, v in children if (found := _path_of_nul(v, p))), None)
