"""Models whose files lie on this machine: one folder each, whole or not there.

MODELS/<id, percent-encoded>/
    model.json      what it is (`InstalledModel`)
    hf/             config.json, tokenizer.json, tokenizer_config.json, *.safetensors
    ir/             a chat model as the engine runs it      (OpenVINO IR, 16-bit weights)
    onnx/           an embedding model as the engine runs it

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
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

from linarite.engines.refusals import ModelMissing

FORMAT = 1
"""Raised when the folder's layout or the conversion changes; older folders are made anew."""

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

    @property
    def hf_folder(self) -> Path:
        """The Hugging Face folder: tokenizer, configuration, weights."""
        return self.folder / "hf"

    @property
    def ir_folder(self) -> Path:
        """What the chat engine loads."""
        return self.folder / "ir"

    @property
    def onnx_file(self) -> Path:
        """What the embedding engine loads."""
        return self.folder / "onnx" / "model.onnx"


def folder_of(models: Path, model_id: str) -> Path:
    """Where a model of this id lies or would lie."""
    return models / quote(model_id, safe="")


def read_model(folder: Path) -> InstalledModel:
    """Read one model's folder.

    Raises:
        ModelMissing: there is no whole model of the present format.
    """
    try:
        stated: dict[str, Any] = json.loads((folder / "model.json").read_text())
    except FileNotFoundError as error:
        raise ModelMissing(f"{folder} holds no model.") from error
    if stated.pop("format", None) != FORMAT:
        raise ModelMissing(f"{folder} was made by another version; pull or add the model again.")
    stated["eos_token_ids"] = tuple(stated["eos_token_ids"])
    return InstalledModel(folder=folder, **stated)


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
    del stated["folder"]
    (model.folder / "model.json").write_text(json.dumps(stated, indent=1))
    _sync(model.folder)
    final = folder_of(models, model.id)
    if final.exists():
        old = Path(tempfile.mkdtemp(prefix=".replaced-", dir=models))
        final.rename(old / "old")
        model.folder.rename(final)
        shutil.rmtree(old)
    else:
        model.folder.rename(final)
    return read_model(final)


def _sync(folder: Path) -> None:
    for path in [*folder.rglob("*"), folder]:
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


@contextmanager
def _locked(models: Path, model_id: str) -> Iterator[None]:
    lock = models / f".{folder_of(models, model_id).name}.lock"
    with lock.open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield
