"""How tuning jobs end: the result becomes a model, the results file whole, inputs are let go."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from linarite.errors import LinariteError
from linarite.resources.fine_tuning import repository, results
from linarite.resources.fine_tuning.lifecycle import JOB
from linarite.resources.fine_tuning.records import EventRecord, JobRecord
from linarite.resources.fine_tuning.service import FineTuning
from linarite.storage.database import Transaction
from linarite.storage.objects import Stored
from linarite.wire.fine_tuning import LogLevel
from linarite.wire.models import FineTuningState

_BILLED_BY = 1000


@dataclass(frozen=True)
class Failure:
    """Why a job fails: one word, a sentence, and the part of the request at fault, if one is."""

    code: str
    message: str
    param: str | None = None


@dataclass(frozen=True)
class Ending:
    """What ends jobs.

    Args:
        jobs: the parts that it needs.
    """

    jobs: FineTuning

    def succeed(self, job: JobRecord, trained_tokens: int) -> None:
        """Make a model of the last checkpoint, unless the job was cancelled meanwhile."""
        with self.jobs.database.reading() as connection:
            made = repository.checkpoints(connection, job)
        if not made or made[0].step != job.steps:
            self.fail(job, Failure("server_error", "The training ended without a result."))
            return
        try:
            self.jobs.tuned.put(job, made[0], job.tuned_model)
        except LinariteError as error:
            self.fail(job, Failure("server_error", f"The result is no model: {error.message}"))
            return
        billed = trained_tokens // _BILLED_BY * _BILLED_BY
        said = [
            "Job succeeded.",
            "Postprocessing started.",
            "Model Evaluation Passed.",
            f"Completed results file: {job.result_file_id}",
            f"Training tokens billed: {billed}",
        ]
        self._end(
            job,
            FineTuningState.SUCCEEDED,
            [self.jobs.event(message) for message in said],
            fine_tuned_model=job.tuned_model,
            trained_tokens=trained_tokens,
        )

    def fail(self, job: JobRecord, failure: Failure) -> None:
        """Fail a job, unless it was cancelled meanwhile; what its epochs made stays."""
        event = self.jobs.event(failure.message, LogLevel.ERROR)
        self._end(job, FineTuningState.FAILED, [event], error=vars(failure))

    def clean(self, job_id: str) -> None:
        """Let go of all that a job that has ended needs no more; nothing when it is done."""
        job = self.find(job_id)
        if job is None or not JOB.is_final(job.status):
            return
        stored = self._results(job)
        with self.jobs.database.transaction() as tx:
            unnamed = self._finish_results(tx, job, stored)
            blob_ids = self.jobs.let_go(tx, job)
        self.jobs.blobs.delete(unnamed)
        for blob_id in blob_ids:
            self.jobs.files.drop_unused(blob_id)

    def find(self, job_id: str) -> JobRecord | None:
        """The job as it stands."""
        with self.jobs.database.reading() as connection:
            return repository.find_any(connection, job_id)

    def _end(
        self, job: JobRecord, to: FineTuningState, events: Sequence[EventRecord], **values: Any
    ) -> None:
        """Enter the last status together with what is told of it and the results file's bytes."""
        stored = self._results(job)
        unnamed = [] if stored is None else [stored.extent.key]
        with self.jobs.database.transaction() as tx:
            finished_at = events[-1].created_at
            moved = repository.move(tx, job.id, to, run=job.run, finished_at=finished_at, **values)
            if moved is not None:
                repository.add_events(tx, moved, events)
                unnamed = self._finish_results(tx, job, stored)
        self.jobs.blobs.delete(unnamed)

    def _results(self, job: JobRecord) -> Stored | None:
        """Store the results file of a job that has one in the making."""
        if job.result_file_id is None:
            return None
        with self.jobs.database.reading() as connection:
            if not self.jobs.files.is_in_the_making(connection, job.result_file_id):
                return None
        steps = repository.steps_in_order(self.jobs.database, job)
        return self.jobs.blobs.write_all(results.lines(job.method, steps))

    def _finish_results(self, tx: Transaction, job: JobRecord, stored: Stored | None) -> list[str]:
        """Give the results file its bytes; the keys of objects that it does not take."""
        if stored is None or job.result_file_id is None:
            return []
        if self.jobs.files.finish_output(tx, job.result_file_id, stored):
            return []
        return [stored.extent.key]
