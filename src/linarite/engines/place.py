"""Where a model is: on this machine, or behind an address. What the engines' room is asked with."""

import hashlib
import os
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from linarite.settings import Settings, Upstream

_LONGEST_SOCKET_PATH = 90


@dataclass(frozen=True)
class ModelPlace:
    """A model by its id and where it is served: from an installed folder, unless by an upstream."""

    id: str
    folder: Path | None = None
    upstream: Upstream | None = None
    tokenizer: Path | None = None
    """Of a model that does not bring it: its ``tokenizer.json`` or the folder that holds it."""
    is_deterministic: bool = False
    """Whether it is to be an engine that answers one request at a time and each the same again."""

    @property
    def adapter_folder(self) -> Path | None:
        """What an upstream is to load before it is asked for this model: a PEFT folder."""
        if self.upstream is None or self.folder is None or not self.upstream.adapters:
            return None
        adapter = self.folder / "adapter"
        return adapter if adapter.is_dir() else None

    def answering_for(self, is_deterministic: bool) -> "ModelPlace":
        """The place of the same model's engine of that kind."""
        if is_deterministic == self.is_deterministic:
            return self
        return replace(self, is_deterministic=is_deterministic)

    def tokenizer_folder(self) -> Path | None:
        """The folder whose tokenizer counts for this model, if any."""
        if self.tokenizer is not None:
            return self.tokenizer.parent if self.tokenizer.is_file() else self.tokenizer
        return None if self.folder is None else self.folder / "hf"


def models_folder(settings: Settings) -> Path:
    """Where pulled and added models lie."""
    return settings.resolved_models_dir.resolve()


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
