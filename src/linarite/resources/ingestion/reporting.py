"""What workers tell of a run of an ingestion job, and of a job that is being deleted.

All of it happens within their transactions, so that who may not work on a run tells nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import orjson
import sqlalchemy as sa
import structlog

from linarite.clock import Clock
from linarite.errors import UnexpectedEntityState
from linarite.indexing.failures import IngestionFailed
from linarite.resources.ingestion import repository
from linarite.resources.ingestion.lifecycle import RUN as RUN_LIFECYCLE
from linarite.resources.ingestion.records import CANCELLED, Filled, JobRecord, Run
from linarite.resources.ingestion.texts import reason
from linarite.storage.database import Database, Transaction
from linarite.storage.secrets import Secrets, UnreadableSecret
from linarite.wire.ingestion import IngestionJob, IngestionJobStageProgress, OperationState

SHOWN_WARNINGS = 1000
"""How many warnings are told of a run, and kept once it has ended."""
_HERE = {"kind": "RelativeConnection"}

_log = structlog.get_logger("linarite.ingestion")


@dataclass(frozen=True)
class Reporting:
    """The half of `service.Ingestion` that workers use.

    Args:
        database: where the rows are.
        clock: tells the time.
        secrets: encrypts definitions.
    """

    database: Database
    clock: Clock
    secrets: Secrets

    def begin(self, tx: Transaction, run_id: str) -> Run | None:
        """Take up a run, perhaps again; None when it has ended, or there is none."""
        run = repository.find_any_run(tx, run_id)
        if run is None or RUN_LIFECYCLE.is_final(run.status):
            return None
        if run.status == OperationState.RUNNING:
            return run
        now = self.clock.now()
        if not repository.move(tx, run, OperationState.RUNNING, started_at=now):
            return None
        return replace(run, status=OperationState.RUNNING, started_at=now)

    def definition(self, run: Run) -> IngestionJob:
        """The job of a run, with its secrets and its id; its names are not looked up.

        Raises:
            IngestionFailed: it cannot be read any more.
        """
        with self.database.reading() as connection:
            record = repository.by_key(connection, run.job)
        assert record is not None, "a job outlives its runs"
        try:
            return self._open(record)
        except UnexpectedEntityState as lost:
            raise IngestionFailed(lost.message) from lost

    def filled(self, run: Run) -> Filled:
        """Where the chunks of a run's job lie."""
        with self.database.reading() as connection:
            record = repository.by_key(connection, run.job)
        assert record is not None, "a job outlives its runs"
        return Filled(record.place, self._opened(record.filled_by))

    def note_place(self, tx: Transaction, run: Run, place: str) -> None:
        """Note that the chunks of a run's job lie in `place` from now on, as it is defined now."""
        repository.note_place(tx, run.job, place)

    def note_stages(
        self, tx: Transaction, run_id: str, stages: Sequence[IngestionJobStageProgress]
    ) -> None:
        """Tell how far a run has come; nothing once it has ended."""
        told = [one.model_dump(mode="json", exclude_none=True) for one in stages]
        repository.note_stages(tx, run_id, told)

    def warn(self, tx: Transaction, run_id: str, document_key: str, text: str) -> None:
        """Say of a document what is the matter with it; a second time changes nothing."""
        run = repository.find_any_run(tx, run_id)
        if run is not None:
            repository.add_warning(tx, run, document_key, text)

    def unwarn(self, tx: Transaction, run_id: str, document_key: str) -> None:
        """Take back what was said of a document: it went well in a later try of the run."""
        run = repository.find_any_run(tx, run_id)
        if run is not None:
            repository.remove_warning(tx, run, document_key)

    def finish(self, tx: Transaction, run_id: str) -> None:
        """End a run that did its work; one that was cancelled meanwhile fails all the same."""
        run = repository.hold_run(tx, run_id)
        if run is None or RUN_LIFECYCLE.is_final(run.status):
            return
        if run.cancelled_at is not None:
            self._end(tx, run, OperationState.FAILED, told_error(CANCELLED))
        else:
            self._end(tx, run, OperationState.SUCCEEDED, None)

    def fail(self, tx: Transaction, run_id: str, message: str, inner: Sequence[str] = ()) -> None:
        """End a run that could not do its work, unless it has ended."""
        run = repository.hold_run(tx, run_id)
        if run is None or RUN_LIFECYCLE.is_final(run.status):
            return
        error = told_error(message, inner) if run.cancelled_at is None else told_error(CANCELLED)
        self._end(tx, run, OperationState.FAILED, error)

    def is_cancelled(self, connection: sa.Connection, run_id: str) -> bool:
        """Whether its workers are to stop: it was cancelled, has ended, or is gone."""
        run = repository.find_any_run(connection, run_id)
        return run is None or run.cancelled_at is not None or RUN_LIFECYCLE.is_final(run.status)

    def deleted(self, connection: sa.Connection, key: str) -> JobRecord | None:
        """The job that is being deleted, by the subject of its task; None once it is gone."""
        record = repository.by_key(connection, int(key))
        return None if record is None or record.deleted_at is None else record

    def definitions_of(self, record: JobRecord) -> list[IngestionJob]:
        """A job with its secrets and its id; before that what it was when it was filled last.

        What cannot be read any more is not among them; where nothing can, there is one that names
        this server's own index alone.
        """
        former = None if record.filled_by == record.definition else record.filled_by
        opened = map(self._opened, (former, record.definition))
        readable = [one for one in opened if one is not None]
        if not readable:
            _log.error("of a deleted job only an index of this server is deleted", job=record.id)
        return readable or [_bare(record.id)]

    def forget(self, tx: Transaction, record: JobRecord) -> None:
        """Remove the rows of a job that is being deleted, last of all that is its."""
        repository.remove(tx, record.seq)

    def _open(self, record: JobRecord) -> IngestionJob:
        """A job by its row; raises UnexpectedEntityState where it cannot be read any more."""
        job = self._opened(record.definition)
        if job is None:
            raise UnexpectedEntityState(
                f"The definition of the ingestion job {record.id!r} cannot be read any more: it "
                "was encrypted with another key than this server's, or by another version. Put "
                "the job again, whole and with its secrets; or have the server's operator give "
                "it the former key back, the setting `secret_key` or the file `secret-key` in the "
                "data folder."
            )
        return job

    def _opened(self, definition: str | None) -> IngestionJob | None:
        """A job by its encrypted definition; None where it cannot be read any more."""
        if definition is None:
            return None
        try:
            return IngestionJob.model_validate(orjson.loads(self.secrets.open(definition)))
        except (UnreadableSecret, ValueError):  # an older key's, or an older version's
            return None

    def _end(
        self, tx: Transaction, run: Run, to: OperationState, error: dict[str, Any] | None
    ) -> None:
        """End a run, unless somebody else has."""
        repository.keep_warnings(tx, run, SHOWN_WARNINGS, more_warnings)
        now = self.clock.now()
        repository.move(tx, run, to, error=error, stages=run.ended(to), finished_at=now)


def _bare(job_id: str) -> IngestionJob:
    """A job of which nothing is known but its id."""
    source = {"kind": "Storage", "connection": _HERE, "containerName": "unknown", "embeddings": []}
    return IngestionJob.model_validate(
        {"kind": "SystemCompute", "jobId": job_id, "datasource": source}
    )


def more_warnings(count: int) -> str:
    """What stands for warnings that are not told."""
    return f"{count} more documents have warnings; list the documents."


def told_error(message: str, inner: Sequence[str] = ()) -> dict[str, Any]:
    """An IngestionError as rows hold it."""
    return {
        "message": reason(message),
        **({"innerErrors": list(map(reason, inner))} if inner else {}),
    }
