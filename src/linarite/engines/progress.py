"""How far the work on a model's files is: a stage, and bytes where they can be counted."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Stage = Literal["downloading", "unpacking", "reading", "converting", "comparing", "done"]


@dataclass(frozen=True)
class Progress:
    """One word on how far it is."""

    stage: Stage
    done_bytes: int = 0
    total_bytes: int | None = None


Report = Callable[[Progress], None]


def say_nothing(progress: Progress) -> None:
    """A `Report` for where nobody listens."""
