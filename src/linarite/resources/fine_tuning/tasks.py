"""The work behind a tuning job.

    fine_tuning.run     pending ──▶ running ──▶ succeeded | failed; stops what was cancelled

It may die anywhere and is then performed again from what the rows and the job's folder say. The
training itself is a command that outlives the worker; whoever performs the task next finds it by
the job's id and follows it further. Who works on a job holds its run number; whoever takes over
raises it, and the other's writes find no row.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import structlog

from linarite.engines.installed import find_model
from linarite.errors import LinariteError
from linarite.resources.fine_tuning import repository
from linarite.resources.fine_tuning.ending import Ending, Failure
from linarite.resources.fine_tuning.folder import Entry, JobFolder
from linarite.resources.fine_tuning.following import Following
from linarite.resources.fine_tuning.integrations import TRACK
from linarite.resources.fine_tuning.lifecycle import JOB
from linarite.resources.fine_tuning.records import Fenced, JobRecord
from linarite.resources.fine_tuning.service import RUN, FineTuning
from linarite.storage import blob_rows
from linarite.tasks.launcher import KILLED, Launcher
from linarite.tasks.task import HandedBack, Schedule, Task, Ticket
from linarite.wire.models import FineTuningState

STARTED = "Job started."
PREPROCESSING = "Preprocessing started."

_log = structlog.get_logger("linarite.fine_tuning")

_LOOK_SECONDS = 0.25
_HAND_BACK_SECONDS = 4.0
_SWEEP_EVERY_SECONDS = 3600.0
_DEATHS = 5
_INTERRUPTED, _DOUBLE = 75, 76
"""Exit codes of the command: it was asked to end and can go on; another copy is at it."""


@dataclass(frozen=True)
class Training:
    """How the training command runs.

    Args:
        launcher: runs it.
        command: the program; the job's folder is its last argument.
        environment: what it may see.
        folder: where the jobs' folders are.
        models: where the installed models are.
    """

    launcher: Launcher
    command: Sequence[str]
    environment: Mapping[str, str]
    folder: Path
    models: Path


class Work:
    """What performs the task of tuning jobs.

    Args:
        jobs: their operations, and the parts that those have.
        training: how the training command runs.
    """

    def __init__(self, jobs: FineTuning, training: Training) -> None:
        self._jobs = jobs
        self._training = training
        self._ending = Ending(jobs)

    def tasks(self) -> list[Task]:
        """Every task of tuning jobs."""
        settings = self._jobs.settings
        return [
            Task(
                RUN,
                self.run,
                self.give_up,
                concurrency=settings.at_once,
                per_resource=settings.running,
            )
        ]

    def schedules(self) -> list[Schedule]:
        """What comes round: the folders of models that are no more."""
        return [Schedule("fine_tuning.sweep", _SWEEP_EVERY_SECONDS, self.sweep)]

    def sweep(self, _ticket: Ticket) -> None:
        """Remove what a process that died left among the folders of tuned models."""
        self._jobs.tuned.sweep(older_than_seconds=_SWEEP_EVERY_SECONDS)

    def run(self, job_id: str, ticket: Ticket) -> None:
        """Train until the job has ended, by itself or by being cancelled; then tidy up."""
        job = self._begin(job_id, ticket)
        try:
            if job is not None and job.status == FineTuningState.RUNNING:
                self._train(job, ticket)
            self._tidy(job_id, ticket)
        except Fenced:
            if self._ending.find(job_id) is None:  # deleted while it was being stopped
                self._remove(job_id)
        except HandedBack:
            self._training.launcher.stop(job_id, grace_seconds=_HAND_BACK_SECONDS, kill=False)
            raise

    def give_up(self, job_id: str, error: Exception) -> None:
        """Fail a job that the server itself could not run."""
        with self._jobs.database.transaction() as tx:
            job = repository.take(tx, job_id)
        self._training.launcher.stop(job_id, grace_seconds=0)
        if job is not None and not JOB.is_final(job.status):
            self._ending.fail(job, _server_fault(error))
        self._ending.clean(job_id)
        self._remove(job_id)

    def _begin(self, job_id: str, ticket: Ticket) -> JobRecord | None:
        """Take the job, and start it if it waited."""
        with self._jobs.database.transaction() as tx:
            ticket.guard(tx)
            job = repository.take(tx, job_id)
            if job is None or job.status != FineTuningState.PENDING:
                return job
            started = repository.move(tx, job_id, FineTuningState.RUNNING, run=job.run)
            if started is not None:
                repository.add_events(tx, started, [self._jobs.event(STARTED)])
                if started.integrations:
                    self._jobs.queue.enqueue(tx, TRACK, job_id, resource=started.resource)
            return started

    def _train(self, job: JobRecord, ticket: Ticket) -> None:
        folder = self._folder(job.id)
        try:
            job = self._prepare(job, folder, ticket)
        except _BaseGone as gone:
            self._ending.fail(job, Failure("model_missing", str(gone), "model"))
            return
        following = Following(self._jobs, folder, ticket)
        deaths = _Deaths()
        self._submit(job, folder)
        while True:
            ticket.check()
            position, status = job.log_position, self._training.launcher.status(job.id)
            job, last = following.advance(job)
            if last is not None:
                self._end(job, last)
                return
            with self._jobs.database.reading() as connection:
                if repository.standing(connection, job) != FineTuningState.RUNNING:
                    return
                step = repository.last_step(connection, job)
            if not status.is_running and job.log_position == position:
                if deaths.are_too_many(step, status.code):
                    said = self._training.launcher.said(job.id)
                    _log.error("training died", job=job.id, code=status.code, output=said)
                    self._ending.fail(job, _why_it_died(status.code))
                    return
                ticket.wait(deaths.pause_seconds)
                self._submit(job, folder)
            ticket.wait(_LOOK_SECONDS)

    def _prepare(self, job: JobRecord, folder: JobFolder, ticket: Ticket) -> JobRecord:
        """See to it that the folder is there; a new one begins a new log."""
        if not folder.is_whole:
            self._make(job, folder)
        if job.log_id == (folder_id := folder.id):
            return job
        with self._jobs.database.transaction() as tx:
            ticket.guard(tx)
            noted = repository.note(tx, job, log_id=folder_id, log_position=0)
            if job.log_id is None:
                repository.add_events(tx, noted, [self._jobs.event(PREPROCESSING)])
        return noted

    def _make(self, job: JobRecord, folder: JobFolder) -> None:
        base = find_model(self._training.models, job.base_model)
        if base is None:
            raise _BaseGone(
                f"The model {job.base_model} is not on this machine any more: pull or add it "
                "again, then start a new job."
            )
        jobs = self._jobs
        with jobs.database.reading() as connection:
            training = blob_rows.get(connection, job.training_blob_id or "")
            validation = None
            if job.validation_blob_id is not None:
                validation = blob_rows.get(connection, job.validation_blob_id)
        adapter = job.adapter
        folder.make(
            job,
            base.folder,
            jobs.blobs.read(training.extents),
            None if validation is None else jobs.blobs.read(validation.extents),
            None if adapter is None else partial(jobs.tuned.write_adapter, adapter),
        )

    def _submit(self, job: JobRecord, folder: JobFolder) -> None:
        training = self._training
        path = folder.path.absolute()
        command = [*training.command, str(path)]
        training.launcher.submit(job.id, command, path, training.environment)

    def _end(self, job: JobRecord, last: Entry) -> None:
        """End the job as the log's last line says."""
        if last.kind == "succeeded":
            self._ending.succeed(job, last.fields["trained_tokens"])
        else:
            told = last.fields
            self._ending.fail(job, Failure(told["code"], told["message"], told.get("param")))

    def _tidy(self, job_id: str, ticket: Ticket) -> None:
        """Stop what still trains, keep what it had finished, and remove what was needed for it."""
        folder = self._folder(job_id)
        self._training.launcher.stop(job_id, grace_seconds=0)
        job = self._ending.find(job_id)
        if job is not None and job.status == FineTuningState.CANCELLED and folder.is_whole:
            self._keep_the_rest(job, folder, ticket)
        self._ending.clean(job_id)
        self._remove(job_id)

    def _keep_the_rest(self, job: JobRecord, folder: JobFolder, ticket: Ticket) -> None:
        """What a cancelled job told before it was stopped: its steps and checkpoints."""
        if job.log_id != folder.id:
            return
        following = Following(self._jobs, folder, ticket)
        position = -1
        while job.log_position != position:
            position = job.log_position
            job, _ = following.advance(job, quietly=True)

    def _remove(self, job_id: str) -> None:
        """Leave nothing of the training itself: no process, no folder, no note of the command."""
        self._training.launcher.stop(job_id, grace_seconds=0)
        self._folder(job_id).remove()
        self._training.launcher.forget(job_id)

    def _folder(self, job_id: str) -> JobFolder:
        return JobFolder(self._training.folder / job_id)


class _BaseGone(Exception):
    """The base model is not on this machine."""


class _Deaths:
    """Counts how often the command ended before its time without getting further."""

    def __init__(self) -> None:
        self._step: int | None = None
        self._count = 0

    @property
    def pause_seconds(self) -> float:
        """How long to wait before it is started again."""
        return 0.0 if self._count == 0 else float(min(2 ** (self._count - 1), 30)) / 2

    def are_too_many(self, step: int | None, code: int | None) -> bool:
        """Note one more end, after that step; whether it makes no sense to go on."""
        if step != self._step:
            self._step, self._count = step, 0
        self._count += code not in {_INTERRUPTED, _DOUBLE}
        return self._count >= _DEATHS


def _why_it_died(code: int | None) -> Failure:
    if code == KILLED:
        return Failure(
            "out_of_memory",
            "The training was killed again and again, as a machine does that runs out of memory. "
            "Lower the batch size, shorten the longest examples, or train a smaller model.",
            "hyperparameters",
        )
    return Failure(
        "server_error",
        f"The training ended {_DEATHS} times without getting further (exit code {code}); the "
        "server's log has what it said.",
    )


def _server_fault(error: Exception) -> Failure:
    said = error.message if isinstance(error, LinariteError) else type(error).__name__
    return Failure("server_error", f"The job failed due to an internal error ({said}).")
