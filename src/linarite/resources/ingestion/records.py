"""Ingestion jobs and their runs as rows: what stands in them, and what is shown."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from linarite.wire.ingestion import (
    IngestionError,
    IngestionJob,
    IngestionJobProgress,
    IngestionJobRun,
    IngestionJobStageProgress,
    IngestionJobType,
    OperationState,
    SystemComputeUrl,
    UserComputeUrl,
)

CRAWLING, PREPROCESSING, INDEXING = "Crawling", "Preprocessing", "Indexing"
"""The stages of a run; the first only where there is something to crawl."""
CANCELLED = "The run was cancelled."


class Trigger(StrEnum):
    """Why there is a run."""

    PUT = "put"
    REFRESH = "refresh"
    RETRY_FAILED = "retryFailed"


@dataclass(frozen=True)
class JobRecord:
    """A row of `ingestion_jobs`."""

    seq: int
    id: str
    resource: str
    index_name: str
    kind: IngestionJobType
    workspace_id: str | None
    definition: str
    """The job as JSON with its secrets, encrypted."""
    interval_hours: int | None
    next_run_at: int | None
    created_at: int
    deleted_at: int | None
    place: str | None
    """Tells the target apart that its chunks lie in; None: there are none yet."""
    filled_by: str | None
    """The definition, encrypted, by which they came there."""

    @property
    def key(self) -> str:
        """What tasks know it by."""
        return str(self.seq)

    @property
    def maker(self) -> str:
        """What its chunks bear; see `Run.maker`."""
        return _maker(self.resource, self.id, self.seq, self.created_at)

    def to_wire(self) -> IngestionJob:
        """The job as lists show it."""
        told = {"kind": self.kind, "jobId": self.id}
        if self.workspace_id is not None:
            told["workspaceId"] = self.workspace_id
        return IngestionJob.model_validate(told)


@dataclass(frozen=True)
class Run:
    """A row of `ingestion_runs`, and whose it is."""

    seq: int
    id: str
    job: int
    job_id: str
    resource: str
    trigger: Trigger
    status: OperationState
    stages: list[dict[str, Any]]
    """As the wire shows them."""
    error: dict[str, Any] | None
    created: int
    job_created: int
    started_at: int | None
    cancelled_at: int | None
    finished_at: int | None

    @property
    def maker(self) -> str:
        """Tells its job from every other, also from one of the same names on another server."""
        return _maker(self.resource, self.job_id, self.job, self.job_created)

    @property
    def is_resumed(self) -> bool:
        """Whether a worker was at it before."""
        return any(stage["state"] != OperationState.NOT_RUNNING for stage in self.stages)

    def to_wire(self) -> IngestionJobRun:
        """The run as lists show it."""
        return IngestionJobRun(job_id=self.job_id, run_id=self.id, status=self.status)

    def in_full(self, warnings: Sequence[str]) -> IngestionJobRun:
        """The run with all that is told of it."""
        stages = [IngestionJobStageProgress.model_validate(one) for one in self.stages]
        return IngestionJobRun(
            job_id=self.job_id,
            run_id=self.id,
            status=self.status,
            error=None if self.error is None else IngestionError.model_validate(self.error),
            warnings=list(warnings) or None,
            progress=IngestionJobProgress(stage_progress=stages),
        )

    def ended(self, state: OperationState) -> list[dict[str, Any]]:
        """Its stages once it has ended as `state`: none is running any more."""
        return [_ended(stage, state) for stage in self.stages]


@dataclass(frozen=True)
class Filled:
    """The target that a job's chunks lie in.

    Args:
        place: tells it apart; None: there are no chunks yet.
        job: as it was when they came there; None where that cannot be read any more.
    """

    place: str | None
    job: IngestionJob | None


def _maker(resource: str, job_id: str, seq: int, created_at: int) -> str:
    return hashlib.sha256(f"{resource}/{job_id}/{seq}/{created_at}".encode()).hexdigest()[:16]


def crawls(job: IngestionJob) -> bool:
    """Whether the job's documents are pages that it fetches, and saves on their way."""
    source = getattr(job, "datasource", None)
    return isinstance(source, SystemComputeUrl | UserComputeUrl)


def first_stages(job: IngestionJob) -> list[IngestionJobStageProgress]:
    """The stages of a run that has not begun."""
    names = [CRAWLING] if crawls(job) else []
    return [
        IngestionJobStageProgress(name=name, state=OperationState.NOT_RUNNING)
        for name in (*names, PREPROCESSING, INDEXING)
    ]


def _ended(stage: dict[str, Any], state: OperationState) -> dict[str, Any]:
    open_ones = {OperationState.RUNNING}
    if state == OperationState.SUCCEEDED:  # what had nothing to do never began
        open_ones.add(OperationState.NOT_RUNNING)
    told = {**stage, "state": state} if stage["state"] in open_ones else stage
    if stage.get("subStageProgress"):
        told = {**told, "subStageProgress": [_ended(s, state) for s in stage["subStageProgress"]]}
    return told
