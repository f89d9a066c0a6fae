"""The work behind ingestion jobs.

    ingestion.run       notRunning ──▶ running ──▶ succeeded | failed: the coordinator
    ingestion.lane      brings documents of a run into its target, beside other lanes
    ingestion.delete    removes what a deleted job left behind, then its rows

Each may die anywhere and is then performed again from what the rows say.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import structlog

from linarite.indexing.failures import IngestionFailed, TryLater
from linarite.resources.ingestion import documents, embeddings
from linarite.resources.ingestion.lanes import Lane
from linarite.resources.ingestion.makers import is_anothers
from linarite.resources.ingestion.moving import leave_former_places
from linarite.resources.ingestion.parts import OpenParts, Parts, delete_all
from linarite.resources.ingestion.pipeline import LANE, Coordinator
from linarite.resources.ingestion.records import CANCELLED, JobRecord, Run
from linarite.resources.ingestion.service import DELETE, RUN, Ingestion
from linarite.resources.ingestion.tenure import RunOver, Tenure
from linarite.tasks.task import Task, Ticket

_RUNS = 8
_LANES = 8
_LOOK_SECONDS = 0.5

_log = structlog.get_logger("linarite.ingestion")


class Work:
    """What performs the tasks of ingestion.

    Args:
        runs: the operations of ingestion, and the parts that those have.
        open_parts: puts together what a run works with.
    """

    def __init__(self, runs: Ingestion, open_parts: OpenParts) -> None:
        self._runs = runs
        self._open_parts = open_parts

    def tasks(self) -> list[Task]:
        """Every task of ingestion."""
        at_once = self._runs.settings.ingestion.running
        return [
            Task(RUN, self.run, self.give_up, concurrency=_RUNS, per_resource=at_once),
            Task(LANE, self.lane, self.give_up_lane, concurrency=_LANES),
            Task(DELETE, self.delete, self.give_up_deleting),
        ]

    def run(self, run_id: str, ticket: Ticket) -> None:
        """Bring a run to its end."""
        with self._runs.database.transaction() as tx:
            ticket.guard(tx)
            run = self._runs.begin(tx, run_id)
        if run is None:
            return
        tenure = Tenure(self._runs, run_id, ticket)
        try:
            with self._parts_of(run) as parts:
                coordinator = Coordinator(self._runs, run, parts, tenure)
                coordinator.wait_for_earlier_lanes()
                leave_former_places(self._runs, run, parts, tenure, self._open_parts)
                coordinator.work()
        except RunOver:
            self._end_cancelled(run, ticket)
        except TryLater:
            raise
        except IngestionFailed as failure:
            self._fail(run_id, failure, ticket)

    def give_up(self, run_id: str, error: Exception) -> None:
        """Fail a run whose coordinator failed again and again."""
        self._fail(run_id, error)

    def lane(self, name: str, ticket: Ticket) -> None:
        """Work on documents of a run until none is left."""
        run_id = name.partition("/")[0]
        with self._runs.database.transaction() as tx:
            ticket.guard(tx)
            run = self._runs.begin(tx, run_id)
        tenure = Tenure(self._runs, run_id, ticket)
        try:
            if run is not None:
                with self._parts_of(run) as parts:
                    Lane(self._runs, run, name, parts, tenure).work()
        except RunOver:
            pass
        except TryLater:
            self._let_go(name, ticket)  # others may have more luck meanwhile
            raise
        except IngestionFailed as failure:
            self._fail(run_id, failure, ticket)
        self._let_go(name, ticket)

    def give_up_lane(self, name: str, error: Exception) -> None:
        """Fail a run of which a lane failed again and again."""
        self._fail(name.partition("/")[0], error)
        with self._runs.database.transaction() as tx:
            documents.let_go(tx, name)

    def delete(self, key: str, ticket: Ticket) -> None:
        """Remove what a deleted job put into its index and container, then its rows."""
        with self._runs.database.reading() as connection:
            job = self._runs.deleted(connection, key)
        if job is None:
            return
        self._wait_for_lanes(job.seq, ticket)
        later: list[TryLater] = []
        for definition in self._runs.definitions_of(job):
            with _noting(job, later), self._open_parts(job.resource, definition) as parts:
                with _noting(job, later):
                    if is_anothers(parts, job.maker):  # and so its pages may be
                        _log.error("a deleted job leaves another's index alone", job=job.id)
                        continue
                    parts.target.drop()
                if parts.pages is not None:
                    with _noting(job, later):
                        delete_all(parts.pages, ticket.check)
        if later:
            raise later[-1]
        self._forget(job, ticket)

    def give_up_deleting(self, key: str, error: Exception) -> None:
        """Forget a job whose index cannot be reached; the log says that it stays."""
        with self._runs.database.reading() as connection:
            job = self._runs.deleted(connection, key)
        if job is not None:
            _log.error("a deleted job leaves its index behind", job=job.id, reason=str(error))
            self._forget(job, None)

    def _parts_of(self, run: Run) -> AbstractContextManager[Parts]:
        return self._open_parts(run.resource, self._runs.definition(run))

    def _end_cancelled(self, run: Run, ticket: Ticket) -> None:
        """End a run once none of its lanes is about to write into the target any more."""
        self._wait_for_lanes(run.job, ticket)
        with self._runs.database.transaction() as tx:
            ticket.guard(tx)
            self._runs.fail(tx, run.id, CANCELLED)

    def _wait_for_lanes(self, job: int, ticket: Ticket) -> None:
        while True:
            with self._runs.database.reading() as connection:
                if not documents.are_held(connection, job):
                    return
            ticket.wait(_LOOK_SECONDS)

    def _let_go(self, lane: str, ticket: Ticket) -> None:
        with self._runs.database.transaction() as tx:
            ticket.guard(tx)
            documents.let_go(tx, lane)

    def _forget(self, job: JobRecord, ticket: Ticket | None) -> None:
        """Remove the rows of a deleted job, in slices, so that nobody waits long."""
        database = self._runs.database
        embeddings.forget(job.seq, database.transaction)
        while True:
            if ticket is not None:
                ticket.check()
            with database.transaction() as tx:
                if not documents.remove_some(tx, job.seq):
                    break
        with database.transaction() as tx:
            self._runs.forget(tx, job)

    def _fail(self, run_id: str, error: Exception, ticket: Ticket | None = None) -> None:
        if not isinstance(error, IngestionFailed):
            error = IngestionFailed(
                f"The run failed due to an internal error ({type(error).__name__}) that is no "
                f"document's own; the server's log tells of it under {run_id}."
            )
        with self._runs.database.transaction() as tx:
            if ticket is not None:  # a worker that was taken for dead fails nobody's run
                ticket.guard(tx)
            self._runs.fail(tx, run_id, str(error), error.inner)


@contextmanager
def _noting(job: JobRecord, later: list[TryLater]) -> Iterator[None]:
    """Let what else there is to remove be removed, whatever becomes of the block."""
    try:
        yield
    except TryLater as failure:
        later.append(failure)
    except IngestionFailed as failure:
        _log.error("a deleted job leaves something behind", job=job.id, reason=str(failure))
