"""What each kind of engine can do: the one table that validation, /models and the docs read."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Capabilities:
    """What an engine answers. A field is False where a request for it is refused with 400."""

    name: str
    chat: bool = False
    completion: bool = False
    embeddings: bool = False
    streaming: bool = False
    tools: bool = False
    structured_output: bool = False
    logprobs: bool = False
    """Of the tokens that were chosen."""
    top_logprobs: bool = False
    """Of those that were not, too."""
    logit_bias: bool = False
    images: bool = False
    echo: bool = False
    suffix: bool = False
    dimensions: bool = False
    fine_tune: bool = False
    priority: bool = False
    """Whether batches yield to chats on it."""
    exact_counts: bool = False
    """Whether tokens are counted with the model's own tokenizer."""
    most_answers: int = 128
    """The largest `n`."""


EMBEDDED_CHAT = Capabilities(
    "embedded chat engine",
    chat=True,
    completion=True,
    streaming=True,
    tools=True,
    structured_output=True,
    logprobs=True,
    fine_tune=True,
    priority=True,
    exact_counts=True,
)
EMBEDDED_EMBEDDING = Capabilities(
    "embedded embedding engine", embeddings=True, priority=True, exact_counts=True
)
UPSTREAM_CHAT = Capabilities(
    "upstream chat engine",
    chat=True,
    completion=True,
    streaming=True,
    tools=True,
    structured_output=True,
    logprobs=True,
    top_logprobs=True,
    logit_bias=True,
    echo=True,
    suffix=True,
)
UPSTREAM_EMBEDDING = Capabilities("upstream embedding engine", embeddings=True, dimensions=True)

TABLE = (EMBEDDED_CHAT, EMBEDDED_EMBEDDING, UPSTREAM_CHAT, UPSTREAM_EMBEDDING)


def capabilities(*, is_embedded: bool, is_embedding: bool) -> Capabilities:
    """The row for a model: where it is served and what it is."""
    if is_embedded:
        return EMBEDDED_EMBEDDING if is_embedding else EMBEDDED_CHAT
    return UPSTREAM_EMBEDDING if is_embedding else UPSTREAM_CHAT


PARAMETERS: tuple[tuple[str, str, Callable[[Any], bool]], ...] = (
    ("tools", "tools", lambda value: value == []),
    ("functions", "tools", lambda value: value == []),
    ("function_call", "tools", lambda value: value == "none"),
    ("response_format", "structured_output", lambda value: value == {"type": "text"}),
    ("logprobs", "logprobs", lambda value: value is False),
    ("logprobs", "top_logprobs", lambda value: isinstance(value, bool) or value == 0),
    ("top_logprobs", "top_logprobs", lambda value: value == 0),
    ("logit_bias", "logit_bias", lambda value: value == {}),
    ("echo", "echo", lambda value: value is False),
    ("suffix", "suffix", lambda value: value == ""),
    ("dimensions", "dimensions", lambda value: False),
)
"""Parameter, the capability behind it, and the values that ask for nothing."""


def first_unable(body: Mapping[str, Any], able: Capabilities) -> str | None:
    """The first parameter of a request that asks for what the engine cannot, if any."""
    for param, capability, asks_nothing in PARAMETERS:
        value = body.get(param)
        if value is not None and not getattr(able, capability) and not asks_nothing(value):
            return param
    return None
