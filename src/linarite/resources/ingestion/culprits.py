"""Whether a failure is a document's, or the service's that was asked: a plain thing tells.

A text that a service chokes on is answered as an outage is, 5xx or a broken connection. But beside
the one anything else gets through, and during the other nothing does.
"""

from collections.abc import Callable
from typing import TypeVar

import structlog

from linarite.indexing.failures import DocumentFailed, TryLater
from linarite.resources.ingestion.tenure import Tenure

T = TypeVar("T")

_TRIES = 2
_REST_SECONDS = 1.0
_LONGEST_REST_SECONDS = 60.0

_log = structlog.get_logger("linarite.ingestion")


class Choked(DocumentFailed):
    """A service fails at what it was asked, and at nothing else."""


def ask_beside(tenure: Tenure, ask: Callable[[], T], plain: Callable[[], object]) -> T:
    """What `ask` gives; asks again where the service was away meanwhile.

    Args:
        tenure: the right to work on the run.
        ask: about documents; has its own patience with a busy service.
        plain: asks the same service for something that every service can do.

    Raises:
        Choked: it fails each time, and `plain` gets through each time.
        DocumentFailed: `ask` says so.
        IngestionFailed: the service refuses, or is away (TryLater): `plain` fails as well.
        HandedBack, RunOver: this worker may not go on.
    """
    for tries in range(1, _TRIES + 1):
        tenure.check()
        try:
            return ask()
        except TryLater as failure:
            _log.info("a plain thing is tried instead", why=str(failure))
            tenure.patiently(plain)
            if tries == _TRIES:
                raise Choked(str(failure)) from failure
            tenure.wait(min(failure.after_seconds or _REST_SECONDS, _LONGEST_REST_SECONDS))
    raise AssertionError  # the last try returns or raises
