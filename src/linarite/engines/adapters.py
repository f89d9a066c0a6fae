"""LoRA adapters as PEFT writes them: which are taken, and what they add to a model's weights."""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from linarite.engines import architecture
from linarite.engines.architecture import Architecture
from linarite.engines.refusals import UnusableModel
from linarite.engines.weights import Array, TensorSource, open_safetensors

CONFIG_FILE, WEIGHTS_FILE = "adapter_config.json", "adapter_model.safetensors"

_TENSOR = re.compile(r"base_model\.model\.(.+)\.lora_([AB])\.weight")
_PLAIN: Mapping[str, tuple[Any, ...]] = {
    "use_dora": (False, None),
    "fan_in_fan_out": (False, None),
    "lora_bias": (False, None),
    "bias": ("none", None),
    "modules_to_save": (None, []),
    "rank_pattern": (None, {}),
    "alpha_pattern": (None, {}),
}
"""Variants of LoRA that a fused adapter would compute wrongly, and the values that ask for none."""


@dataclass(frozen=True)
class Adapter:
    """A whole adapter. Layers are called by their weight's name without ``.weight``."""

    scale: float
    """What every product is multiplied by."""
    layers: Mapping[str, tuple[TensorSource, TensorSource]]
    """A (rank, in) and B (out, rank) of each layer that it changes."""

    @property
    def fused_bytes(self) -> int:
        """What an engine takes beyond its model: the changed layers' weights once more, 16 bits."""
        return 2 * sum(up.shape[0] * down.shape[1] for down, up in self.layers.values())

    def addition(self, layer: str) -> Array:
        """What it adds to a layer's weight: (out, in), float32."""
        down, up = self.layers[layer]
        added: Array = self.scale * (up.read() @ down.read())
        return added


def open_adapter(folder: Path) -> Adapter:
    """Read a PEFT folder.

    Raises:
        UnusableModel: it is none, or not one of plain LoRA.
    """
    weights = open_safetensors(folder)
    halves: dict[str, dict[str, TensorSource]] = {}
    for name, source in weights.items():
        found = _TENSOR.fullmatch(name)
        if found is None:
            raise UnusableModel(f"The adapter holds {name}, which is no part of a LoRA adapter.")
        halves.setdefault(found[1], {})[found[2]] = source
    for layer, half in halves.items():
        if half.keys() != {"A", "B"} or half["A"].shape[0] != half["B"].shape[1]:
            raise UnusableModel(f"The adapter's two matrices of {layer} do not fit together.")
    return Adapter(scale(folder), {name: (half["A"], half["B"]) for name, half in halves.items()})


def scale(folder: Path) -> float:
    """What an adapter's products are multiplied by, from its configuration alone.

    Raises:
        UnusableModel: there is none, or it is not one of plain LoRA.
    """
    try:
        config: dict[str, Any] = json.loads((folder / CONFIG_FILE).read_text())
    except (FileNotFoundError, json.JSONDecodeError) as error:
        raise UnusableModel(f"{folder} has no whole {CONFIG_FILE}.") from error
    if config.get("peft_type") != "LORA":
        raise UnusableModel(f"An adapter must be of LoRA, not {config.get('peft_type')!r}.")
    for name, plain in _PLAIN.items():
        if config.get(name) not in plain:
            raise UnusableModel(f"An adapter with {name} {config[name]!r} cannot be served.")
    alpha, rank = float(config["lora_alpha"]), int(config["r"])
    return alpha / (math.sqrt(rank) if config.get("use_rslora") else rank)


def check(adapter: Adapter, arch: Architecture) -> None:
    """Refuse an adapter that was not made for this architecture, or did not come out of training.

    Raises:
        UnusableModel: a layer is none of the model's, has another shape, or holds no numbers.
    """
    shapes = architecture.expected_tensors(arch)
    if not adapter.layers:
        raise UnusableModel("The adapter changes no layer.")
    for layer, (down, up) in adapter.layers.items():
        expected = shapes.get(f"{layer}.weight")
        is_linear = layer.startswith("model.layers.") and layer.endswith("_proj")
        if expected is None or not is_linear:
            raise UnusableModel(f"The adapter changes {layer}, which the engine cannot adapt.")
        if (up.shape[0], down.shape[1]) != expected:
            raise UnusableModel(
                f"The adapter's {layer} is for {(up.shape[0], down.shape[1])}, and this model's "
                f"has the shape {expected}: it was made for another model."
            )
        if not (np.isfinite(down.read()).all() and np.isfinite(up.read()).all()):
            raise UnusableModel(f"The adapter's {layer} holds values that are not numbers.")
