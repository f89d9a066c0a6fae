"""What can be done with ingestion jobs and their runs; the work itself is in `tasks`.

Here is what callers ask for: the contract's operations, and cancelling, deleting and retrying,
which it lacks. What a run's workers tell is in `reporting`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
import structlog
from sqlalchemy.exc import IntegrityError

from linarite import ids
from linarite.errors import (
    DeploymentNotFound,
    InvalidPayload,
    ItemDoesAlreadyExist,
    LinariteError,
    NotFound,
    QuotaExceeded,
    UnexpectedEntityState,
)
from linarite.http.pages import Listed, Page
from linarite.indexing.targets.target import OF_A_JOB
from linarite.resources.deployments.service import Deployments
from linarite.resources.ingestion import definition, listing, repository
from linarite.resources.ingestion.listing import ListedDocument
from linarite.resources.ingestion.masking import masked, unmasked
from linarite.resources.ingestion.records import (
    CANCELLED,
    JobRecord,
    Run,
    Trigger,
    first_stages,
)
from linarite.resources.ingestion.reporting import (
    SHOWN_WARNINGS,
    Reporting,
    more_warnings,
    told_error,
)
from linarite.resources.ingestion.specs import (
    DeploymentEmbeddingSpec,
    EmbeddedIndexSpec,
    Resolved,
)
from linarite.settings import Settings
from linarite.storage.database import Transaction
from linarite.tasks.queue import Queue
from linarite.wire.ingestion import (
    IngestionJob,
    IngestionJobRun,
    IngestionJobUserCompute,
    OperationState,
)

RUN = "ingestion.run"
"""The task of a run; its subject is the run's id."""
DELETE = "ingestion.delete"
"""The task that removes what a deleted job made; its subject is the job's `key`."""

_log = structlog.get_logger("linarite.ingestion")

_DUE_AT_ONCE = 100
_HOUR = 3600


@dataclass(frozen=True)
class Ingestion(Reporting):
    """The ingestion jobs of all resources.

    Args:
        database, clock, secrets: as `Reporting` has them.
        deployments: what embeds.
        queue: where their tasks are put down.
        settings: what the operator named, and how jobs run.
        index_maker: who made the embedded index of that name of a resource; None: there is none.
        missing: why nothing can be ingested here, or None.
    """

    deployments: Deployments
    queue: Queue
    settings: Settings
    index_maker: Callable[[str, str], str | None] = lambda _resource, _index: None
    missing: Callable[[], LinariteError | None] = lambda: None

    def put(self, resource: str, job_id: str, body: IngestionJob) -> tuple[IngestionJob, Run]:
        """Make a job, or give one a new definition; a run of it starts either way.

        Returns:
            The job as it is shown, and the run.

        Raises:
            InvalidPayload: the id or something in the definition is not taken; its target is what.
            UnexpectedEntityState: a run of the job is open, or the job is being deleted.
            ItemDoesAlreadyExist: its index is another job's, or somebody else's.
            QuotaExceeded: there are as many jobs as may be.
            ServiceUnavailable: ingestion is not part of this installation.

        Contract: IngestionJobs_Create, 200 IngestionJob.
        """
        definition.check_job_id(job_id)
        if body.job_id not in {None, job_id}:
            raise InvalidPayload(
                f"`jobId` is {str(body.job_id)[:120]!r}, and the job is {job_id!r}.",
                target="$.jobId",
            )
        hours = definition.refresh_hours(body)
        with self.database.transaction() as tx:
            held = repository.hold(tx, resource, job_id)
            kept = None if held is None else self._opened(held.definition)
            job = unmasked(body, kept).model_copy(update={"job_id": job_id})
            resolved = self._checked(tx, resource, job)
            now = self.clock.now()
            values = {
                "kind": job.kind,
                "workspace_id": _workspace_of(job),
                "definition": self.secrets.seal(job.to_json().decode()),
                "interval_hours": hours,
                "next_run_at": None if hours is None else now + hours * _HOUR,
            }
            if held is None:
                record = self._insert(tx, resource, job_id, resolved, values)
            else:
                self._check_idle(tx, held)
                record = repository.update(tx, held, values)
            run = self._start(tx, record, Trigger.PUT, job)
        return masked(job), run

    def get(self, resource: str, job_id: str) -> IngestionJob:
        """One job as it is shown.

        Raises:
            NotFound: there is no such job.
            UnexpectedEntityState: its definition cannot be read any more.

        Contract: IngestionJobs_Get.
        """
        with self.database.reading() as connection:
            record = _found(connection, resource, job_id)
        return masked(self._open(record))

    def page(self, resource: str, page: Page) -> Listed[JobRecord]:
        """A page of jobs; raises InvalidPayload when `page.after` is none of them.

        Contract: IngestionJobs_List.
        """
        with self.database.reading() as connection:
            return repository.page(connection, resource, page)

    def runs(self, resource: str, job_id: str, page: Page) -> Listed[Run]:
        """A page of a job's runs.

        Raises:
            NotFound: there is no such job.
            InvalidPayload: `page.after` is none of its runs.

        Contract: IngestionJobRuns_List.
        """
        with self.database.reading() as connection:
            return repository.runs_page(connection, _found(connection, resource, job_id), page)

    def run(self, resource: str, job_id: str, run_id: str) -> IngestionJobRun:
        """All that is told of a run; raises NotFound. Contract: IngestionJobRuns_Get."""
        with self.database.reading() as connection:
            run = _found_run(connection, _found(connection, resource, job_id), run_id)
            texts, total = repository.warnings_of(connection, run, SHOWN_WARNINGS + 1)
        if total > len(texts):
            texts[SHOWN_WARNINGS:] = [more_warnings(total - SHOWN_WARNINGS)]
        return run.in_full(texts)

    def documents(
        self, resource: str, job_id: str, page: Page, state: str | None
    ) -> Listed[ListedDocument]:
        """A page of a job's documents, all or those in one state.

        Raises:
            NotFound: there is no such job.
            InvalidPayload: `page.after` is none of its documents, or there is no such state.
        """
        with self.database.reading() as connection:
            return listing.page(connection, _found(connection, resource, job_id), page, state)

    def cancel(self, resource: str, job_id: str, run_id: str) -> IngestionJobRun:
        """End a run early; what is in the index stays.

        A run that waits fails at once; one that is under way does when its workers have stopped.

        Raises:
            NotFound: there is no such run.
            UnexpectedEntityState: it has ended.
        """
        with self.database.transaction() as tx:
            run = _found_run(tx, _found(tx, resource, job_id), run_id)
            now = self.clock.now()
            told = {"error": told_error(CANCELLED), "cancelled_at": now, "finished_at": now}
            # in this order: a run that begins in between is met by the second
            if not (
                repository.fail_waiting(tx, run, **told) or repository.mark_cancelled(tx, run, now)
            ):
                raise UnexpectedEntityState(f"The run {run.id} has ended already.")
        return self.run(resource, job_id, run_id)

    def retry_failed(self, resource: str, job_id: str) -> Run:
        """Start a run that tries the documents again that failed.

        Raises:
            NotFound: there is no such job.
            UnexpectedEntityState: a run of the job is open, or its definition cannot be read.
            ServiceUnavailable: ingestion is not part of this installation.
        """
        if (missing := self.missing()) is not None:
            raise missing
        with self.database.transaction() as tx:
            record = _held(tx, resource, job_id)
            self._check_idle(tx, record)
            return self._start(tx, record, Trigger.RETRY_FAILED, self._open(record))

    def delete(self, resource: str, job_id: str) -> None:
        """Remove a job, its runs, and what it put into its index; a worker does, soon after.

        Raises:
            NotFound: there is no such job.
            UnexpectedEntityState: a run of it is open.
        """
        with self.database.transaction() as tx:
            record = _held(tx, resource, job_id)
            if not repository.mark_deleted(tx, record, self.clock.now()):
                raise _has_open_run(record)
            self.queue.enqueue(tx, DELETE, record.key, resource=resource)

    def start_due(self) -> int:
        """Start a run of every job whose refresh is due; gives how many were started."""
        with self.database.reading() as connection:
            due = repository.due(connection, self.clock.now(), _DUE_AT_ONCE)
        return sum(map(self._start_due, due))

    def _checked(self, tx: Transaction, resource: str, job: IngestionJob) -> Resolved:
        """What `job` comes to; raises InvalidPayload, or that ingestion is missing here."""
        resolved = definition.resolve(self.settings, job)
        if isinstance(resolved.embedding, DeploymentEmbeddingSpec):
            self._check_embeds(tx, resource, resolved.embedding)
        if (missing := self.missing()) is not None:
            raise missing
        return resolved

    def _check_embeds(self, tx: Transaction, resource: str, asked: DeploymentEmbeddingSpec) -> None:
        """Raise InvalidPayload unless there is such a deployment, and it embeds."""
        target = "$.datasource.embeddings[0].deploymentName"
        try:
            found = self.deployments.resolve(tx, resource, asked.deployment)
        except DeploymentNotFound:
            raise InvalidPayload(
                f"There is no deployment {asked.deployment[:200]!r}; GET /openai/deployments lists "
                "those there are.",
                target=target,
            ) from None
        if not found.model.able.embeddings:
            raise InvalidPayload(
                f"The deployment {asked.deployment!r} does not embed: it is of {found.model.id}.",
                target=target,
            )
        if asked.model and self.deployments.models.meant(asked.model) != found.model.id:
            raise InvalidPayload(
                f"`modelName` is {asked.model[:200]!r}, and the deployment {asked.deployment!r} is "
                f"of {found.model.id}; leave `modelName` out.",
                target="$.datasource.embeddings[0].modelName",
            )

    def _insert(
        self,
        tx: Transaction,
        resource: str,
        job_id: str,
        resolved: Resolved,
        values: dict[str, Any],
    ) -> JobRecord:
        if (there := repository.count(tx, resource)) >= self.settings.ingestion.jobs:
            raise QuotaExceeded(
                f"This resource has {there} ingestion jobs, which is the most; delete some first."
            )
        index = definition.index_name(job_id)
        names = {"id": job_id, "resource": resource, "index_name": index}
        values |= {**names, "created_at": self.clock.now()}
        record = repository.insert(tx, values)
        if record is None:
            raise ItemDoesAlreadyExist(
                f"The index {index!r} belongs to a job whose id differs from {job_id!r} in case "
                "alone, or that was made at this moment; choose another job id."
            )
        is_embedded = isinstance(resolved.target, EmbeddedIndexSpec)
        of_former = {None, f"{OF_A_JOB}{job_id}"}  # whose deletion failed, or whose row was lost
        if is_embedded and self.index_maker(resource, index) not in of_former:
            raise ItemDoesAlreadyExist(
                f"There is an index {index!r} already, which is not this job's; choose another "
                "job id, or delete the index."
            )
        return record

    def _check_idle(self, tx: Transaction, record: JobRecord) -> None:
        if record.deleted_at is not None:
            raise UnexpectedEntityState(
                f"The job {record.id} is being deleted; try again in a few seconds."
            )
        if repository.has_open_run(tx, record):
            raise _has_open_run(record)

    def _start(
        self, tx: Transaction, record: JobRecord, trigger: Trigger, job: IngestionJob
    ) -> Run:
        """Put down a run and its task; raises UnexpectedEntityState when another is open."""
        stages = first_stages(job)
        values = {
            "id": ids.run_id(),
            "trigger": trigger,
            "status": OperationState.NOT_RUNNING,
            "stages": [one.model_dump(mode="json", exclude_none=True) for one in stages],
            "created_at": self.clock.now(),
        }
        try:
            run = repository.insert_run(tx, record, values)
        except IntegrityError:  # it was started by somebody who did not hold the job's row
            raise _has_open_run(record) from None
        repository.remove_old_runs(tx, record, self.settings.ingestion.runs)
        self.queue.enqueue(tx, RUN, run.id, resource=record.resource, place=run.seq)
        return run

    def _start_due(self, job: JobRecord) -> bool:
        assert job.interval_hours is not None
        definition = self._opened(job.definition)
        try:
            with self.database.transaction() as tx:
                next_run_at = self.clock.now() + job.interval_hours * _HOUR
                if not repository.take_due(tx, job, next_run_at):
                    return False
                if definition is not None:
                    self._start(tx, job, Trigger.REFRESH, definition)
        except UnexpectedEntityState:
            return False
        if definition is None:  # its turn is over all the same: it would be in the others' way
            _log.error("a job cannot be refreshed: its definition cannot be read", job=job.id)
        return definition is not None


def _found(connection: sa.Connection, resource: str, job_id: str) -> JobRecord:
    record = None if "\0" in job_id else repository.find(connection, resource, job_id)
    if record is None:
        raise _no_job(job_id)
    return record


def _held(tx: Transaction, resource: str, job_id: str) -> JobRecord:
    """The job, of which nobody else starts a run until `tx` ends."""
    record = repository.hold(tx, resource, _found(tx, resource, job_id).id)
    if record is None or record.deleted_at is not None:
        raise _no_job(job_id)
    return record


def _no_job(job_id: str) -> NotFound:
    return NotFound(f"There is no ingestion job {job_id[:120]!r}.")


def _found_run(connection: sa.Connection, job: JobRecord, run_id: str) -> Run:
    run = None if "\0" in run_id else repository.find_run(connection, job, run_id)
    if run is None:
        raise NotFound(f"The ingestion job {job.id!r} has no run {run_id[:100]!r}.")
    return run


def _has_open_run(record: JobRecord) -> UnexpectedEntityState:
    return UnexpectedEntityState(
        f"A run of the job {record.id} is open; wait until it has ended, or cancel it."
    )


def _workspace_of(job: IngestionJob) -> str | None:
    return job.workspace_id if isinstance(job, IngestionJobUserCompute) else None
