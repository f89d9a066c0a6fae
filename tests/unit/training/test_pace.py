"""The end is foretold from the work that is left."""

import pytest

from linarite.training.pace import Pace
from linarite.training.plan import batches_of_epoch, make_plan
from linarite.training.spec import Wishes


class _Clock:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_half_way_the_end_is_known_within_a_tenth():
    """A step takes 1 s for 300 tokens learned, and a look at a token a third of that."""
    lengths = [20 + 7 * place % 200 for place in range(120)]
    plan = make_plan("supervised", Wishes(3, 4), examples=120, width=576, seed=1)
    clock, judged = _Clock(), [100] * 40
    pace = Pace(plan, lengths, judged, look=8, clock=clock)
    told = {}

    for step in range(1, plan.steps + 1):
        batch = batches_of_epoch(plan, plan.epoch(step), lengths)[(step - 1) % 30]
        clock.now += sum(lengths[place] for place in batch) / 300
        clock.now += 800 / 900 if plan.looks_at_validation(step) else 0
        clock.now += 4000 / 900 if plan.ends_epoch(step) else 0
        told[step] = clock.now + pace.done(step, batch)

    assert told[plan.steps // 2] == pytest.approx(clock.now, rel=0.1)
    assert told[plan.steps] == clock.now
