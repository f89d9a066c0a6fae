"""``state/``: what a killed training goes on from. One file, whole or not there.

    resume.safetensors   the adapter's weights, the optimizer's moments, and the position

The random numbers of a step and the order of the data follow from the seed and the step, so there
is nothing of them to keep.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from linarite.training import durable

FORMAT = "1"
_FILE = "resume.safetensors"
_MOMENTS = ("step", "exp_avg", "exp_avg_sq")

Weights = Mapping[str, torch.nn.Parameter]


@dataclass(frozen=True)
class Position:
    """How far a training is: `step` steps are learned, and told unless `untold` holds metrics."""

    step: int = 0
    untold: Mapping[str, float] | None = None
    """The metrics of the step whose end (judging, telling, checkpoint) is still to come."""


def save_state(
    folder: Path, position: Position, weights: Weights, optimizer: torch.optim.Optimizer
) -> None:
    """Put everything down at once, in place of what was there."""
    tensors: dict[str, Tensor] = {}
    for name, weight in weights.items():
        tensors[f"weight/{name}"] = weight.detach()
        for moment in _MOMENTS:
            tensors[f"{moment}/{name}"] = optimizer.state[weight][moment]
    about = {
        "format": FORMAT,
        "step": str(position.step),
        "untold": json.dumps(position.untold),
    }
    folder.mkdir(exist_ok=True)
    whole = save({name: tensor.cpu().contiguous() for name, tensor in tensors.items()}, about)
    durable.write_whole(folder / _FILE, whole)


def restore_state(
    folder: Path, weights: Weights, optimizer: torch.optim.Optimizer
) -> Position | None:
    """Put weights and moments back and tell where they were; None if there is nothing to restore.

    Raises:
        ValueError: what is there was not written for this model or by this version.
    """
    path = folder / _FILE
    if not path.exists():
        return None
    try:
        with safe_open(path, "pt") as stream:
            about = stream.metadata()
            tensors = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(f"{_FILE} cannot be read: {error}") from error
    wanted = {f"weight/{name}": weight.shape for name, weight in weights.items()}
    there = {name: tensors[name].shape for name in tensors if name.startswith("weight/")}
    if about.get("format") != FORMAT or wanted != there:
        raise ValueError(f"{_FILE} is of another version or model.")
    states = {}
    for number, (name, weight) in enumerate(weights.items()):
        weight.data.copy_(tensors[f"weight/{name}"])
        states[number] = {moment: tensors[f"{moment}/{name}"] for moment in _MOMENTS}
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": states, "param_groups": groups})
    return Position(int(about["step"]), json.loads(about["untold"]))
