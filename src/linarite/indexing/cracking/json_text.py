"""JSON to text: a line a value, each with the path that leads there."""

import json
from collections.abc import Iterable, Iterator
from typing import Any

from linarite.indexing.failures import DocumentFailed

_MOST_DEPTH = 100
_Json = Any


def json_lines(text: str) -> Iterator[_Json]:
    """The values of JSON Lines, whose texts may hold what is a line's end elsewhere.

    Raises:
        DocumentFailed: a line is not JSON; it is named.
    """
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            yield json_value(line, f" in line {number}")


def json_value(text: str, place: str = "") -> _Json:
    """The value of a JSON text; numbers stay as they are written.

    Raises:
        DocumentFailed: it is not JSON, or nests too deep.
    """
    try:
        return json.loads(text, parse_int=str, parse_float=str, parse_constant=str)
    except json.JSONDecodeError as error:
        where = place or f" in line {error.lineno}, column {error.colno}"
        raise DocumentFailed(f"The file is not JSON: {error.msg}{where}.") from error
    except RecursionError as error:
        raise DocumentFailed(_TOO_DEEP) from error


_TOO_DEEP = f"The JSON nests deeper than {_MOST_DEPTH} levels."


def json_paths(values: Iterable[_Json]) -> Iterator[str]:
    """The lines of values, such as `address.city: Bern`, a blank one between two values.

    What is null or empty is left out.

    Raises:
        DocumentFailed: a value nests too deep.
    """
    for number, value in enumerate(values):
        if number:
            yield ""
        yield from _lines(value, "", 0)


def _lines(value: _Json, path: str, depth: int) -> Iterator[str]:
    if depth > _MOST_DEPTH:
        raise DocumentFailed(_TOO_DEEP)
    if isinstance(value, dict):
        for name, each in value.items():
            yield from _lines(each, f"{path}.{name}" if path else name, depth + 1)
    elif isinstance(value, list):
        yield from _list_lines(value, path, depth)
    elif value is not None and value != "":
        yield f"{path}: {_plain(value)}" if path else _plain(value)


def _list_lines(values: list[_Json], path: str, depth: int) -> Iterator[str]:
    if not any(isinstance(each, dict | list) for each in values):
        joined = ", ".join(_plain(each) for each in values if each is not None)
        if joined:
            yield f"{path}: {joined}" if path else joined
        return
    for number, each in enumerate(values):
        yield ""  # the members of a list are paragraphs, where chunks rather end
        yield from _lines(each, f"{path}[{number}]", depth + 1)


def _plain(value: _Json) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
