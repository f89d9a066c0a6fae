"""What a list of stored completions is filtered by, in each form that clients send it in.

``metadata[key]=value`` as the official clients do, ``metadata={"key": "value"}`` or
``metadata=key:value``; several of them must all hold.
"""

import re
from collections.abc import Iterable
from typing import Any

import orjson

from linarite.errors import InvalidPayload
from linarite.http.metadata import check_metadata

_BRACKETS = re.compile(r"metadata\[(.*)\]", re.DOTALL)
_SHOWN = 100


def metadata_pairs(query: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """The pairs that a completion must have.

    Args:
        query: names and values of the query string.

    Raises:
        InvalidPayload: one is in no form that is known, or no completion could have it.
    """
    pairs: list[tuple[str, str]] = []
    for name, value in query:
        if name == "metadata":
            pairs += _read(value)
        elif in_brackets := _BRACKETS.fullmatch(name):
            pairs.append((in_brackets[1], value))
    check_metadata(dict(pairs))
    return pairs


def _read(value: str) -> list[tuple[str, str]]:
    if not value:
        return []
    if value.startswith("{"):
        given = _parsed(value)
        check_metadata(given)
        return list(given.items())
    key, colon, wanted = value.partition(":")
    if not colon:
        raise _unknown_form(value)
    return [(key, wanted)]


def _parsed(value: str) -> dict[str, Any]:
    try:
        given = orjson.loads(value)
    except orjson.JSONDecodeError:
        raise _unknown_form(value) from None
    return dict(given)


def _unknown_form(value: str) -> InvalidPayload:
    return InvalidPayload(
        f"`metadata` is {value[:_SHOWN]!r}; write metadata[key]=value, "
        'metadata={"key": "value"} or metadata=key:value.',
        target="metadata",
    )
