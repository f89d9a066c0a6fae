"""``checkpoints/step-N/``: the adapter at the end of an epoch, as a PEFT folder; the last three.

A folder of that name is whole and on the disk; unfinished ones begin with a dot.
"""

import json
import shutil
from pathlib import Path

from safetensors.torch import save

from linarite.training import durable
from linarite.training.model import TunedModel

KEPT = 3


def keep_checkpoint(folder: Path, step: int, model: TunedModel, base: str) -> str:
    """Put the adapter down as a checkpoint and drop those before the last three.

    One that a killed trainer left behind is the same, and stays.

    Args:
        folder: the job's.
        step: after which the adapter is.
        model: the adapter's.
        base: the name of the base model.

    Returns:
        The checkpoint's folder, relative to the job's.
    """
    name = f"checkpoints/step-{step}"
    final = folder / name
    if not final.exists():
        part = durable.scratch_folder(final)
        try:
            _write_adapter(part, model, base)
            durable.publish_folder(part, final)
        except OSError:
            shutil.rmtree(part)  # a full disk then has room for the log to say so
            raise
    for old in _by_step(final.parent)[:-KEPT]:
        shutil.rmtree(old)
    return name


def _write_adapter(folder: Path, model: TunedModel, base: str) -> None:
    config = json.dumps(model.adapter_config(base), indent=2, default=str)
    (folder / "adapter_config.json").write_text(config + "\n")
    weights = save(model.adapter_tensors(), {"format": "pt"})
    (folder / "adapter_model.safetensors").write_bytes(weights)


def _by_step(folder: Path) -> list[Path]:
    kept = [path for path in folder.iterdir() if path.name.startswith("step-")]
    return sorted(kept, key=lambda path: int(path.name.removeprefix("step-")))
