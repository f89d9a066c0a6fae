"""How one answer is chosen, in OpenAI's words. Plain data, sent between an engine's processes."""

from dataclasses import dataclass
from typing import Literal

Ended = Literal["stop", "length", "ignored", "refused"]
"""OpenAI's finish reasons; `ignored`: the cache is full, `refused`: the library objects."""


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
    can_resume: bool = True
    """Whether an answer may be withdrawn and go on later: the caller fixed no seed and no
    penalty that counts what the answer said so far."""


@dataclass(frozen=True)
class Piece:
    """What came out for one answer since it was last read."""

    tokens: list[int]
    ended: Ended | None
