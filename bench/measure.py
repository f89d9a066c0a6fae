"""What a benchmark finds: pairs measured in turn, their ratio, its spread, the line it must hold.

Knows nothing of servers; only numbers come in.
"""

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Limit:
    """The line that a value must hold."""

    at_least: float | None = None
    at_most: float | None = None

    def holds(self, value: float) -> bool:
        """Whether `value` is on the right side; a value that is not a number never is."""
        if math.isnan(value):
            return False
        if self.at_least is not None and value < self.at_least:
            return False
        return self.at_most is None or value <= self.at_most

    def __str__(self) -> str:
        if self.at_least is not None:
            return f"≥ {self.at_least:g}"
        return f"≤ {self.at_most:g}"


@dataclass(frozen=True)
class Finding:
    """One answer of a benchmark, as it is printed, kept and shown in the docs."""

    what: str
    """The question, such as ``10,000 lines against an ideal client``."""
    value: float
    """What is compared with the limit: a ratio, or a quantity in `unit`."""
    low: float
    high: float
    """The smallest and the largest of the values that `value` is the median of."""
    unit: str = "x"
    limit: Limit | None = None
    ours: str = ""
    """The two sides behind a ratio, with their units."""
    theirs: str = ""

    @property
    def is_met(self) -> bool:
        """Whether the limit holds; a finding without one is for information."""
        return self.limit is None or self.limit.holds(self.value)


def in_turn(
    first: Callable[[], float], second: Callable[[], float], turn: int
) -> tuple[float, float]:
    """Measure two things one after the other; the second begins in every odd `turn`."""
    if turn % 2 == 0:
        one = first()
        return one, second()
    other = second()
    return first(), other


def interleaved(
    first: Callable[[], float], second: Callable[[], float], pairs: int
) -> list[tuple[float, float]]:
    """`in_turn` so many times: a drift of the machine hits both sides alike."""
    return [in_turn(first, second, turn) for turn in range(pairs)]


def compared(
    what: str,
    pairs: Sequence[tuple[float, float]],
    *,
    limit: Limit | None,
    unit: str,
    names: tuple[str, str] = ("ours", "theirs"),
) -> Finding:
    """The ratio first / second of pairs measured in turn.

    Args:
        what: the question.
        pairs: (first, second), both in `unit`.
        limit: what the median of the ratios must hold.
        unit: of the two sides, for the reader.
        names: of the two sides, for the reader.
    """
    ratios = [one / other for one, other in pairs]
    ours, theirs = (statistics.median(side) for side in zip(*pairs, strict=True))
    return Finding(
        what=what,
        value=statistics.median(ratios),
        low=min(ratios),
        high=max(ratios),
        limit=limit,
        ours=f"{names[0]} {_rounded(ours)} {unit}",
        theirs=f"{names[1]} {_rounded(theirs)} {unit}",
    )


def quantity(
    what: str, values: Sequence[float], *, unit: str, limit: Limit | None, note: str = ""
) -> Finding:
    """A quantity with a limit of its own: the median of `values`."""
    middle = statistics.median(values)
    return Finding(what, middle, min(values), max(values), unit, limit, ours=note)


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` (0 to 1) of all values do not exceed."""
    ranked = sorted(values)
    return ranked[max(0, math.ceil(share * len(ranked)) - 1)]


def _rounded(value: float) -> str:
    """Three digits that count, with thousands separated."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"
