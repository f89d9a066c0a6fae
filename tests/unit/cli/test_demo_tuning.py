"""What the demo draws of a tuning job."""

import pytest

from linarite.cli.demo_tuning import _chart


@pytest.mark.parametrize(
    ("steps", "marks"),
    [(2, ["1", "2"]), (36, ["1", "10", "18", "27", "36"])],
    ids=["two steps", "all steps"],
)
def test_the_chart_counts_whole_steps(steps, marks):
    losses = [4 / (1 + step) for step in range(steps)]

    *_, below, _ = _chart(losses, 78).plain.rstrip().splitlines()

    assert below.split() == marks
