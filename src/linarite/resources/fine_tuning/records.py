"""Tuning jobs, their events and checkpoints as rows: what stands in them, and what is shown."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from linarite.resources.fine_tuning.lifecycle import JOB
from linarite.wire.fine_tuning import (
    DpoHyperparamsRequest,
    DpoMethod,
    DpoMethodConfigRequest,
    EventType,
    FineTuningHyperParameters,
    FineTuningJob,
    FineTuningJobCheckpoint,
    FineTuningJobError,
    FineTuningJobEvent,
    FineTuningMethodType,
    LogLevel,
    SupervisedMethod,
    WandBIntegrationRequestWrapper,
)
from linarite.wire.models import FineTuningState

COMMON = ("n_epochs", "batch_size", "learning_rate_multiplier")
"""The hyperparameters of every method."""
OF_METHOD: Mapping[str, tuple[str, ...]] = {
    FineTuningMethodType.SUPERVISED: COMMON,
    FineTuningMethodType.DPO: (*COMMON, "beta", "l2_multiplier"),
}

_JOB_IN_NAME = re.compile(r"\.ft-([0-9a-f]{32})(?:-[A-Za-z0-9_-]{1,40})?(?::ckpt-step-[0-9]+)?")


class Fenced(Exception):
    """Another worker took the job over, and this one may write nothing more about it."""


def tuned_name(base_model: str, job_id: str, suffix: str | None) -> str:
    """What the model that a job makes is called."""
    name = f"{base_model}.ft-{job_id.removeprefix('ftjob-')}"
    return f"{name}-{suffix}" if suffix else name


def job_in(name: str) -> str | None:
    """The id of the job that the name of a tuned model or checkpoint speaks of, if it is one."""
    found = re.search(_JOB_IN_NAME.pattern + r"\Z", name)
    return f"ftjob-{found[1]}" if found else None


@dataclass(frozen=True)
class JobRecord:
    """A row of `fine_tuning_jobs`."""

    seq: int
    id: str
    resource: str
    status: FineTuningState
    run: int
    """How often a worker took it; only the last one may write."""
    model: str
    """What it starts from: a base model, a tuned one or a checkpoint, never an alias."""
    base_model: str
    adapter: dict[str, str] | None
    """The files of a tuned start as blobs; the job uses them until it has ended."""
    method: FineTuningMethodType
    hyperparameters: dict[str, Any]
    """As asked, and from the plan on as they are; -1 for what the service is to choose."""
    seed: int
    suffix: str | None
    integrations: list[dict[str, Any]] | None
    training_file_id: str
    training_blob_id: str | None
    """The bytes, which the job keeps for itself; None once it has ended."""
    validation_file_id: str | None
    validation_blob_id: str | None
    result_file_id: str | None
    fine_tuned_model: str | None
    steps: int | None
    log_id: str | None
    """The folder whose log was read up to `log_position`."""
    log_position: int
    trained_tokens: int | None
    error: dict[str, Any] | None
    created_at: int
    finished_at: int | None
    estimated_finish: int | None

    @property
    def user(self) -> str:
        """Its name among the users of a blob."""
        return f"job:{self.id}"

    @property
    def tuned_model(self) -> str:
        """The name of the model that it makes, whether or not it is there yet."""
        return tuned_name(self.base_model, self.id, self.suffix)

    @property
    def blob_ids(self) -> set[str]:
        """The blobs that it reads."""
        read = {self.training_blob_id, self.validation_blob_id, *(self.adapter or {}).values()}
        return {blob_id for blob_id in read if blob_id is not None}

    @property
    def is_tidied(self) -> bool:
        """Whether it has ended, and all that it told is in the rows."""
        return JOB.is_final(self.status) and self.training_blob_id is None

    def ends_epoch(self, step: int) -> bool:
        """Whether an epoch ends with that step, as far as the plan is known."""
        epochs = self.hyperparameters["n_epochs"]
        if not self.steps or epochs < 1:
            return False
        return step % max(1, self.steps // epochs) == 0 or step == self.steps

    def to_wire(self) -> FineTuningJob:
        """The job as the contract shows it."""
        common = {name: self.hyperparameters[name] for name in COMMON}
        return FineTuningJob(
            id=self.id,
            created_at=self.created_at,
            status=self.status,
            model=self.model,
            fine_tuned_model=self.fine_tuned_model,
            training_file=self.training_file_id,
            validation_file=self.validation_file_id,
            result_files=None if self.result_file_id is None else [self.result_file_id],
            finished_at=self.finished_at,
            trained_tokens=self.trained_tokens,
            error=None if self.error is None else FineTuningJobError(**self.error),
            estimated_finish=self.estimated_finish,
            hyperparameters=FineTuningHyperParameters(**common),
            suffix=self.suffix,
            seed=self.seed,
            integrations=_integrations(self.integrations),
            method=self._method(),
        )

    def _method(self) -> SupervisedMethod | DpoMethod:
        if self.method == FineTuningMethodType.SUPERVISED:
            return SupervisedMethod()
        chosen = DpoHyperparamsRequest(**self.hyperparameters)
        return DpoMethod(dpo=DpoMethodConfigRequest(hyperparameters=chosen))


@dataclass(frozen=True)
class EventRecord:
    """A row of `fine_tuning_events`."""

    id: str
    created_at: int
    level: LogLevel
    message: str
    step: int | None = None
    data: dict[str, Any] | None = None

    def to_wire(self) -> FineTuningJobEvent:
        """The event as the contract shows it."""
        return FineTuningJobEvent(
            id=self.id,
            created_at=self.created_at,
            level=self.level,
            message=self.message,
            type=EventType.MESSAGE if self.step is None else EventType.METRICS,
            data=self.data,
        )


@dataclass(frozen=True)
class CheckpointRecord:
    """A row of `fine_tuning_checkpoints`."""

    id: str
    step: int
    metrics: dict[str, float]
    files: dict[str, str]
    """The adapter's files as blobs."""
    created_at: int

    @property
    def user(self) -> str:
        """Its name among the users of a blob."""
        return f"checkpoint:{self.id}"

    def name(self, job: JobRecord) -> str:
        """What the model is called as it was then; the last one of a job is what it made."""
        is_result = job.fine_tuned_model is not None and self.step == job.steps
        return job.tuned_model if is_result else f"{job.tuned_model}:ckpt-step-{self.step}"

    def names(self, job: JobRecord) -> set[str]:
        """Every model name that it goes by; a result keeps the one that it had as a checkpoint."""
        return {self.name(job), f"{job.tuned_model}:ckpt-step-{self.step}"}

    def to_wire(self, job: JobRecord) -> FineTuningJobCheckpoint:
        """The checkpoint of `job` as the contract shows it."""
        return FineTuningJobCheckpoint(
            id=self.id,
            created_at=self.created_at,
            fine_tuned_model_checkpoint=self.name(job),
            step_number=self.step,
            metrics={"step": float(self.step), **self.metrics},
            fine_tuning_job_id=job.id,
        )


def _integrations(
    kept: list[dict[str, Any]] | None,
) -> list[WandBIntegrationRequestWrapper] | None:
    if kept is None:
        return None
    return [WandBIntegrationRequestWrapper.model_validate(one) for one in kept]
