"""What a training will do, worked out beforehand: hyperparameters, steps, rates, the data's order.

Pure: the same job gives the same plan, and every step's examples and rate follow from its number.

    learning rate = base rate of the model and method x learning_rate_multiplier x schedule(step)
    base rate     = 5e-4 x (2000 / width of the model) ^ 0.78 for supervised, a tenth of it for dpo
    schedule      = rises linearly over the first 3 % of the steps, then falls as a cosine to 0
"""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

from linarite.training.faults import TrainingFailure
from linarite.training.spec import MethodName, Wishes

DECAY = 0.1
"""Weight decay (AdamW's) at ``l2_multiplier`` 1."""

_WARMUP_SHARE = 0.03
_BASE_RATE = 5e-4
_BASE_WIDTH = 2000
_WIDTH_POWER = 0.78
_DPO_SHARE = 0.1
_AUTO_BETA = 0.1
_AUTO_L2 = 0.1
_AUTO_EPOCHS = 3
_FEW_STEPS, _MANY_STEPS, _MOST_AUTO_EPOCHS = 100, 25_000, 25
_BATCH_SHARE, _MOST_BATCH = 0.002, 256
_LEAST_BATCH = {"supervised": 1, "dpo": 8}  # one pair alone says little of what is preferred
_VALID_EVERY = 10
_MOST_TOKENS = 2_000_000_000
_GROUP = 16
"""Batches whose examples are sorted by length together."""

Batch = tuple[int, ...]
"""The places of a batch's examples in the data."""


@dataclass(frozen=True)
class Plan:
    """Everything about a training that is fixed before its first step."""

    method: MethodName
    seed: int
    examples: int
    n_epochs: int
    batch_size: int
    learning_rate_multiplier: float
    beta: float
    l2_multiplier: float
    base_rate: float

    @property
    def steps_per_epoch(self) -> int:
        """Steps of one pass over the data; the last one may be smaller."""
        return -(-self.examples // self.batch_size)

    @property
    def steps(self) -> int:
        """All steps, numbered from 1."""
        return self.n_epochs * self.steps_per_epoch

    @property
    def valid_every(self) -> int:
        """Steps between two looks at some of the validation data, besides those at epoch ends."""
        return _VALID_EVERY

    @property
    def weight_decay(self) -> float:
        """AdamW's pull of the adapter's weights towards zero."""
        return DECAY * self.l2_multiplier if self.method == "dpo" else 0.0

    def hyperparameters(self) -> dict[str, int | float]:
        """What the job's hyperparameters came to."""
        shared = {
            "n_epochs": self.n_epochs,
            "batch_size": self.batch_size,
            "learning_rate_multiplier": self.learning_rate_multiplier,
        }
        if self.method == "supervised":
            return shared
        return {**shared, "beta": self.beta, "l2_multiplier": self.l2_multiplier}

    def epoch(self, step: int) -> int:
        """The epoch of a step, counted from 1."""
        return (step - 1) // self.steps_per_epoch + 1

    def ends_epoch(self, step: int) -> bool:
        """Whether the data have been seen once more after this step."""
        return step % self.steps_per_epoch == 0

    def looks_at_validation(self, step: int) -> bool:
        """Whether some of the validation data are looked at after this step."""
        return step % self.valid_every == 0 or self.ends_epoch(step)

    def rate(self, step: int) -> float:
        """The learning rate of a step."""
        peak = self.base_rate * self.learning_rate_multiplier
        warmup = max(1, round(_WARMUP_SHARE * self.steps))
        if step <= warmup:
            return peak * step / warmup
        gone = (step - warmup) / (self.steps - warmup + 1)
        return peak * 0.5 * (1 + math.cos(math.pi * gone))


def make_plan(method: MethodName, wishes: Wishes, *, examples: int, width: int, seed: int) -> Plan:
    """Settle what was left open, as the service does (its rules for ``auto``).

    Args:
        method: how is learned.
        wishes: the hyperparameters asked for.
        examples: how many there are, at least 1.
        width: of the model's hidden layers.
        seed: of the job.
    """
    multiplier = wishes.learning_rate_multiplier
    rate = _BASE_RATE * (_BASE_WIDTH / width) ** _WIDTH_POWER
    return Plan(
        method=method,
        seed=seed,
        examples=examples,
        n_epochs=wishes.n_epochs or _auto_epochs(examples),
        batch_size=min(wishes.batch_size or _auto_batch(method, examples), examples),
        learning_rate_multiplier=1.0 if multiplier is None else multiplier,
        beta=_AUTO_BETA if wishes.beta is None else wishes.beta,
        l2_multiplier=_AUTO_L2 if wishes.l2_multiplier is None else wishes.l2_multiplier,
        base_rate=rate * (_DPO_SHARE if method == "dpo" else 1.0),
    )


def trained_tokens(plan: Plan, lengths: Sequence[int]) -> int:
    """Tokens of all passes over examples of these lengths.

    Raises:
        TrainingFailure: they are more than a job may have, as at the service.
    """
    tokens = plan.n_epochs * sum(lengths)
    if tokens > _MOST_TOKENS:
        raise TrainingFailure(
            "too_many_tokens",
            f"The training data have {sum(lengths)} tokens, {tokens} in {plan.n_epochs} epochs; a "
            f"job may have {_MOST_TOKENS}. Train on fewer examples, or for fewer epochs.",
            "hyperparameters",
        )
    return tokens


def _auto_epochs(examples: int) -> int:
    if _AUTO_EPOCHS * examples < _FEW_STEPS:
        return min(_MOST_AUTO_EPOCHS, _FEW_STEPS // examples)
    if _AUTO_EPOCHS * examples > _MANY_STEPS:
        return max(1, _MANY_STEPS // examples)
    return _AUTO_EPOCHS


def _auto_batch(method: MethodName, examples: int) -> int:
    return max(_LEAST_BATCH[method], min(_MOST_BATCH, round(_BATCH_SHARE * examples)))


def batches_of_epoch(plan: Plan, epoch: int, lengths: Sequence[int]) -> list[Batch]:
    """The batches of an epoch in their order, each of examples of about one length.

    A pure function of the seed, the epoch and the lengths: shuffled, sorted by length within
    groups of some batches, cut into batches, and those shuffled.
    """
    chance = random.Random(f"{plan.seed}/{epoch}")
    order = list(range(plan.examples))
    chance.shuffle(order)
    group = _GROUP * plan.batch_size
    batches: list[Batch] = []
    for start in range(0, len(order), group):
        near = sorted(order[start : start + group], key=lambda place: lengths[place])
        cuts = range(0, len(near), plan.batch_size)
        batches.extend(tuple(near[cut : cut + plan.batch_size]) for cut in cuts)
    chance.shuffle(batches)
    return batches


def pieces(batch: Sequence[int], lengths: Sequence[int], budget: int) -> list[Batch]:
    """A batch cut into pieces of at most `budget` tokens each, padding included.

    A single example may be over the budget; it is then a piece of its own.
    """
    made: list[Batch] = []
    piece: list[int] = []
    for place in sorted(batch, key=lambda place: (lengths[place], place)):
        if piece and (len(piece) + 1) * lengths[place] > budget:
            made.append(tuple(piece))
            piece = []
        piece.append(place)
    if piece:
        made.append(tuple(piece))
    return made
