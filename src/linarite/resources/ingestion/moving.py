"""A job whose target is another than the one that holds its chunks."""

from functools import partial

import structlog

from linarite.indexing.failures import IngestionFailed
from linarite.resources.ingestion import documents
from linarite.resources.ingestion.makers import check_maker
from linarite.resources.ingestion.parts import OpenParts, Parts
from linarite.resources.ingestion.records import Run
from linarite.resources.ingestion.service import Ingestion
from linarite.resources.ingestion.tenure import Tenure

_log = structlog.get_logger("linarite.ingestion")


def leave_former_target(
    runs: Ingestion, run: Run, parts: Parts, tenure: Tenure, open_parts: OpenParts
) -> None:
    """Have no chunks of the job lie elsewhere than in the target that it names now.

    Where the one before cannot be emptied the run goes on, and says so. Done while no lane works.

    Raises:
        HandedBack, RunOver: this worker may not.
    """
    filled = runs.filled(run)
    is_elsewhere = filled.place is not None and filled.place != parts.place
    if is_elsewhere:
        try:
            if filled.job is None:
                raise IngestionFailed("Its definition cannot be read any more.")
            with open_parts(run.resource, filled.job) as former:
                if former.place != filled.place:
                    raise IngestionFailed("Its connection is another now.")
                tenure.patiently(partial(check_maker, former, run.maker))
                tenure.patiently(former.target.drop)
        except IngestionFailed as failure:
            _log.warning("chunks stay in a former target", run=run.id, reason=str(failure))
            text = f"What the job stored in its former target stays there: {failure}"
            with tenure.writing() as tx:
                runs.warn(tx, run.id, "\0former target", text)
    with tenure.writing() as tx:
        if is_elsewhere:
            documents.move_out(tx, run.job)
        runs.note_place(tx, run, parts.place)
