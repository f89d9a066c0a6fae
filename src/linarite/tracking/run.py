"""What Weights & Biases is told of a run before its first step."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

Mode = Literal["online", "offline"]


@dataclass(frozen=True)
class Run:
    """One run."""

    id: str
    """The same each time: what is told under it again goes on with the run."""
    project: str
    name: str
    entity: str | None
    tags: tuple[str, ...]
    config: Mapping[str, Any]


@dataclass(frozen=True)
class Attempt:
    """How a run is told this time."""

    mode: Mode
    """``offline`` writes a folder that ``wandb sync`` sends later."""
    folder: Path
    """Where wandb writes; it makes a folder of its own there."""
    base_url: str
    connect_seconds: float
    """How long it may take to reach Weights & Biases."""
    finish_seconds: float
    """How long the last of it may take to get there."""
