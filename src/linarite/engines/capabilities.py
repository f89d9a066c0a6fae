"""What each kind of engine can do: the one table that validation, /models and the docs read."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

DEFAULT_CHAT_TOKENS = 1024
"""The longest answer of a chat that names no `max_tokens`."""
DEFAULT_COMPLETION_TOKENS = 16


@dataclass(frozen=True)
class Capabilities:
    """What an engine answers. A field is False where a request for it is refused with 400."""

    name: str
    examples: str = ""
    """Engines of the kind, for callers who look for one."""
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
    prompt_logprobs: bool = False
    """Of the prompt's tokens."""
    logit_bias: bool = False
    reasoning: bool = False
    """How long it thinks and how much it says."""
    audio: bool = False
    images: bool = False
    web_search: bool = False
    data_sources: bool = False
    service_tiers: bool = False
    echo: bool = False
    best_of: bool = False
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
    echo=True,
    best_of=True,
    fine_tune=True,
    priority=True,
    exact_counts=True,
)
EMBEDDED_EMBEDDING = Capabilities(
    "embedded embedding engine", embeddings=True, priority=True, exact_counts=True
)
UPSTREAM_CHAT = Capabilities(
    "upstream chat engine",
    examples="vLLM, llama-server or any other OpenAI-compatible server",
    chat=True,
    completion=True,
    streaming=True,
    tools=True,
    structured_output=True,
    logprobs=True,
    top_logprobs=True,
    prompt_logprobs=True,
    logit_bias=True,
    reasoning=True,
    audio=True,
    web_search=True,
    service_tiers=True,
    echo=True,
    best_of=True,
    suffix=True,
)
UPSTREAM_EMBEDDING = Capabilities(
    "upstream embedding engine",
    examples="vLLM or any other OpenAI-compatible server",
    embeddings=True,
    dimensions=True,
)

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
    ("reasoning_effort", "reasoning", lambda value: value == "none"),
    ("verbosity", "reasoning", lambda value: value == "medium"),
    ("modalities", "audio", lambda value: value == ["text"]),
    ("audio", "audio", lambda value: False),
    ("web_search_options", "web_search", lambda value: False),
    ("data_sources", "data_sources", lambda value: value == []),
    ("service_tier", "service_tiers", lambda value: value in ("auto", "default")),
    ("echo", "echo", lambda value: value is False),
    ("suffix", "suffix", lambda value: value == ""),
    # Only its engine knows whether it is the model's own number, of which nothing is asked.
    ("dimensions", "dimensions", lambda value: True),
)
"""Parameter, the capability behind it, and the values that ask for nothing."""


WITHOUT_EFFECT: Mapping[str, str] = {
    "user": "who asks: told to nobody but a stored completion",
    "safety_identifier": "who asks, for a service that watches its users",
    "prompt_cache_key": "where a service may look for a computed prompt; here all of them are",
    "prompt_cache_retention": "how long it may keep that",
    "prediction": "a guess at the answer, which could only make it quicker",
}
"""Parameters of chats that change no answer, and what they tell; the embedded engine lets them by.
"""


@dataclass(frozen=True)
class Unable:
    """A parameter that asks for what an engine cannot, and what its caller is told."""

    param: str
    text: str


def first_unable(body: Mapping[str, Any], able: Capabilities) -> Unable | None:
    """The first parameter of a request that asks for what the engine cannot, if any."""
    for param, capability, asks_nothing in PARAMETERS:
        value = body.get(param)
        if value is not None and not getattr(able, capability) and not asks_nothing(value):
            # A word or a number is named, for another one may do.
            is_named = isinstance(value, str | int) and value is not True
            return unable(param, capability, able, f" of {value!r}" if is_named else "")
    if body.get("echo") and body.get("logprobs") is not None and not able.prompt_logprobs:
        return unable("logprobs", "prompt_logprobs", able, " with `echo`")
    return None


def unable(param: str, capability: str, able: Capabilities, detail: str = "") -> Unable:
    """What a caller is told who asks an engine for a capability that it has not got.

    `detail` is said after the parameter's name.
    """
    having = [
        other
        for other in TABLE
        if getattr(other, capability) and other.embeddings == able.embeddings
    ]
    told = " or ".join(
        f"an {other.name}" + (f" ({other.examples})" if other.examples else "") for other in having
    )
    which = f"{told} has it" if told else "no engine here has it"
    return Unable(param, f"`{param}`{detail} is not supported by the {able.name}; {which}.")
