"""How one answer is chosen, in OpenAI's words. Plain data, sent between an engine's processes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

DEFAULT_CHAT_TOKENS = 1024
"""The longest answer of a chat that names no `max_tokens`."""
DEFAULT_COMPLETION_TOKENS = 16
"""The longest of a completion."""
SEED_OF_NONE = 0
"""What a deterministic engine samples by where no `seed` is given."""

Ended = Literal["stop", "length", "ignored", "refused"]
"""OpenAI's finish reasons; `ignored`: the cache is full, `refused`: the library objects."""

DETERMINISTIC = "deterministic"
"""How an engine's processes are told to answer one request at a time, and each the same again."""


@dataclass(frozen=True)
class Structure:
    """The form that an answer is held to, token by token."""

    kind: Literal["json_schema", "regex", "grammar"]
    text: str
    """The schema as JSON, the regular expression, or the grammar in EBNF."""


@dataclass(frozen=True)
class Sampling:
    """The choices behind one answer."""

    max_tokens: int
    temperature: float = 1.0
    top_p: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    seed: int = 0
    eos: tuple[int, ...] = ()
    ignore_eos: bool = False
    structure: Structure | None = None
    logprobs: bool = False
    """Whether each token's log-probability is wanted."""
    can_resume: bool = True
    """Whether an answer may be withdrawn and go on later: the caller fixed no seed, no penalty
    that counts what the answer said so far and no structure that follows it."""

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> "Sampling":
        """The sampling whose fields were written down by `asdict`."""
        structure = plain["structure"]
        made = {"eos": tuple(plain["eos"]), "structure": structure and Structure(**structure)}
        return cls(**{**plain, **made})


@dataclass(frozen=True)
class Piece:
    """What came out for one answer since it was last read."""

    tokens: list[int]
    ended: Ended | None
    logprobs: list[float] = field(default_factory=list)
    """One for each token, where they are wanted: of the model's own distribution, in nats."""
