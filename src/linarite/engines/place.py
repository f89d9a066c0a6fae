"""Where a model is: on this machine, or behind an address. What the engines' room is asked with."""

import hashlib
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from linarite.engines.installed import find_model, folder_of
from linarite.settings import ModelEntry, Settings, Upstream

_LONGEST_SOCKET_PATH = 90


@dataclass(frozen=True)
class ModelPlace:
    """A model by its id and exactly one of: an installed folder, an upstream."""

    id: str
    folder: Path | None = None
    upstream: Upstream | None = None
    tokenizer: Path | None = None
    """Of an upstream model: its ``tokenizer.json`` or the folder that holds it."""

    def tokenizer_folder(self) -> Path | None:
        """The folder whose tokenizer counts for this model, if any."""
        if self.folder is not None:
            return self.folder / "hf"
        if self.tokenizer is not None and self.tokenizer.is_file():
            return self.tokenizer.parent
        return self.tokenizer


def models_folder(settings: Settings) -> Path:
    """Where pulled and added models lie."""
    return settings.resolved_models_dir.resolve()


def place_of(model_id: str, entry: ModelEntry | None, models: Path) -> ModelPlace:
    """The place of a base model.

    Args:
        model_id: its id.
        entry: its ``[[models]]`` entry; None for an embedded or an added model.
        models: the models' folder. A model with a `path` lies there once it was added.
    """
    if entry is not None and entry.upstream is not None:
        return ModelPlace(model_id, upstream=entry.upstream, tokenizer=entry.tokenizer)
    return ModelPlace(model_id, folder=folder_of(models, model_id))


def is_installed(place: ModelPlace) -> bool:
    """Whether a model can be asked: it is upstream, or its files are whole."""
    if place.folder is None:
        return True
    return find_model(place.folder.parent, place.id) is not None


def run_folder(data: Path) -> Path:
    """Where the sockets of this data folder are; elsewhere when the path is too long for one."""
    wanted = (data / "run").resolve()
    if len(str(wanted)) <= _LONGEST_SOCKET_PATH - len("/engine-00000000.part"):
        return wanted
    name = hashlib.sha256(str(wanted).encode()).hexdigest()[:12]
    return Path(tempfile.gettempdir()) / f"linarite-{os.getuid()}-{name}"


def host_socket(data: Path) -> Path:
    """The engine host's own socket."""
    return run_folder(data) / "engines.sock"
