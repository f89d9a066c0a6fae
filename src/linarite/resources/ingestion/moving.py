"""A job whose target or container is another than the one where what it made lies."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import structlog

from linarite.indexing.failures import IngestionFailed
from linarite.resources.ingestion import documents
from linarite.resources.ingestion.makers import check_maker
from linarite.resources.ingestion.parts import OpenParts, Parts, delete_all
from linarite.resources.ingestion.records import Run, crawls
from linarite.resources.ingestion.service import Ingestion
from linarite.resources.ingestion.tenure import Tenure

_log = structlog.get_logger("linarite.ingestion")


def leave_former_places(
    runs: Ingestion, run: Run, parts: Parts, tenure: Tenure, open_parts: OpenParts
) -> None:
    """Have no chunks of the job, and no pages, lie elsewhere than where it has them now.

    Where a place before cannot be emptied the run goes on, and says so. Done while no lane works.

    Raises:
        HandedBack, RunOver: this worker may not.
    """
    filled = runs.filled(run)
    is_elsewhere = filled.place is not None and filled.place != parts.place
    if is_elsewhere:
        told = "What the job stored in its former target stays there"
        with _warned_of(runs, run, tenure, "target", told):
            if filled.job is None:
                raise IngestionFailed("Its definition cannot be read any more.")
            with open_parts(run.resource, filled.job) as former:
                if former.place != filled.place:
                    raise IngestionFailed("Its connection is another now.")
                tenure.patiently(partial(check_maker, former, run.maker))
                tenure.patiently(former.target.drop)
    if filled.job is not None and crawls(filled.job) and filled.job != runs.definition(run):
        told = "What the job's crawls saved in its former container stays there"
        with (
            _warned_of(runs, run, tenure, "container", told),
            open_parts(run.resource, filled.job) as former,
        ):
            if former.pages is not None and former.pages.place != parts.container.place:
                tenure.patiently(partial(delete_all, former.pages, tenure.check))
    with tenure.writing() as tx:
        if is_elsewhere:
            documents.move_out(tx, run.job)
        runs.note_place(tx, run, parts.place)


@contextmanager
def _warned_of(runs: Ingestion, run: Run, tenure: Tenure, place: str, what: str) -> Iterator[None]:
    """Have the run say that something stays, and why, where the block raises IngestionFailed."""
    try:
        yield
    except IngestionFailed as failure:
        _log.warning("a former place is not emptied", run=run.id, of=place, reason=str(failure))
        with tenure.writing() as tx:
            runs.warn(tx, run.id, f"\0former {place}", f"{what}: {failure}")
