"""Models whose files lie on this machine: one folder each, whole or not there.

MODELS/<id, percent-encoded>/
    model.json      what it is (`InstalledModel`)
    hf/             config.json, tokenizer.json, tokenizer_config.json, *.safetensors
    ir/             a chat model as the engine runs it      (OpenVINO IR, 16-bit weights)
    onnx/           an embedding model as the engine runs it

A tuned model's folder lies elsewhere (`tuned`) and names its base's:

FOLDER/
    model.json      its id and its base
    adapter/        adapter_config.json, adapter_model.safetensors, as PEFT writes them

A folder whose name begins with a dot is work in progress or its lock.
"""

import contextlib
import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import IO, Any, Literal
from urllib.parse import quote

from linarite.engines.refusals import ModelMissing

FORMAT = 2
"""Raised when the folder's layout or the conversion changes; older folders are made anew."""
TUNED_FORMAT = 1
"""The same for a tuned model's folder, which outlives a new conversion of its base."""

Kind = Literal["chat", "embedding"]


@dataclass(frozen=True)
class InstalledModel:
    """A model on this machine, ready to serve."""

    id: str
    kind: Kind
    folder: Path
    context_tokens: int
    """Prompt and answer together; what the engine's cache holds, if that is less."""
    has_chat_template: bool
    eos_token_ids: tuple[int, ...] = ()
    dimensions: int | None = None
    """The length of an embedding."""
    memory_bytes: int = 0
    """What its engine takes, estimated."""
    cache_bytes: int = 0
    """The part of it that is the attention cache."""
    is_tunable: bool = False
    agreement: float | None = None
    """Share of words on which the engine and the reference agreed when it was added."""
    source: Mapping[str, str] = field(default_factory=dict)
    """Where it came from: file names and their sha256."""
    base_folder: Path | None = None
    """The folder of the model that a tuned one changes."""

    @property
    def hf_folder(self) -> Path:
        """The Hugging Face folder: tokenizer, configuration, weights; a tuned model's base's."""
        return (self.base_folder or self.folder) / "hf"

    @property
    def ir_folder(self) -> Path:
        """What the chat engine loads; a tuned model's base's."""
        return (self.base_folder or self.folder) / "ir"

    @property
    def adapter_folder(self) -> Path | None:
        """What a tuned model adds to its base: a PEFT folder."""
        return None if self.base_folder is None else self.folder / "adapter"

    @property
    def onnx_file(self) -> Path:
        """What the embedding engine loads."""
        return self.folder / "onnx" / "model.onnx"


def folder_of(models: Path, model_id: str) -> Path:
    """Where a model of this id lies or would lie."""
    return models / quote(model_id, safe="")


def read_model(folder: Path) -> InstalledModel:
    """Read one model's folder, installed or tuned.

    Raises:
        ModelMissing: there is no whole model of the present format, or a tuned one's base is gone.
    """
    try:
        stated: dict[str, Any] = json.loads((folder / "model.json").read_text())
    except FileNotFoundError as error:
        raise ModelMissing(f"{folder} holds no model.") from error
    if "base" in stated:
        return _read_tuned(folder, stated)
    if stated.pop("format", None) != FORMAT:
        raise ModelMissing(f"{folder} was made by another version; pull or add the model again.")
    stated["eos_token_ids"] = tuple(stated["eos_token_ids"])
    return InstalledModel(folder=folder, **stated)


def _read_tuned(folder: Path, stated: dict[str, Any]) -> InstalledModel:
    """A tuned model is what its base is now, but for its name and what its adapter takes."""
    if stated["tuned_format"] != TUNED_FORMAT:
        raise ModelMissing(f"{folder} was made by another version of Linarite.")
    kept = stated["base"]
    try:
        base = read_model(Path(kept["folder"]))
    except ModelMissing as error:
        raise ModelMissing(
            f"{stated['id']} was tuned from {kept['id']}, which is not on this machine any more: "
            f"pull or add {kept['id']} again."
        ) from error
    if sorted(base.source.values()) != kept["source"]:
        raise ModelMissing(
            f"{stated['id']} was tuned from a {kept['id']} that another model has replaced: "
            f"add the first again under this id."
        )
    return replace(
        base,
        id=stated["id"],
        folder=folder,
        base_folder=base.folder,
        memory_bytes=base.memory_bytes + stated["memory_bytes"],
        agreement=None,
        source={},
    )


def is_put_together(folder: Path) -> bool:
    """Whether a tuned model's folder is there and its base is where it says; a quick look."""
    try:
        stated: dict[str, Any] = json.loads((folder / "model.json").read_text())
    except FileNotFoundError:
        return False
    return (Path(stated["base"]["folder"]) / "model.json").is_file()


def write_tuned(model_id: str, base: InstalledModel, folder: Path, memory_bytes: int) -> None:
    """Say in `folder` which base the adapter beside it belongs to; `read_model` understands.

    Args:
        model_id: the tuned model's.
        base: an installed model.
        folder: the tuned model's.
        memory_bytes: what its engine takes beyond what the base's does.
    """
    stated = {
        "tuned_format": TUNED_FORMAT,
        "id": model_id,
        "base": {
            "id": base.id,
            "folder": str(base.folder.absolute()),
            "source": sorted(base.source.values()),
        },
        "memory_bytes": memory_bytes,
    }
    (folder / "model.json").write_text(json.dumps(stated, indent=1))
    sync(folder)


def find_model(models: Path, model_id: str) -> InstalledModel | None:
    """The installed model of this id, or None."""
    try:
        return read_model(folder_of(models, model_id))
    except ModelMissing:
        return None


def list_models(models: Path) -> list[InstalledModel]:
    """Every whole model of the present format in the folder, by id."""
    folders = models.iterdir() if models.is_dir() else ()
    found = []
    for folder in folders:
        if folder.name.startswith(".") or not folder.is_dir():
            continue
        with contextlib.suppress(ModelMissing):
            found.append(read_model(folder))
    return sorted(found, key=lambda model: model.id)


def remove_model(models: Path, model_id: str) -> bool:
    """Delete a model's files; whether there were any."""
    folder = folder_of(models, model_id)
    if not folder.exists():
        return False
    with _locked(models, model_id):
        away = Path(tempfile.mkdtemp(prefix=".removed-", dir=models))
        folder.rename(away / folder.name)
        shutil.rmtree(away)
    return True


@contextmanager
def installing(models: Path, model_id: str) -> Iterator[Path]:
    """A scratch folder for one model's files, under a lock that only one process holds."""
    models.mkdir(parents=True, exist_ok=True)
    with _locked(models, model_id):
        prefix = f".{folder_of(models, model_id).name}-"
        for left in models.glob(f"{prefix}*.part"):
            shutil.rmtree(left)
        scratch = Path(tempfile.mkdtemp(prefix=prefix, suffix=".part", dir=models))
        try:
            yield scratch
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


def put_in_place(model: InstalledModel, models: Path) -> InstalledModel:
    """Name a scratch folder's files as the model, all at once; one of the same id is replaced."""
    stated = {"format": FORMAT, **asdict(model)}
    del stated["folder"], stated["base_folder"]
    (model.folder / "model.json").write_text(json.dumps(stated, indent=1))
    sync(model.folder)
    final = folder_of(models, model.id)
    move(model.folder, final)
    return read_model(final)


def move(made: Path, final: Path) -> None:
    """Give a finished folder its name, all at once; one that has it is replaced."""
    if final.exists():
        old = Path(tempfile.mkdtemp(prefix=".replaced-", dir=final.parent))
        final.rename(old / "old")
        made.rename(final)
        shutil.rmtree(old)
    else:
        made.rename(final)


def sync(folder: Path) -> None:
    """Make everything below a folder durable."""
    for path in [*folder.rglob("*"), folder]:
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


@contextmanager
def _locked(models: Path, model_id: str) -> Iterator[None]:
    lock = models / f".{folder_of(models, model_id).name}.lock"
    while True:
        with lock.open("w") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            if not _is_still(lock, stream):  # who had it removed it: others lock another file now
                continue
            try:
                yield
            finally:
                lock.unlink(missing_ok=True)
            return


def _is_still(path: Path, stream: IO[str]) -> bool:
    """Whether the open file is the one at `path`."""
    with contextlib.suppress(FileNotFoundError):
        return os.path.samestat(path.stat(), os.fstat(stream.fileno()))
    return False
