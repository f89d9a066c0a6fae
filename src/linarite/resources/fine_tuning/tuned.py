"""Tuned models and checkpoints as models: what there is, and their folders on this machine.

A tuned model is its adapter's files in the blob store; the folder that engines read is put
together from them wherever it is missing.
"""

import contextlib
import fcntl
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import sqlalchemy as sa

from linarite.engines.installed import find_model, is_put_together
from linarite.engines.refusals import ModelMissing
from linarite.resources.fine_tuning import repository
from linarite.resources.fine_tuning.records import CheckpointRecord, JobRecord, job_in
from linarite.resources.fine_tuning.repository import Lock
from linarite.resources.models.records import EVERYONE, ModelRecord
from linarite.storage import blob_rows
from linarite.storage.blobs import BlobStore
from linarite.storage.database import Database, Transaction

ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")
"""What an adapter is made of, as PEFT writes it."""


@dataclass(frozen=True)
class TunedModels:
    """The models that jobs made.

    Args:
        database: where their rows are.
        blobs: where their files are.
        models: the folder of installed models, which they are tuned from.
        folder: where their own folders lie.
    """

    database: Database
    blobs: BlobStore
    models: Path
    folder: Path

    def records(self, resource: str) -> Sequence[ModelRecord]:
        """The tuned models and checkpoints of one resource, or of all for `EVERYONE`."""
        with self.database.reading() as connection:
            found = repository.with_checkpoints(
                connection, None if resource == EVERYONE else resource
            )
        return [self._record(job, checkpoint) for job, checkpoint in found]

    def record(self, resource: str, name: str) -> ModelRecord | None:
        """The tuned model or checkpoint that `name` means; to `EVERYONE`, whosever it is."""
        with self.database.reading() as connection:
            found = self.find(connection, resource, name)
        return None if found is None else self._record(*found)

    def hold(self, tx: Transaction, model_id: str) -> bool:
        """Whether there is a model of that name; until `tx` ends its job makes and loses none."""
        job = repository.find_any(tx, job_in(model_id) or "", lock=Lock.SHARED)
        return job is not None and self._among(tx, job, model_id) is not None

    def find(
        self, connection: sa.Connection, resource: str, name: str, *, lock: Lock | None = None
    ) -> tuple[JobRecord, CheckpointRecord] | None:
        """The checkpoint that a name means to `resource`: a model's, a checkpoint's, or its id.

        With a lock on its job, which `connection` must be a transaction for, it stays until the
        end of that.
        """
        job = None
        if (job_id := job_in(name)) is not None:
            job = repository.find_any(connection, job_id, lock=lock)
        elif "\0" not in name:
            job = repository.job_of_checkpoint(connection, name, lock=lock)
        if job is None or resource not in {job.resource, EVERYONE}:
            return None
        checkpoint = self._among(connection, job, name)
        return None if checkpoint is None else (job, checkpoint)

    def _among(
        self, connection: sa.Connection, job: JobRecord, name: str
    ) -> CheckpointRecord | None:
        found = repository.checkpoints(connection, job)
        return next((one for one in found if name == one.id or name in one.names(job)), None)

    def place(self, model: ModelRecord) -> None:
        """See to it that a tuned model's folder is on this machine; others are left alone.

        It is put together anew, too, when the folder of installed models has moved.

        Raises:
            ModelMissing: it is no model any more, or its base is not on this machine.
            UnusableModel: its adapter is none that its base can be served with.
        """
        if model.base is None or model.path is None or is_put_together(model.path):
            return
        with self.database.reading() as connection:
            found = self.find(connection, EVERYONE, model.id)
        if found is None:
            raise ModelMissing(f"{model.id} is not there any more.")
        self.put(*found)

    def put(self, job: JobRecord, checkpoint: CheckpointRecord, name: str | None = None) -> None:
        """Make the folder of a checkpoint, under the name that it has or is about to have."""
        base = find_model(self.models, job.base_model)
        if base is None:
            raise ModelMissing(
                f"{job.base_model} is not on this machine any more: pull or add it again."
            )
        from linarite.engines.tuned import put_tuned  # late: it needs what [local] brings

        name = name or checkpoint.name(job)
        with self._scratch() as scratch:
            self.write_adapter(checkpoint.files, scratch)
            put_tuned(base, scratch, self.folder_of(name), name)

    def write_adapter(self, files: dict[str, str], folder: Path) -> None:
        """Write an adapter's files, given as blobs, into a folder."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, blob_id in files.items():
            with self.database.reading() as connection:
                blob = blob_rows.get(connection, blob_id)
            with (folder / name).open("wb") as stream:
                stream.writelines(self.blobs.read(blob.extents))

    def remove(self, names: Sequence[str]) -> None:
        """Remove the folders of models that are no more."""
        for name in names:
            shutil.rmtree(self.folder_of(name), ignore_errors=True)

    def sweep(self, *, older_than_seconds: float) -> None:
        """Remove the folders that belong to no model: of one that was dropped, or left half-made.

        Args:
            older_than_seconds: younger ones may be about to become a model's.
        """
        known = {record.path for record in self.records(EVERYONE)}
        for path in self.folder.iterdir() if self.folder.is_dir() else ():
            with contextlib.suppress(FileNotFoundError):
                is_old = time.time() - path.stat().st_mtime > older_than_seconds
                if path.is_dir() and path not in known and is_old:
                    shutil.rmtree(path, ignore_errors=True)

    def folder_of(self, name: str) -> Path:
        """Where the folder of that model is or would be."""
        return self.folder / quote(name, safe="")

    def _record(self, job: JobRecord, checkpoint: CheckpointRecord) -> ModelRecord:
        name = checkpoint.name(job)
        return ModelRecord(
            name,
            "chat",
            path=self.folder_of(name),
            created_at=checkpoint.created_at,
            base=job.base_model,
            fine_tune=job.id,
            checkpoint=checkpoint.id,
            status=job.status,
        )

    @contextmanager
    def _scratch(self) -> Iterator[Path]:
        """A folder to work in, under a lock that one process at a time holds."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (self.folder / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            with tempfile.TemporaryDirectory(prefix=".adapter-", dir=self.folder) as scratch:
                yield Path(scratch)
