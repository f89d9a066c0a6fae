"""Tuned models as files to take away: the adapter, the merged model, one GGUF file.

Beyond the contract. What is made is held by an open file alone, so that nothing is left of it
whenever its reader goes away.
"""

import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import BinaryIO

from linarite.engines import extra
from linarite.engines.installed import read_model
from linarite.resources.fine_tuning.records import CheckpointRecord, JobRecord
from linarite.resources.fine_tuning.tuned import TunedModels

_PIECE_BYTES = 1 << 20


class Form(StrEnum):
    """What a tuned model can be had as."""

    ADAPTER = "adapter"
    MERGED = "merged"
    GGUF = "gguf"


@dataclass(frozen=True)
class Download:
    """A file to send."""

    filename: str
    length: int
    pieces: Iterator[bytes]


def download(
    tuned: TunedModels, job: JobRecord, checkpoint: CheckpointRecord, form: Form
) -> Download:
    """Make a file of a tuned model: ADAPTER and MERGED are zipped folders.

    Raises:
        ExtraMissing: merging needs a part that is not installed.
        ModelMissing: its base is not on this machine.
        UnusableModel: it has no such form.
    """
    name = checkpoint.name(job).replace("/", "-").replace(":", "-")
    tuned.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=".download-", dir=tuned.folder))
    try:
        if form == Form.ADAPTER:
            tuned.write_adapter(checkpoint.files, scratch / "made")
            file = _zipped(scratch / "made", scratch / f"{name}.zip")
        else:
            file = _merged(tuned, job, checkpoint, form, scratch / name)
        stream = file.open("rb")
        return Download(file.name, file.stat().st_size, _pieces(stream))
    finally:
        shutil.rmtree(scratch)


def _merged(
    tuned: TunedModels, job: JobRecord, checkpoint: CheckpointRecord, form: Form, target: Path
) -> Path:
    extra.require()
    from linarite.engines import exporting  # late: it needs what [local] brings

    folder = tuned.folder_of(checkpoint.name(job))
    if not (folder / "model.json").is_file():
        tuned.put(job, checkpoint)
    model = read_model(folder)
    if form == Form.GGUF:
        file = target.with_name(f"{target.name}.gguf")
        exporting.to_gguf(model, file)
        return file
    exporting.to_hf_folder(model, target)
    return _zipped(target, target.with_name(f"{target.name}.zip"))


def _zipped(folder: Path, file: Path) -> Path:
    """A folder's files in an archive, as they are: weights do not compress."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for path in sorted(folder.iterdir()):
            archive.write(path, path.name)
    return file


def _pieces(stream: BinaryIO) -> Iterator[bytes]:
    with stream:
        while piece := stream.read(_PIECE_BYTES):
            yield piece
