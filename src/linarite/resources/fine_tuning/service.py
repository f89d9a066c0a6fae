"""What can be done with tuning jobs: the operations of the contract. The work is in `tasks`."""

import secrets
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from linarite import ids
from linarite.clock import Clock
from linarite.errors import (
    DeploymentNotFound,
    InvalidPayload,
    LinariteError,
    NotFound,
    QuotaExceeded,
    UnexpectedEntityState,
)
from linarite.http.pages import Listed, Page
from linarite.resources.deployments.service import Deployments
from linarite.resources.files.service import FileRecord, Files
from linarite.resources.fine_tuning import creation, repository, results
from linarite.resources.fine_tuning.downloads import Download, Form, download
from linarite.resources.fine_tuning.lifecycle import JOB
from linarite.resources.fine_tuning.records import CheckpointRecord, EventRecord, JobRecord
from linarite.resources.fine_tuning.repository import Lock
from linarite.resources.fine_tuning.tuned import TunedModels
from linarite.resources.models.service import Models
from linarite.settings import FineTuningSettings
from linarite.storage import blob_rows
from linarite.storage.blobs import BlobStore
from linarite.storage.database import Database, Transaction
from linarite.tasks.queue import Queue
from linarite.wire.files import Purpose
from linarite.wire.fine_tuning import FineTuningJobCreation, LogLevel
from linarite.wire.models import FineTuningState

RUN = "fine_tuning.run"

ENQUEUED = "Job enqueued. Waiting for jobs ahead to complete."
CANCELLED = "Job cancelled."
NOT_TUNABLE = "The specified base model does not support fine-tuning."


@dataclass(frozen=True)
class Start:
    """What a job starts from: a model by its resolved name, and the adapter of a tuned one."""

    model: str
    base_model: str
    adapter: dict[str, str] | None = None


@dataclass(frozen=True)
class FineTuning:
    """The tuning jobs of all resources.

    Args:
        database: where their rows are.
        blobs: where their inputs and what they made are.
        files: whose they are.
        models: what can be tuned.
        tuned: what was.
        deployments: what must not lose its model.
        queue: where their task is put down.
        clock: tells the time.
        settings: the ``[fine_tuning]`` section.
        runs: where runs of Weights & Biases are kept, a folder a job.
        missing: why nothing can be trained here, or None.
    """

    database: Database
    blobs: BlobStore
    files: Files
    models: Models
    tuned: TunedModels
    deployments: Deployments
    queue: Queue
    clock: Clock
    settings: FineTuningSettings
    runs: Path
    missing: Callable[[], LinariteError | None] = lambda: None

    def create(self, resource: str, body: FineTuningJobCreation) -> JobRecord:
        """Queue a job; it starts in ``pending``, and a worker trains it when its turn comes.

        Raises:
            DeploymentNotFound: `resource` knows no model of that name.
            InvalidPayload: that model cannot be tuned, a file is not a processed one for
                fine-tuning, or something is out of its range.
            NotFound: there is no such file.
            QuotaExceeded: as many jobs are there, or wait, as may; or there is no room for more.
            ServiceUnavailable: training is not part of this installation.

        Contract: FineTuning_Create, 201 FineTuningJob.
        """
        creation.check_names(body)
        self.files.check_room(resource, 1)
        values: dict[str, Any] = {
            "id": ids.job_id(),
            "resource": resource,
            "status": FineTuningState.PENDING,
            "method": creation.method_of(body),
            "hyperparameters": creation.hyperparameters_of(body),
            "seed": secrets.randbelow(2**31) if body.seed is None else body.seed,
            "suffix": body.suffix,
            "integrations": _integrations(body),
            "training_file_id": body.training_file,
            "validation_file_id": body.validation_file or None,
            "created_at": self.clock.now(),
        }
        with self.database.transaction() as tx:
            start = self._start(tx, resource, body.model)
            if (missing := self.missing()) is not None:
                raise missing
            values |= vars(start) | self._inputs(tx, resource, body)
            self._refuse_too_many(tx, resource)
            record = repository.insert(tx, values)
            for blob_id in record.blob_ids:
                blob_rows.use(tx, blob_id, record.user)
            repository.add_events(tx, record, [self.event(ENQUEUED)])
            self.queue.enqueue(tx, RUN, record.id, resource=resource, place=record.seq)
        return record

    def get(self, resource: str, job_id: str) -> JobRecord:
        """One job; raises NotFound. Contract: FineTuning_Get."""
        with self.database.reading() as connection:
            return _found(connection, resource, job_id)

    def page(self, resource: str, page: Page) -> Listed[JobRecord]:
        """A page of jobs; an unknown `after` raises InvalidPayload. Contract: FineTuning_List."""
        with self.database.reading() as connection:
            return repository.page(connection, resource, page)

    def events(self, resource: str, job_id: str, page: Page) -> Listed[EventRecord]:
        """A page of a job's events.

        Raises:
            NotFound: there is no such job.
            InvalidPayload: `page.after` is none of its events.

        Contract: FineTuning_GetEvents.
        """
        with self.database.reading() as connection:
            job = _found(connection, resource, job_id)
            return repository.events_page(connection, job, page)

    def checkpoints(
        self, resource: str, job_id: str, page: Page
    ) -> tuple[JobRecord, Listed[CheckpointRecord]]:
        """A job and a page of its checkpoints.

        Raises:
            NotFound: there is no such job.
            InvalidPayload: `page.after` is none of its checkpoints.

        Contract: FineTuning_GetCheckpoints.
        """
        with self.database.reading() as connection:
            job = _found(connection, resource, job_id)
            return job, repository.checkpoints_page(connection, job, page)

    def cancel(self, resource: str, job_id: str) -> JobRecord:
        """End a job; what still trains is stopped within seconds, finished epochs stay usable.

        Raises:
            NotFound: there is no such job.
            UnexpectedEntityState: it has ended.

        Contract: FineTuning_Cancel, 200 FineTuningJob.
        """
        with self.database.transaction() as tx:
            job = _found(tx, resource, job_id)
            now = self.clock.now()
            moved = repository.move(tx, job.id, FineTuningState.CANCELLED, finished_at=now)
            if moved is None:
                ended = repository.find_any(tx, job.id) or job
                JOB.check(ended.status, FineTuningState.CANCELLED)
                raise UnexpectedEntityState(f"The job is {ended.status}.")
            repository.add_events(tx, moved, [self.event(CANCELLED)])
            unread = self.let_go(tx, moved) if moved.run == 0 else set()
        for blob_id in unread:
            self.files.drop_unused(blob_id)
        return moved

    def delete(self, resource: str, job_id: str) -> None:
        """Remove a job that has ended, and with it the models that it made.

        Its results file stays, as do jobs that started from one of its models.

        Raises:
            NotFound: there is no such job.
            UnexpectedEntityState: it has not ended, or one of its models is deployed.

        Contract: FineTuning_Delete, 204.
        """
        with self.database.transaction() as tx:
            job = _found(tx, resource, job_id, lock=Lock.ALONE)
            made = repository.checkpoints(tx, job)
            names = {job.tuned_model}.union(*(one.names(job) for one in made))
            self._refuse_deployed(tx, names)
            self._remove(tx, job)
            for checkpoint in made:
                self.release(tx, job, checkpoint)
        for blob_id in job.blob_ids | repository.blob_ids_of(made):
            self.files.drop_unused(blob_id)
        self.tuned.remove(sorted(names))
        shutil.rmtree(self.runs / job.id, ignore_errors=True)

    def download(self, resource: str, name: str, form: str) -> Download:
        """A tuned model or checkpoint as a file.

        Raises:
            NotFound: `resource` has none of that name.
            InvalidPayload: `form` is none.
            ExtraMissing, ModelMissing, UnusableModel: it cannot be had in that form here.
        """
        if form not in set(Form):
            raise InvalidPayload(
                f"`form` is {form[:40]!r}; it must be one of {', '.join(Form)}.", target="form"
            )
        with self.database.reading() as connection:
            found = self.tuned.find(connection, resource, name)
        if found is None:
            raise NotFound(f"There is no tuned model {name[:200]!r}.")
        return download(self.tuned, *found, Form(form))

    def live_results(self, file: FileRecord) -> Iterator[bytes]:
        """The results so far of the job that `file` belongs to."""
        with self.database.reading() as connection:
            job = repository.of_file(connection, file.id)
        if job is not None:
            yield from results.lines(job.method, repository.steps_in_order(self.database, job))

    def let_go(self, tx: Transaction, job: JobRecord) -> set[str]:
        """End a job's use of what it read; gives the blobs, to be dropped after `tx`."""
        for blob_id in job.blob_ids:
            blob_rows.release(tx, blob_id, job.user)
        if job.blob_ids:
            repository.let_go(tx, job)
        return job.blob_ids

    def release(self, tx: Transaction, job: JobRecord, checkpoint: CheckpointRecord) -> None:
        """End a checkpoint's use of its files, and its resource's charge for them."""
        for blob_id in checkpoint.files.values():
            self.files.discharge(tx, job.resource, blob_rows.get(tx, blob_id).bytes)
            blob_rows.release(tx, blob_id, checkpoint.user)

    def event(
        self, message: str, level: LogLevel = LogLevel.INFO, *, at: int | None = None
    ) -> EventRecord:
        """An event that tells a message."""
        return EventRecord(ids.event_id(), self.clock.now() if at is None else at, level, message)

    def _start(self, tx: Transaction, resource: str, name: str) -> Start:
        """What the model `name` is to start from.

        Raises:
            DeploymentNotFound: `resource` knows no such model.
            InvalidPayload: it cannot be tuned.
        """
        found = None
        for one in dict.fromkeys((name, self.models.meant(name))):
            # its files must not be removed before the job has its own use of them
            found = found or self.tuned.find(tx, resource, one, lock=Lock.SHARED)
        if found is not None:
            job, checkpoint = found
            return Start(checkpoint.name(job), job.base_model, checkpoint.files)
        model = self.models.find_everyones(name)
        if model is None:
            raise DeploymentNotFound(
                f"The model {name[:200]!r} does not exist; GET /openai/models lists those that do, "
                "and under `capabilities` whether they can be tuned.",
                target="$.model",
            )
        if not (model.tunable and model.able.fine_tune) or model.path is None:
            raise InvalidPayload(NOT_TUNABLE, target="$.model")
        return Start(model.id, model.id)

    def _inputs(
        self, tx: Transaction, resource: str, body: FineTuningJobCreation
    ) -> dict[str, Any]:
        _, training = self.files.input_blob(tx, resource, body.training_file, Purpose.FINE_TUNE)
        found = {"training_blob_id": training.id}
        if body.validation_file:
            _, validation = self.files.input_blob(
                tx, resource, body.validation_file, Purpose.FINE_TUNE
            )
            found["validation_blob_id"] = validation.id
        return found

    def _remove(self, tx: Transaction, job: JobRecord) -> None:
        file_id = job.result_file_id
        if JOB.is_final(job.status) and file_id and self.files.is_in_the_making(tx, file_id):
            raise UnexpectedEntityState(
                f"The job {job.id} is still being stopped; try again in a few seconds."
            )
        for blob_id in job.blob_ids:
            blob_rows.release(tx, blob_id, job.user)
        if not repository.remove(tx, job):
            raise UnexpectedEntityState(
                f"The job {job.id} is {job.status}; cancel it before it is deleted."
            )

    def _refuse_too_many(self, tx: Transaction, resource: str) -> None:
        self.files.hold_quota(tx, resource)  # of two at once, the second counts the first
        most, there = self.files.limits.fine_tuning_jobs, repository.count(tx, resource)
        if most is not None and there >= most:
            raise QuotaExceeded(
                f"This resource has {there} tuning jobs, which is the most; delete some first."
            )
        waiting = repository.count(tx, resource, FineTuningState.PENDING)
        if waiting >= self.settings.queued:
            raise QuotaExceeded(
                f"{waiting} jobs of this resource wait already, which is the most; cancel one or "
                "wait until one has started."
            )

    def _refuse_deployed(self, tx: Transaction, names: set[str]) -> None:
        for name in sorted(names):
            for deployment in self.deployments.of_model(tx, name):
                raise UnexpectedEntityState(
                    f"The model {name} is deployed as {deployment.id!r}; delete that deployment "
                    "first."
                )


def _found(
    connection: sa.Connection, resource: str, job_id: str, *, lock: Lock | None = None
) -> JobRecord:
    job = None if "\0" in job_id else repository.find(connection, resource, job_id, lock=lock)
    if job is None:
        raise NotFound(f"There is no fine-tuning job {job_id[:100]!r}.")
    return job


def _integrations(body: FineTuningJobCreation) -> list[dict[str, Any]] | None:
    if body.integrations is None:
        return None
    return [one.model_dump(mode="json", exclude_none=True) for one in body.integrations]
