"""Tuned models on this machine: an installed model and the adapter that changes it.

Their folders may lie anywhere; the pieces can be put together again whenever one is gone.
"""

import json
import shutil
import tempfile
from pathlib import Path

from linarite.engines import adapters, architecture, installed
from linarite.engines.installed import InstalledModel, read_model
from linarite.engines.refusals import UnusableModel


def put_tuned(base: InstalledModel, adapter: Path, folder: Path, model_id: str) -> InstalledModel:
    """Make `folder` a tuned model, all at once; one that is there is replaced.

    Args:
        base: the model that was tuned; of a tuned one, the base that its adapter changes.
        adapter: a PEFT folder; left as it is.
        folder: where the tuned model is to lie.
        model_id: what it is to be called.

    Raises:
        UnusableModel: the adapter is none that this base can be served with.
        ModelMissing: the base of `base` is not on this machine any more.
    """
    if base.base_folder is not None:
        base = read_model(base.base_folder)
    if not base.is_tunable:
        raise UnusableModel(f"{base.id} takes no adapter.")
    config = json.loads((base.hf_folder / "config.json").read_text())
    opened = adapters.open_adapter(adapter)
    adapters.check(opened, architecture.from_hf_config(config))
    folder.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=".", suffix=".part", dir=folder.parent))
    try:
        made = scratch / "made"
        (made / "adapter").mkdir(parents=True)
        for name in (adapters.CONFIG_FILE, adapters.WEIGHTS_FILE):
            shutil.copy(adapter / name, made / "adapter" / name)
        installed.write_tuned(model_id, base, made, opened.fused_bytes)
        installed.move(made, folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return read_model(folder)
