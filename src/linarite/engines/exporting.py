"""A tuned model in forms that other programs read: its merged weights, as a folder or one file."""

import json
import shutil
import tempfile
from pathlib import Path

from linarite.engines import adapters, gguf_files
from linarite.engines.adapters import Adapter
from linarite.engines.installed import InstalledModel
from linarite.engines.weights import Array, TensorSource, open_safetensors, write_safetensors


def to_hf_folder(model: InstalledModel, target: Path) -> None:
    """Write a model as a Hugging Face folder, a tuned one with its adapter merged in.

    Args:
        model: an installed or tuned chat model.
        target: made here; its weights are float16, whatever the base's were.

    Raises:
        UnusableModel: a merged weight is beyond what float16 holds.
    """
    target.mkdir(parents=True)
    for file in model.hf_folder.iterdir():
        is_weights = file.suffix == ".safetensors" or file.name.endswith(".index.json")
        if file.is_file() and not is_weights:
            shutil.copy(file, target / file.name)
    config = json.loads((target / "config.json").read_text())
    stated = "dtype" if "dtype" in config else "torch_dtype"
    (target / "config.json").write_text(json.dumps({**config, stated: "float16"}, indent=1))
    write_safetensors(target / "model.safetensors", merged_weights(model))


def to_gguf(model: InstalledModel, file: Path) -> None:
    """Write a model as an F16 GGUF file, as llama.cpp and its kin read it.

    Raises:
        UnusableModel: its tokenizer has no form in GGUF that is known here.
    """
    with tempfile.TemporaryDirectory(prefix=".", dir=file.parent) as scratch:
        merged = Path(scratch) / "hf"
        to_hf_folder(model, merged)
        gguf_files.to_whole_file(merged, Path(scratch) / "model.gguf")
        (Path(scratch) / "model.gguf").rename(file)


def merged_weights(model: InstalledModel) -> dict[str, TensorSource]:
    """Every weight of a model by its Hugging Face name, computed when it is read."""
    weights = open_safetensors(model.hf_folder)
    if model.adapter_folder is None:
        return weights
    adapter = adapters.open_adapter(model.adapter_folder)
    return {name: _merged(adapter, name, source) for name, source in weights.items()}


def _merged(adapter: Adapter, name: str, source: TensorSource) -> TensorSource:
    layer = name.removesuffix(".weight")
    if layer not in adapter.layers:
        return source

    def read() -> Array:
        merged: Array = source.read() + adapter.addition(layer)
        return merged

    return TensorSource(source.shape, read)
