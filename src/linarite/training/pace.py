"""When a training will be done: from the work that is left and how fast the work went so far."""

import time
from collections.abc import Callable, Sequence

from linarite.training.plan import Plan

_LEARNED = 3
"""A token learned is three times the work of one looked at: a way forward, and twice that back."""


class Pace:
    """Measures work in tokens looked at, from when it is made."""

    def __init__(
        self,
        plan: Plan,
        lengths: Sequence[int],
        validation_lengths: Sequence[int],
        *,
        look: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._plan = plan
        self._lengths = lengths
        self._clock = clock
        self._all = sum(validation_lengths)
        count = len(validation_lengths)
        self._look = self._all * min(look, count) / count if count else 0.0
        looks = plan.steps_per_epoch / plan.valid_every
        epoch = _LEARNED * sum(lengths) + self._all + looks * self._look
        self._per_step = epoch / plan.steps_per_epoch
        self._began = clock()
        self._work = 0.0

    def done(self, step: int, batch: Sequence[int]) -> float:
        """Count a step that is learned and judged.

        Returns:
            Seconds until the last step will be.
        """
        self._work += _LEARNED * sum(self._lengths[place] for place in batch)
        if self._plan.looks_at_validation(step):
            self._work += self._look
        if self._plan.ends_epoch(step):
            self._work += self._all
        left = (self._plan.steps - step) * self._per_step
        return left * (self._clock() - self._began) / self._work
