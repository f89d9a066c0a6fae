"""What the loop asks of a way of learning."""

from collections.abc import Callable, Sequence
from typing import Protocol

Scores = dict[str, float]
"""Figures by their names without a prefix: ``loss``, ``mean_token_accuracy``, ..."""

Check = Callable[[], None]
"""Called between pieces of work; raises Interrupted when the process is to end."""


class Method(Protocol):
    """A way of learning from examples, on a model of its own."""

    @property
    def lengths(self) -> Sequence[int]:
        """Tokens of each training example."""

    @property
    def validation_lengths(self) -> Sequence[int]:
        """Tokens of each validation example."""

    def learn(self, batch: Sequence[int], check: Check) -> Scores:
        """Leave the slopes of the mean loss of some training examples in the adapter's weights."""

    def judge(self, places: Sequence[int], check: Check) -> Scores:
        """Mean figures of some validation examples; nothing is learned."""
