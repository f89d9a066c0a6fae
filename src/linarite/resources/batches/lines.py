"""The lines of a batch's input: cut from a stream, read, and what each of them must be.

A *request* is a line that is not blank; requests are numbered from 0, lines from 1, as people
count them. Knows no deployment and no database.
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import orjson

from linarite.wire.batches import BatchErrorData

BOM = b"\xef\xbb\xbf"

_PREFIXES = ("/openai/v1/", "/openai/", "/v1/")
_PREFIX_CHARACTERS = 512
_SHOWN = 100


@dataclass(frozen=True, slots=True)
class InputLine:
    """A request of the input as it stands there; `text` is None when it is too long to hold."""

    number: int
    line: int
    text: bytes | None


@dataclass(frozen=True, slots=True)
class BatchRequest:
    """A request that was read."""

    custom_id: str
    url: str
    body: dict[str, Any]


class BadLine(ValueError):
    """A line that is no request, with what is wrong about it."""

    def __init__(self, code: str, message: str, line: int, param: str | None = None) -> None:
        self.fault = BatchErrorData(code=code, message=message, param=param, line=line)
        super().__init__(message)


def input_lines(pieces: Iterable[bytes], longest: int) -> Iterator[InputLine]:
    """The requests of a stream.

    Args:
        pieces: the bytes of the file, cut anywhere.
        longest: bytes of the longest line that is held; more is passed over without keeping it.
    """
    number = 0
    for line, text in enumerate(_cut(pieces, longest), 1):
        if text is None or not text.isspace():
            yield InputLine(number, line, text)
            number += 1


def _cut(pieces: Iterable[bytes], longest: int) -> Iterator[bytes | None]:
    """The lines of a stream: None for one that is too long, a blank for an empty one."""
    rest, too_long = b"", False
    for piece in pieces:
        first, *others = piece.split(b"\n")
        if not too_long:
            rest += first
        if not others:
            if len(rest) > longest:
                rest, too_long = b"", True
            continue
        yield None if too_long or len(rest) > longest else rest or b"\n"
        *whole, rest = others
        too_long = False
        for text in whole:
            yield None if len(text) > longest else text or b"\n"
    if too_long or len(rest) > longest:
        yield None
    elif rest:
        yield rest


def read_request(line: InputLine, longest: int) -> BatchRequest:
    """The request that `line` states.

    Raises:
        BadLine: it is not JSON, or not an object with a custom_id, a POST and a body.
    """
    value = _parsed(line, longest)
    custom_id, method = value.get("custom_id"), value.get("method")
    url, body = value.get("url"), value.get("body")
    if not isinstance(custom_id, str) or not custom_id:
        raise _lacks(line, "custom_id", "a string that is not empty", custom_id)
    if not isinstance(method, str) or method.upper() != "POST":
        raise _lacks(line, "method", "'POST'", method)
    if not isinstance(url, str):
        raise _lacks(line, "url", "a string", url)
    if not isinstance(body, dict):
        raise _lacks(line, "body", "an object", body)
    return BatchRequest(custom_id, url, body)


def _parsed(line: InputLine, longest: int) -> dict[str, Any]:
    if line.text is None:
        message = f"This line is longer than {longest} bytes, which is the limit."
        raise BadLine("invalid_request", message, line.line)
    try:
        value = orjson.loads(line.text)
    except orjson.JSONDecodeError:
        message = "This line is not parseable as valid JSON."
        raise BadLine("invalid_json_line", message, line.line) from None
    if not isinstance(value, dict):
        message = f"This line is {_kind(value)}; each line must be a JSON object."
        raise BadLine("invalid_json_line", message, line.line)
    return value


def _lacks(line: InputLine, param: str, wanted: str, value: object) -> BadLine:
    if value is None:
        message = f"Missing required parameter: '{param}'; it must be {wanted}."
    else:
        message = f"Invalid value for '{param}': expected {wanted}, but got {_shown(value)}."
    return BadLine("invalid_request", message, line.line, param)


def _kind(value: object) -> str:
    names = {str: "a string", list: "an array", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")


def _shown(value: object) -> str:
    try:
        text = orjson.dumps(value).decode()
    except orjson.JSONEncodeError:
        return "what is nested too deep"
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"


def bare_path(path: str) -> str:
    """An endpoint or url without the prefixes that clients put before it: ``/chat/completions``."""
    for prefix in _PREFIXES:
        if path.startswith(prefix):
            return path[len(prefix) - 1 :]
    return path


def mark_of(custom_id: str) -> bytes:
    """16 bytes that stand for a custom_id, so that 100,000 of them take little room."""
    return hashlib.blake2b(custom_id.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def prefix_of(body: dict[str, Any]) -> int | None:
    """A number that is equal for requests whose prompts begin alike, or None when none begins.

    Engines keep what they computed for a prefix, so such requests belong next to each other.
    """
    messages = body.get("messages")
    if isinstance(messages, list) and messages and isinstance(messages[0], dict):
        first = messages[0]
        try:
            return hash((str(first.get("role")), str(first.get("content"))[:_PREFIX_CHARACTERS]))
        except RecursionError:  # it is nested too deep for any engine
            return None
    prompt = body.get("prompt")
    return hash(prompt[:_PREFIX_CHARACTERS]) if isinstance(prompt, str) else None
