"""LoRA adapters as training leaves them, made at random in a moment: they change what is said."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from linarite.engines import architecture

LAYERS = (
    "self_attn.q_proj",
    "self_attn.k_proj",
    "self_attn.v_proj",
    "self_attn.o_proj",
    "mlp.gate_proj",
    "mlp.up_proj",
    "mlp.down_proj",
)


def write_adapter(
    folder: Path,
    hf_folder: Path,
    *,
    seed: int = 1,
    size: float = 0.02,
    rank: int = 4,
    alpha: int = 8,
    layers: tuple[str, ...] = LAYERS,
    **config: Any,
) -> Path:
    """Write a PEFT folder for the model of `hf_folder`.

    Args:
        size: of the values of B; of 0, the adapter changes nothing.
        config: entries of its ``adapter_config.json``, instead of plain LoRA's.
    """
    arch = architecture.from_hf_config(json.loads((hf_folder / "config.json").read_text()))
    shapes = architecture.expected_tensors(arch)
    rng, tensors = np.random.default_rng(seed), {}
    for block in range(arch.layers):
        for layer in layers:
            name = f"model.layers.{block}.{layer}"
            rows, columns = shapes[f"{name}.weight"]
            down = rng.uniform(-1, 1, (rank, columns)) / np.sqrt(columns)
            up = size * rng.standard_normal((rows, rank))
            tensors[f"base_model.model.{name}.lora_A.weight"] = down.astype(np.float32)
            tensors[f"base_model.model.{name}.lora_B.weight"] = up.astype(np.float32)
    folder.mkdir(parents=True)
    save_file(tensors, folder / "adapter_model.safetensors", {"format": "pt"})
    plain = {"peft_type": "LORA", "r": rank, "lora_alpha": alpha, "bias": "none"}
    targets = {"target_modules": [layer.partition(".")[2] for layer in layers]}
    (folder / "adapter_config.json").write_text(json.dumps({**plain, **targets, **config}))
    return folder
