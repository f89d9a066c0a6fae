"""Tells Weights & Biases of the jobs that ask for it, beside the work that trains them.

    fine_tuning.track     from the start of a job until its runs are told to their ends

It reads what the rows say, and the training knows nothing of it: neither waits for the other, and
nothing that happens here fails a job. Every step stands in the rows, so a run can be told from its
beginning at any time. Where Weights & Biases is out of reach that is done once more, into a folder
that ``wandb sync`` sends later; where a worker died, its successor asks how far the run has come.

    online ──▶ ended                  its folder is removed
      └──▶ offline ──▶ ended          its folder is kept: RUNS/JOB/NUMBER
              └──▶ given up
"""

import hashlib
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from linarite.resources.fine_tuning import repository
from linarite.resources.fine_tuning.lifecycle import JOB
from linarite.resources.fine_tuning.records import EventRecord, JobRecord
from linarite.resources.fine_tuning.repository import Lock
from linarite.resources.fine_tuning.service import FineTuning
from linarite.settings import WandbSettings
from linarite.tasks.task import Task, Ticket
from linarite.tracking import extra
from linarite.tracking.process import Process, wait_for_any
from linarite.tracking.run import Attempt, Mode, Run
from linarite.wire.fine_tuning import LogLevel
from linarite.wire.models import FineTuningState

TRACK = "fine_tuning.track"

_MISSING = (
    f"Weights & Biases is not part of this installation (pip install '{extra.EXTRA}'); the job "
    "runs without it, and its results file has every step."
)
_OFFLINE = "the server keeps the run, to be sent there later."
_NO_KEY = f"No key for Weights & Biases is set on this server; {_OFFLINE}"
_SILENT = "its client ended, or was silent for too long"
_LOOK_SECONDS = 0.25
_STEPS_AT_ONCE = 40  # their metrics must fit into a pipe, whatever it waits for
_TELL_SECONDS = 60.0  # nothing but the disk is waited for
_SLACK_SECONDS = 5.0  # for wandb to say itself that it is late
_LONGEST_REASON = 300


@dataclass(frozen=True)
class Tracking:
    """What performs the task.

    Args:
        jobs: their rows and events.
        settings: the ``[wandb]`` section.
        is_installed: whether the client is.
    """

    jobs: FineTuning
    settings: WandbSettings
    is_installed: Callable[[], bool] = extra.is_installed

    def tasks(self) -> list[Task]:
        """The task, of which every running job may have one, and jobs that ended as well."""
        return [
            Task(TRACK, self.track, self.give_up, concurrency=2 * self.jobs.settings.at_once + 2)
        ]

    def track(self, job_id: str, ticket: Ticket) -> None:
        """Tell of a job until all its runs have ended."""
        job = self.find(job_id)
        if job is not None and not self.is_installed():
            self.warn(job, "missing", _MISSING, ticket)
            return
        wanted = [] if job is None else job.integrations or []
        runs = [_Tracked(self, number, ticket) for number in range(1, len(wanted) + 1)]
        try:
            while job is not None and not all(one.is_over for one in runs):
                for one in runs:
                    one.advance(job)
                wait_for_any([one.process for one in runs if one.process], _LOOK_SECONDS)
                ticket.check()
                job = self.find(job_id)
        finally:
            for one in runs:
                one.stop()
        folder = self.jobs.runs / job_id
        if job is None:
            shutil.rmtree(folder, ignore_errors=True)
        elif folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()

    def give_up(self, job_id: str, error: Exception) -> None:
        """Say so; the job itself has nothing to do with it."""
        job = self.find(job_id)
        if job is not None:
            reason = f"Weights & Biases is told no more of this job ({type(error).__name__})."
            self.warn(job, "given up", reason)

    def find(self, job_id: str) -> JobRecord | None:
        """The job as it stands; None once it is deleted."""
        with self.jobs.database.reading() as connection:
            return repository.find_any(connection, job_id)

    def warn(self, job: JobRecord, about: str, message: str, ticket: Ticket | None = None) -> None:
        """Tell the job's owner of something that is not as asked."""
        self.tell(job, about, message, LogLevel.WARNING, ticket)

    def tell(
        self, job: JobRecord, about: str, message: str, level: LogLevel, ticket: Ticket | None
    ) -> None:
        """Add an event, once: another one about the same adds nothing."""
        known = hashlib.sha256(f"{job.id} {about}".encode()).hexdigest()[:32]
        event = EventRecord(f"ftevent-{known}", self.jobs.clock.now(), level, message)
        with self.jobs.database.transaction() as tx:
            if ticket is not None:
                ticket.guard(tx)
            if repository.find_any(tx, job.id, lock=Lock.SHARED) is not None:
                repository.add_events(tx, job, [event])


class _Tracked:
    """One run of a job, as one of its integrations asks for it.

    Args:
        tracking: the parts that it needs.
        number: which of the integrations, from 1.
        ticket: the right to write.
    """

    def __init__(self, tracking: Tracking, number: int, ticket: Ticket) -> None:
        self._tracking = tracking
        self._number = number
        self._ticket = ticket
        self.process: Process | None = None
        self._mode: Mode = "online"
        self._connect_seconds = tracking.settings.connect_seconds
        self._finish_seconds = tracking.settings.finish_seconds
        self._wants: int | None = None
        self._reason = _SILENT
        self.is_over = False

    def advance(self, job: JobRecord) -> None:
        """Do what can be done without waiting."""
        if self.is_over or not (job.steps or JOB.is_final(job.status)):
            return
        if self.process is None:
            self.process = self._start(job)
        is_lost = self.process.is_lost
        for said in self.process.hear():
            self._take(job, self.process, said)
        if self.is_over:
            self._end(job)
        elif is_lost:
            self._fall_back(job)
        elif self._wants is not None:
            self._answer(job, self.process, self._wants)

    def stop(self) -> None:
        """End the process, if there is one."""
        if self.process is not None:
            self.process.kill()
        self.process = None

    def _start(self, job: JobRecord) -> Process:
        settings = self._tracking.settings
        if settings.api_key is None and self._mode == "online":
            self._set_offline()
            self._tracking.warn(job, "no key", _NO_KEY, self._ticket)
        self._remove(job)
        attempt = Attempt(
            self._mode,
            self._folder(job),
            settings.base_url.rstrip("/"),
            self._connect_seconds,
            self._finish_seconds,
        )
        key = settings.api_key if self._mode == "online" else None
        secret = None if key is None else key.get_secret_value()
        return Process(run_of(job, self._number), attempt, secret)

    def _set_offline(self) -> None:
        self._mode = "offline"
        self._connect_seconds = self._finish_seconds = _TELL_SECONDS

    def _take(self, job: JobRecord, process: Process, said: dict[str, Any]) -> None:
        match said["kind"]:
            case "loaded":
                process.allow(self._connect_seconds)
            case "begun" if self._mode == "online":
                url = f"Weights & Biases run: {said['url']}"
                about = f"run {self._number}"
                self._tracking.tell(job, about, url, LogLevel.INFO, self._ticket)
            case "wants":
                self._wants = said["after"]
                process.allow(None)
            case "ended":
                self.is_over = True
            case "failed":
                self._reason = said["message"]

    def _answer(self, job: JobRecord, process: Process, after: int) -> None:
        """Give it the next steps; or the end, once nothing more can come."""
        with self._tracking.jobs.database.reading() as connection:
            steps = repository.steps_after(connection, job, after, _STEPS_AT_ONCE)
        if steps:
            process.allow(_TELL_SECONDS)
            process.tell({"steps": steps})
        elif job.is_tidied:
            process.allow(self._finish_seconds + _SLACK_SECONDS)
            process.tell({"end": end_of(job)})
        else:
            return
        self._wants = None

    def _fall_back(self, job: JobRecord) -> None:
        """Tell it all once more into a folder; if that was it already, leave it."""
        self.stop()
        self._wants, reason, self._reason = None, self._reason[:_LONGEST_REASON], _SILENT
        if self._mode == "online":
            self._set_offline()
            message = f"Weights & Biases could not be told of the run ({reason}); {_OFFLINE}"
            self._tracking.warn(job, f"offline {self._number}", message, self._ticket)
        else:
            self.is_over = True
            message = f"The run for Weights & Biases could not be written ({reason})."
            self._tracking.warn(job, f"unwritten {self._number}", message, self._ticket)

    def _end(self, job: JobRecord) -> None:
        """Keep what is still to be sent, and nothing else."""
        self.stop()
        if self._mode == "online":
            self._remove(job)

    def _remove(self, job: JobRecord) -> None:
        shutil.rmtree(self._folder(job), ignore_errors=True)

    def _folder(self, job: JobRecord) -> Path:
        return self._tracking.jobs.runs / job.id / str(self._number)


def run_of(job: JobRecord, number: int) -> Run:
    """What Weights & Biases is told of a job before its first step."""
    asked = (job.integrations or [])[number - 1]["wandb"]
    return Run(
        job.id if number == 1 else f"{job.id}-{number}",
        asked["project"],
        asked.get("name") or job.id,
        asked.get("entity"),
        tuple(asked.get("tags") or ()),
        {
            "job": job.id,
            "model": job.model,
            "base_model": job.base_model,
            "method": job.method,
            "hyperparameters": job.hyperparameters,
            "seed": job.seed,
            "suffix": job.suffix,
            "training_file": job.training_file_id,
            "validation_file": job.validation_file_id,
            "results_file": job.result_file_id,
        },
    )


def end_of(job: JobRecord) -> dict[str, Any]:
    """How a job ended, in Weights & Biases' terms: an exit code, and what is shown beside it."""
    error = job.error or {}
    summary = {
        "status": job.status,
        "fine_tuned_model": job.fine_tuned_model,
        "trained_tokens": job.trained_tokens,
        "error": error.get("message"),
    }
    return {
        "exit_code": 0 if job.status == FineTuningState.SUCCEEDED else 1,
        "summary": {name: value for name, value in summary.items() if value is not None},
    }
