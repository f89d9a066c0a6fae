"""What each kind of engine can do: the one table that validation, /models and the docs read."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


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


CHAT, COMPLETION, EMBEDDINGS = "chat", "completion", "embeddings"
"""The operations: each is a capability by itself."""


@dataclass(frozen=True)
class Parameter:
    """A parameter of some operations that asks for a capability."""

    name: str
    needs: str
    asks_nothing: Callable[[Any], bool]
    """Of a value: whether it asks for nothing."""
    operations: tuple[str, ...] = (CHAT,)


PARAMETERS = (
    Parameter("tools", "tools", lambda value: value == []),
    Parameter("functions", "tools", lambda value: value == []),
    Parameter("function_call", "tools", lambda value: value == "none"),
    Parameter("response_format", "structured_output", lambda value: value == {"type": "text"}),
    Parameter("logprobs", "logprobs", lambda value: value is False, (CHAT, COMPLETION)),
    Parameter(
        "logprobs",
        "top_logprobs",
        lambda value: isinstance(value, bool) or value == 0,
        (CHAT, COMPLETION),
    ),
    Parameter("top_logprobs", "top_logprobs", lambda value: value == 0),
    Parameter("logit_bias", "logit_bias", lambda value: value == {}, (CHAT, COMPLETION)),
    Parameter("reasoning_effort", "reasoning", lambda value: value == "none"),
    Parameter("verbosity", "reasoning", lambda value: value == "medium"),
    Parameter("modalities", "audio", lambda value: value == ["text"]),
    Parameter("audio", "audio", lambda value: False),
    Parameter("web_search_options", "web_search", lambda value: False),
    Parameter("service_tier", "service_tiers", lambda value: value in ("auto", "default")),
    Parameter("echo", "echo", lambda value: value is False, (COMPLETION,)),
    Parameter("suffix", "suffix", lambda value: value == "", (COMPLETION,)),
    # Only its engine knows whether it is the model's own number, of which nothing is asked.
    Parameter("dimensions", "dimensions", lambda value: True, (EMBEDDINGS,)),
)
"""What is not in the operation that is asked is to that operation like any unknown parameter."""


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


def first_unable(body: Mapping[str, Any], operation: str, able: Capabilities) -> Unable | None:
    """The first parameter of a request that asks for what the engine cannot, if any.

    Args:
        body: the request.
        operation: `CHAT`, `COMPLETION` or `EMBEDDINGS`.
        able: what the engine can.
    """
    for one in PARAMETERS:
        value = body.get(one.name)
        if value is None or operation not in one.operations or getattr(able, one.needs):
            continue
        if not one.asks_nothing(value):
            # A word or a number is named, for another one may do.
            is_named = isinstance(value, str | int) and value is not True
            return unable(one.name, one.needs, able, f" of {value!r}" if is_named else "")
    echoes_logprobs = body.get("echo") and body.get("logprobs") is not None
    if operation == COMPLETION and echoes_logprobs and not able.prompt_logprobs:
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
