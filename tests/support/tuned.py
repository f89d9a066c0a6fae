"""Tuned models that no job had to be run for: in memory for services, as rows for a server."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from tests.support.server import Server

from linarite import ids
from linarite.resources.fine_tuning import repository
from linarite.resources.fine_tuning.records import CheckpointRecord, JobRecord
from linarite.resources.fine_tuning.tuned import ADAPTER_FILES
from linarite.resources.models.records import EVERYONE, ModelRecord
from linarite.storage import blob_rows
from linarite.storage.blobs import BlobStore
from linarite.storage.database import Transaction
from linarite.wire.fine_tuning import FineTuningMethodType
from linarite.wire.models import FineTuningState

MADE_AT = 1_700_000_000


@dataclass
class TunedInMemory:
    """What is known of tuned models, by resource."""

    of: dict[str, Sequence[ModelRecord]] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)
    """Names of those that are found and, a moment later, are there no more."""

    def records(self, resource: str) -> Sequence[ModelRecord]:
        everyones = [one for those in self.of.values() for one in those]
        return everyones if resource == EVERYONE else self.of.get(resource, ())

    def record(self, resource: str, name: str) -> ModelRecord | None:
        found = (one for one in self.records(resource) if name in {one.id, one.checkpoint})
        return next(found, None)

    def hold(self, _tx: Transaction, model_id: str) -> bool:
        return self.record(EVERYONE, model_id) is not None and model_id not in self.gone


def add_tuned(
    server: Server,
    job_id: str,
    base: str,
    adapters: Mapping[int, Path | None],
    *,
    suffix: str | None = None,
    status: FineTuningState = FineTuningState.SUCCEEDED,
    **values: Any,
) -> tuple[JobRecord, list[CheckpointRecord]]:
    """Put a job into the rows, as it is when it has ended; the default resource's, usually.

    Args:
        server: whose.
        job_id: the job's, from which the models have their names.
        base: the id of its base model, which need not be there.
        adapters: for each checkpoint's step a PEFT folder, or None for one without files.
        suffix: of the model's name.
        status: of the job; only of one that succeeded the last checkpoint is the result.
        values: further ones of its row, instead of the usual ones.

    Returns:
        The job, and its checkpoints, newest first.
    """
    with server.built.database.transaction() as tx:
        job = repository.insert(
            tx,
            {
                "id": job_id,
                "resource": "default",
                "status": status,
                "model": base,
                "base_model": base,
                "adapter": sa.null(),
                "method": FineTuningMethodType.SUPERVISED,
                "hyperparameters": {"n_epochs": len(adapters)},
                "seed": 1,
                "suffix": suffix,
                "training_file_id": "file-1",
                "steps": max(adapters),
                "created_at": MADE_AT,
                **values,
            },
        )
        if status == FineTuningState.SUCCEEDED:
            job = repository.note(tx, job, fine_tuned_model=job.tuned_model)
        for step, folder in adapters.items():
            record = CheckpointRecord(ids.checkpoint_id(), step, {}, {}, MADE_AT)
            for name in ADAPTER_FILES if folder else ():
                stored = server.built.parts[BlobStore].write_all([(folder / name).read_bytes()])
                blob = blob_rows.keep_stored(tx, stored, user=record.user, now=MADE_AT)
                record.files[name] = blob.id
            repository.add_checkpoint(tx, job, record)
        return job, repository.checkpoints(tx, job)
