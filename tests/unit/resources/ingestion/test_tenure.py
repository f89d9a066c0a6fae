"""How long a worker waits for a service that is away."""

import time
from types import SimpleNamespace
from typing import Any

import pytest

from linarite.indexing.failures import TryLater
from linarite.resources.ingestion.tenure import Tenure


def asked(*limit: float) -> int:
    """How often a service is asked that stays away."""
    ticket: Any = SimpleNamespace(check=lambda: None, wait=time.sleep)
    times = []

    def ask() -> None:
        times.append(1)
        raise TryLater("busy", 0.001)

    nothing: Any = None
    with pytest.raises(TryLater):
        Tenure(nothing, "run", ticket).patiently(ask, *limit)
    return len(times)


def test_a_service_that_is_away_is_asked_a_few_times_and_not_beyond_a_limit():
    assert asked() == 6
    assert asked(0.0) == 1
