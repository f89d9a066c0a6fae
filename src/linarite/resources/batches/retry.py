"""Whether a request is asked again, and when. Decides; asks nobody and waits for nothing.

An answer of 429, 502, 503 or 504, or none at all, is about the engine before it is about the
request: the engine may be full, or starting again. Such a failure counts against the request only
when the engine answered others since the request first met one, or answered nobody for very long;
so that an engine which restarts costs no request its answer, and a request that breaks an engine
cannot go on for ever.
"""

import email.utils
from collections.abc import Mapping
from datetime import datetime
from enum import Enum, auto

OUTAGE_PATIENCE_SECONDS = 1_800.0
"""How long an engine may answer nobody before its failures count against requests."""

_FIRST_SECONDS = 0.5
_LONGEST_SECONDS = 30.0
_LONGEST_ASKED_SECONDS = 600.0
_ABOUT_THE_ENGINE = frozenset({429, 502, 503, 504})
_TRY_AGAIN = frozenset({408, 409})


class Verdict(Enum):
    """What an answer's status means for its request."""

    ANSWERED = auto()
    REFUSED = auto()
    """Asking again would change nothing."""
    AGAIN = auto()
    """It failed in a way that may pass."""
    ENGINE = auto()
    """The engine could not answer anybody now."""


def verdict(status: int) -> Verdict:
    """What an answer of `status` means for its request."""
    if 200 <= status < 300:
        return Verdict.ANSWERED
    if status in _ABOUT_THE_ENGINE:
        return Verdict.ENGINE
    return Verdict.AGAIN if status in _TRY_AGAIN or status >= 500 else Verdict.REFUSED


def counts(
    *, now: float, first_failure: float, engine_answered: float | None, began: float
) -> bool:
    """Whether one more failure of the engine counts against a request.

    Args:
        now: the time, on one clock with all others.
        first_failure: when the request first met an engine that could not answer.
        engine_answered: when the engine last answered any request, or None.
        began: when the work on the batch began.
    """
    if engine_answered is not None and engine_answered > first_failure:
        return True
    return now - (engine_answered or began) > OUTAGE_PATIENCE_SECONDS


def backoff_seconds(attempts: int, chance: float) -> float:
    """How long a request rests after failure number `attempts` (from 1).

    Args:
        attempts: how often it failed.
        chance: a random number from 0 to 1, so that many do not come back at one moment.
    """
    longest = float(min(_FIRST_SECONDS * 2 ** min(attempts - 1, 16), _LONGEST_SECONDS))
    return longest * (0.5 + chance / 2)


def asked_wait_seconds(headers: Mapping[str, str], now: float) -> float | None:
    """How long an answer's `retry-after-ms` or `retry-after` asks to wait, ten minutes at most.

    Args:
        headers: of the answer, lower case or case-insensitive.
        now: Unix seconds, for a date in `retry-after`.
    """
    if (milliseconds := _number(headers.get("retry-after-ms"))) is not None:
        return _bounded(milliseconds / 1000)
    asked = headers.get("retry-after")
    if asked is None:
        return None
    if (seconds := _number(asked)) is not None:
        return _bounded(seconds)
    moment = _date(asked)
    return None if moment is None else _bounded(moment.timestamp() - now)


def _number(text: str | None) -> float | None:
    try:
        return float(text) if text is not None else None
    except ValueError:
        return None


def _date(text: str) -> datetime | None:
    try:
        return email.utils.parsedate_to_datetime(text)
    except ValueError:
        return None


def _bounded(seconds: float) -> float | None:
    return min(seconds, _LONGEST_ASKED_SECONDS) if seconds > 0 else None
