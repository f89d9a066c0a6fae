"""How many tokens a request may come to: its prompt, and the longest answers that it allows."""

from collections.abc import Callable, Mapping
from typing import Any

from linarite.engines.place import ModelPlace
from linarite.engines.tokens import Tokens
from linarite.resources.models.records import ModelRecord

PlaceOf = Callable[[ModelRecord], ModelPlace]
"""Tells where a model is."""
_MOST_TOKENS = 10**12
"""Of one request, so that those of a whole batch fit into one number."""


def prompt_tokens(
    tokens: Tokens, place: ModelPlace, operation: str, body: Mapping[str, Any]
) -> int:
    """Tokens of a request's prompt; none of one that is ill made, which reaches no engine."""
    try:
        if operation == "/chat/completions":
            return tokens.count_chat(place, body).tokens
        given = body.get("input" if operation == "/embeddings" else "prompt")
        if not isinstance(given, str | list):
            return 0
        return tokens.count_text(place, given).tokens
    except (TypeError, AttributeError, LookupError, RecursionError):
        return 0


def answer_tokens(operation: str, body: Mapping[str, Any], unnamed: int = 0) -> int:
    """Tokens of the longest answers that a request allows.

    Args:
        operation: what is asked, such as ``/completions``.
        body: the request.
        unnamed: how long an answer may be where the request does not say.
    """
    limit = body.get("max_completion_tokens") or body.get("max_tokens") or unnamed
    count = body.get("best_of") or body.get("n") or 1
    if type(limit) is not int or type(count) is not int or limit < 0:
        return 0
    prompts = _prompts(body.get("prompt")) if operation == "/completions" else 1
    return min(limit * max(count, 1) * prompts, _MOST_TOKENS)


def _prompts(given: Any) -> int:
    """How many prompts there are: texts and lists of tokens are one each, bare tokens one."""
    if not isinstance(given, list) or (given and isinstance(given[0], int)):
        return 1
    return len(given)
