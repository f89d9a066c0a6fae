"""How many tokens a request may come to: its prompt, and the longest answers that it allows."""

from collections.abc import Callable, Mapping
from typing import Any

from linarite.engines.place import ModelPlace
from linarite.engines.tokens import Tokens
from linarite.errors import InferenceRefused
from linarite.resources.models.records import ModelRecord

PlaceOf = Callable[[ModelRecord], ModelPlace]
"""Tells where a model is."""
_MOST_TOKENS = 10_000_000
_MOST_ANSWERS = 128


def prompt_tokens(
    tokens: Tokens, place: ModelPlace, operation: str, body: Mapping[str, Any]
) -> int:
    """Tokens of a request's prompt; none of one that cannot be read, which its engine refuses."""
    try:
        if operation == "/chat/completions":
            messages = body.get("messages")
            turns = messages if isinstance(messages, list) else []
            whole = [turn for turn in turns if isinstance(turn, dict)]
            return tokens.count_chat(place, whole).tokens
        given = body.get("input" if operation == "/embeddings" else "prompt")
        if not isinstance(given, str | list):
            return 0
        return tokens.count_text(place, given).tokens
    except (InferenceRefused, TypeError, RecursionError):
        return 0


def answer_tokens(body: Mapping[str, Any], unnamed: int = 0) -> int:
    """Tokens of the longest answers that a request allows.

    Args:
        body: the request.
        unnamed: how long an answer may be where the request does not say.
    """
    limit = body.get("max_completion_tokens") or body.get("max_tokens") or unnamed
    count = body.get("best_of") or body.get("n") or 1
    if type(limit) is not int or type(count) is not int or limit < 0:
        return 0
    return min(limit, _MOST_TOKENS) * min(max(count, 1), _MOST_ANSWERS)
