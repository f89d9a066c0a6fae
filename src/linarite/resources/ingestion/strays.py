"""Chunks in a target that the rows do not account for: the job's own ones are removed.

There are such where the database was restored from a backup and the index was not. A chunk is the
job's own where its id is what the job makes of its document's name, and it bears the job's mark or
lies where nobody else can write; whatever else lies there is somebody else's, and stays.
"""

from collections.abc import Iterable
from functools import partial

import structlog

from linarite.indexing.targets.target import Stored
from linarite.resources.ingestion import documents
from linarite.resources.ingestion.documents import document_id
from linarite.resources.ingestion.iterating import in_batches
from linarite.resources.ingestion.makers import maker_of
from linarite.resources.ingestion.parts import Parts
from linarite.resources.ingestion.records import Run
from linarite.resources.ingestion.tenure import Tenure
from linarite.storage.database import Database

_AT_ONCE = 1_000

_log = structlog.get_logger("linarite.ingestion")


def remove_strays(database: Database, run: Run, parts: Parts, tenure: Tenure) -> int:
    """Remove the job's own strays, while no lane works; gives how many there were.

    Raises:
        IngestionFailed: the target refuses or is away.
        HandedBack, RunOver: this worker may not go on.
    """
    own = tenure.patiently(partial(_own_strays, database, run, parts, tenure))
    for ids in in_batches(own, _AT_ONCE):
        tenure.patiently(partial(parts.target.delete, ids))
    _log.warning("the index held chunks that are not known of", run=run.id, removed=len(own))
    return len(own)


def _own_strays(database: Database, run: Run, parts: Parts, tenure: Tenure) -> list[str]:
    found: list[str] = []
    for some in in_batches(parts.target.stored(), _AT_ONCE):
        tenure.check()
        with database.reading() as connection:
            known = documents.chunks_of(connection, run.job, {_placed(one)[0] for one in some})
        found += (one.id for one in _strays(some, known) if _is_own(one, run, parts))
    return found


def _strays(chunks: Iterable[Stored], known: dict[str, int]) -> Iterable[Stored]:
    for one in chunks:
        document, number = _placed(one)
        if not number.isdecimal() or int(number) >= known.get(document, 0):
            yield one


def _is_own(chunk: Stored, run: Run, parts: Parts) -> bool:
    document, number = _placed(chunk)
    made = document_id(run.resource, run.job_id, chunk.filepath)
    is_marked = parts.is_own or maker_of(chunk) == run.maker
    return number.isdecimal() and document == made and is_marked


def _placed(chunk: Stored) -> tuple[str, str]:
    """The id of its document, and its number there."""
    document, _, number = chunk.id.rpartition("-")
    return document, number
