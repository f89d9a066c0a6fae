"""The folder that a job's training command works in: what it is told, and what it tells.

spec.json       what to do; with it the folder is whole
id              a word of its own, so that a position in its log means something
training.jsonl, validation.jsonl, adapter/
log.jsonl       what the command tells, one JSON object a line
checkpoints/    adapters at the ends of epochs
"""

import shutil
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from linarite.engines.installed import sync
from linarite.resources.fine_tuning.records import JobRecord
from linarite.wire.fine_tuning import AUTO

FORMAT = 1

_TRAINING, _VALIDATION, _ADAPTER = "training.jsonl", "validation.jsonl", "adapter"
_OPTIONAL = ("n_epochs", "batch_size", "learning_rate_multiplier", "beta", "l2_multiplier")
_READ_AT_ONCE = 256 << 10


@dataclass(frozen=True)
class Entry:
    """One line of the log."""

    kind: str
    at: int
    fields: Mapping[str, Any]
    end: int
    """The position after it."""


@dataclass(frozen=True)
class JobFolder:
    """The folder of one job.

    Args:
        path: where it is or will be.
    """

    path: Path

    @property
    def is_whole(self) -> bool:
        """Whether everything is there that the command needs."""
        return (self.path / "spec.json").is_file()

    @property
    def id(self) -> str:
        """Its own word; another folder of the same job has another."""
        return (self.path / "id").read_text()

    def make(
        self,
        job: JobRecord,
        base: Path,
        training: Iterable[bytes],
        validation: Iterable[bytes] | None,
        write_adapter: Callable[[Path], None] | None,
    ) -> None:
        """Make the folder, all at once.

        Args:
            job: what to train.
            base: the installed model's folder.
            training: the training file, in pieces.
            validation: the validation file, if there is one.
            write_adapter: writes the adapter that a tuned start has into a folder.
        """
        scratch = self._scratch
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir(mode=0o700, parents=True)
        _write(scratch / "id", [uuid.uuid4().hex.encode()])
        _write(scratch / _TRAINING, training)
        if validation is not None:
            _write(scratch / _VALIDATION, validation)
        if write_adapter is not None:
            write_adapter(scratch / _ADAPTER)
        spec = self._spec(job, base, validation is not None, write_adapter is not None)
        _write(scratch / "spec.json", [orjson.dumps(spec, option=orjson.OPT_INDENT_2)])
        sync(scratch)
        shutil.rmtree(self.path, ignore_errors=True)
        scratch.rename(self.path)

    def read_log(self, position: int) -> list[Entry]:
        """The whole lines from `position` on, some at a time; a line in the making is not told."""
        try:
            with (self.path / "log.jsonl").open("rb") as stream:
                stream.seek(position)
                text = stream.read(_READ_AT_ONCE)
        except FileNotFoundError:
            return []
        entries = []
        for line in text[: text.rfind(b"\n") + 1].splitlines(keepends=True):
            position += len(line)
            fields = orjson.loads(line)
            entries.append(Entry(fields["kind"], int(fields["at"]), fields, position))
        return entries

    def remove(self) -> None:
        """Remove it with all that is in it, and what was to become it."""
        for path in (self.path, self._scratch):
            shutil.rmtree(path, ignore_errors=True)

    @property
    def _scratch(self) -> Path:
        return self.path.with_name(f".{self.path.name}.part")

    def _spec(
        self, job: JobRecord, base: Path, has_validation: bool, has_adapter: bool
    ) -> dict[str, Any]:
        wanted = {name: job.hyperparameters.get(name, AUTO) for name in _OPTIONAL}
        return {
            "format": FORMAT,
            "job": job.id,
            "method": job.method,
            "base": str(base.absolute()),
            "adapter": str((self.path / _ADAPTER).absolute()) if has_adapter else None,
            "training_file": _TRAINING,
            "validation_file": _VALIDATION if has_validation else None,
            "hyperparameters": {
                name: None if value == AUTO else value for name, value in wanted.items()
            },
            "seed": job.seed,
        }


def _write(path: Path, pieces: Iterable[bytes]) -> None:
    with path.open("wb") as stream:
        stream.writelines(pieces)
