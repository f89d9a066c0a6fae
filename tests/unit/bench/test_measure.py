import math

import pytest
from bench.measure import Finding, Limit, compared, in_turn, interleaved, percentile


def test_the_ratio_is_the_median_of_the_pairs_ratios() -> None:
    """10/5 = 2, 9/3 = 3, 8/8 = 1: the median is 2, though the medians' ratio is 9/5."""
    found = compared("speed", [(10, 5), (9, 3), (8, 8)], limit=None, unit="lines/s")

    assert (found.value, found.low, found.high) == (2, 1, 3)
    assert (found.ours, found.theirs) == ("ours 9 lines/s", "theirs 5 lines/s")


@pytest.mark.parametrize(
    ("limit", "value", "holds"),
    [
        (Limit(at_least=0.5), 0.5, True),
        (Limit(at_least=0.5), 0.499, False),
        (Limit(at_most=1.5), 1.5, True),
        (Limit(at_most=1.5), 1.501, False),
        (Limit(at_least=0.5), math.nan, False),
    ],
)
def test_a_limit_holds_up_to_its_edge(limit: Limit, value: float, holds: bool) -> None:
    assert limit.holds(value) is holds


def test_a_finding_without_a_limit_is_met() -> None:
    assert Finding("size", 1, 1, 1).is_met


def test_pairs_are_measured_in_turn_and_swap_who_begins() -> None:
    asked: list[str] = []

    def measure(name: str, value: float) -> float:
        asked.append(name)
        return value

    pairs = interleaved(lambda: measure("A", 1), lambda: measure("B", 2), pairs=3)

    assert asked == ["A", "B", "B", "A", "A", "B"]
    assert pairs == [(1, 2)] * 3


def test_the_second_begins_in_an_odd_turn() -> None:
    asked: list[str] = []

    in_turn(lambda: asked.append("A") or 1.0, lambda: asked.append("B") or 1.0, turn=1)

    assert asked == ["B", "A"]


@pytest.mark.parametrize(("share", "value"), [(0.0, 1), (0.5, 50), (0.99, 99), (1.0, 100)])
def test_a_percentile_is_a_value_that_was_measured(share: float, value: int) -> None:
    assert percentile(range(1, 101), share) == value
