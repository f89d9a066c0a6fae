"""Answers and events as the content filter lets them leave."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

FILTERED = "content_filter"
"""The code of a refused prompt, and the reason that a removed answer finishes for."""
RESULTS = "content_filter_results"
_NO_WORDS: frozenset[str] = frozenset(
    {"id", "index", "role", "type", "finish_reason", "stop_reason", "logprobs", RESULTS}
)
"""Fields of a choice that say nothing, or what stands elsewhere too."""


@dataclass(frozen=True)
class Results:
    """What the filter found, in Azure's form, and whether it must not pass."""

    told: Mapping[str, Any]
    is_filtered: bool = False


def words_of(value: Any, silent: frozenset[str] = _NO_WORDS) -> Iterator[str]:
    """Every text of a choice, whatever it is called: its content, a refusal, calls of tools.

    Args:
        value: a choice, or what stands in it.
        silent: fields that say nothing.
    """
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            if name not in silent:
                yield from words_of(inner, silent)
    elif isinstance(value, list):
        for inner in value:
            yield from words_of(inner, silent)


def shown(choice: Mapping[str, Any], results: Results) -> dict[str, Any]:
    """A choice of a whole answer; of one that is filtered nothing is left but its place."""
    if not results.is_filtered:
        return {**choice, RESULTS: results.told}
    is_chat = "message" in choice
    message = {"role": "assistant", "content": None, "refusal": None}
    said = {"message": message} if is_chat else {"text": ""}
    return removed(choice["index"], said, results)


def removed(index: int, said: Mapping[str, Any], results: Results) -> dict[str, Any]:
    """What stands in the place of a choice that was filtered."""
    ending = {"logprobs": None, "finish_reason": FILTERED, RESULTS: results.told}
    return {"index": index, **said, **ending}


def event_of(said: Mapping[str, Any]) -> bytes:
    """A server-sent event."""
    return b"data: " + orjson.dumps(said) + b"\n\n"
