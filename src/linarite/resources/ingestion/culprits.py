"""Whether a failure is a document's, or the service's that was asked: a plain thing tells.

A text that a service chokes on is answered as an outage is, 5xx or a broken connection. But beside
the one anything else gets through, and during the other nothing does. So it is with errors that
nobody foresaw; not with a limit on how much is asked (429), which lets little things through: less
is asked at once then, and no document is blamed.
"""

from collections.abc import Callable
from typing import TypeVar

import structlog
from sqlalchemy.exc import SQLAlchemyError

from linarite.indexing.failures import DocumentFailed, IngestionFailed, TryLater
from linarite.resources.ingestion.tenure import RunOver, Tenure
from linarite.tasks.task import HandedBack

T = TypeVar("T")

NOT_ITS_FAULT = (IngestionFailed, HandedBack, RunOver, SQLAlchemyError, OSError)
"""What ends a lane, whichever document it is at."""
_TRIES = 2
_PLAIN_SECONDS = 60.0
"""How long a service may take to come back: its client has a patience of its own each time."""
_CHOKED_IN_A_ROW = 10
"""So many that a service chokes on, and none between that it takes: it is not for the documents."""
_REST_SECONDS = 1.0
_LONGEST_REST_SECONDS = 60.0

_log = structlog.get_logger("linarite.ingestion")


class Choked(DocumentFailed):
    """A service, or its client here, fails at what it was asked, and at nothing else."""


class Blame:
    """Documents that are left out because a service chokes on them; for one thread.

    Args:
        done: what could not be done with them: ``read``, ``stored``.
    """

    def __init__(self, done: str) -> None:
        self._done = done
        self._choked = 0

    def got_through(self) -> None:
        """Note that the service took one."""
        self._choked = 0

    def put_on(self, document: str, failure: Choked) -> None:
        """Blame a document; raises IngestionFailed where it cannot be for one, or not any more."""
        cause = failure.__cause__
        if isinstance(cause, TryLater) and cause.is_limit:  # less than this cannot be asked
            raise cause
        _log.warning("a document is left out", document=document, reason=str(failure))
        self._choked += 1
        if self._choked == _CHOKED_IN_A_ROW:
            raise IngestionFailed(
                f"{self._choked} documents one after the other could not be {self._done}, so it is "
                f"not for what one of them holds. Of the last: {failure}"
            ) from failure


def ask_beside(tenure: Tenure, ask: Callable[[], T], plain: Callable[[], object], doing: str) -> T:
    """What `ask` gives; asks again where the service was away meanwhile.

    Args:
        tenure: the right to work on the run.
        ask: about documents; has its own patience with a busy service.
        plain: asks the same service for something that every service can do.
        doing: what `ask` does with documents: ``reading``, ``storing``.

    Raises:
        Choked: it fails each time, or as nobody foresaw, and `plain` gets through each time.
        DocumentFailed: `ask` says so.
        IngestionFailed: the service refuses, or is away (TryLater): `plain` fails as well.
        Exception: as nobody foresaw, and `plain` fails as well.
        HandedBack, RunOver: this worker may not go on.
    """
    for tries in range(1, _TRIES + 1):
        tenure.check()
        try:
            return ask()
        except TryLater as failure:
            _log.info("a plain thing is tried instead", why=str(failure))
            _get_through(tenure, plain)
            if tries == _TRIES:
                raise Choked(str(failure)) from failure
            tenure.wait(min(failure.after_seconds or _REST_SECONDS, _LONGEST_REST_SECONDS))
        except (DocumentFailed, *NOT_ITS_FAULT):
            raise
        except Exception as error:  # what nobody foresaw of a document is not to end the run
            tenure.check()
            _log.exception("documents fail; a plain thing is tried instead", at=doing)
            _get_through(tenure, plain)
            told = f"{doing.capitalize()} it failed for an internal error ({type(error).__name__})."
            raise Choked(told) from error
    raise AssertionError  # the last try returns or raises


def _get_through(tenure: Tenure, plain: Callable[[], object]) -> None:
    """See that a plain thing is taken; raises what `ask_beside` does where it is not."""
    try:
        tenure.patiently(plain, _PLAIN_SECONDS)
    except DocumentFailed as refusal:  # it is no document, so it is for none
        raise IngestionFailed(str(refusal)) from refusal
