"""The loop: learn a step, look at it, tell it, and keep what a killed process would lose.

    learn ──▶ (untold) ──▶ judge, tell, checkpoint ──▶ learn ...

What a step does follows from its number alone: its examples, its rate, its random numbers. So a
training that goes on from a kept state comes to the same bits as one that was never disturbed.
"""

import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from linarite.training.checkpoints import keep_checkpoint
from linarite.training.faults import Interrupted, TrainingFailure
from linarite.training.journal import Journal
from linarite.training.method import Check, Method, Scores
from linarite.training.model import TunedModel
from linarite.training.pace import Pace
from linarite.training.plan import Batch, Plan, batches_of_epoch
from linarite.training.state import Position, restore_state, save_state

_STATE = "state"
_LOOK = 8
"""Validation examples of a look."""
_LONGEST_SLOPE = 1.0


class Training:
    """One job's training: its model, its position, its folder."""

    def __init__(
        self,
        folder: Path,
        plan: Plan,
        model: TunedModel,
        method: Method,
        journal: Journal,
        check: Check,
        *,
        base: str,
        keep_seconds: float,
    ) -> None:
        self._folder = folder
        self._plan = plan
        self._model = model
        self._method = method
        self._journal = journal
        self._check = check
        self._base = base
        self._keep_seconds = keep_seconds
        self._position = Position()
        self._kept: Position | None = None
        self._kept_at = time.monotonic()
        self._pace = Pace(plan, method.lengths, method.validation_lengths, look=_LOOK)
        self._epoch: tuple[int, list[Batch]] = (0, [])
        self._optimizer = torch.optim.AdamW(
            list(model.weights.values()),
            betas=(0.9, 0.999),
            weight_decay=plan.weight_decay,
            fused=True,
        )

    def run(self) -> None:
        """Go on from where the folder's state is, to the end.

        Raises:
            Interrupted: `check` raised it; what was learned is kept.
            TrainingFailure: the loss is not a number.
        """
        self._resume()
        try:
            while self._position.untold is not None or self._position.step < self._plan.steps:
                if self._position.untold is None:
                    self._position = self._learn(self._position.step + 1)
                else:
                    self._position = self._tell(self._position.step, self._position.untold)
                self._check()
                if time.monotonic() - self._kept_at > self._keep_seconds:
                    self._keep()
        except Interrupted:
            self._keep()
            raise

    def _resume(self) -> None:
        try:
            position = restore_state(self._folder / _STATE, self._model.weights, self._optimizer)
        except ValueError as error:
            self._journal.message(f"Training starts from the beginning: {error}", "warning")
            return
        if position is not None:
            self._position = self._kept = position

    def _keep(self) -> None:
        """Put the state down; the log, which must not be behind it, goes to the disk first."""
        if self._position.step > 0 and self._position is not self._kept:
            self._journal.sync()
            save_state(self._folder / _STATE, self._position, self._model.weights, self._optimizer)
        self._kept, self._kept_at = self._position, time.monotonic()

    def _learn(self, step: int) -> Position:
        torch.manual_seed(hash((self._plan.seed, step)))  # of integers: the same in any process
        for group in self._optimizer.param_groups:
            group["lr"] = self._plan.rate(step)
        self._optimizer.zero_grad(set_to_none=True)
        scores = self._method.learn(self._batch(step), self._check)
        slope = torch.nn.utils.clip_grad_norm_(self._model.weights.values(), _LONGEST_SLOPE)
        if step == 1 and not math.isfinite(scores["loss"]):
            raise _damaged()
        if not torch.isfinite(slope) or not math.isfinite(scores["loss"]):
            raise self._diverged(step)
        self._optimizer.step()
        return Position(step, _named("train", scores))

    def _diverged(self, step: int) -> TrainingFailure:
        return TrainingFailure(
            "training_diverged",
            f"The loss is not a number any more at step {step}. The learning rate is probably too "
            f"high; learning_rate_multiplier is {self._plan.learning_rate_multiplier:g}.",
            "learning_rate_multiplier",
        )

    def _tell(self, step: int, train: Mapping[str, float]) -> Position:
        metrics = {**train, **self._judged(step)}
        if not all(math.isfinite(value) for value in metrics.values()):
            raise self._diverged(step)
        epoch = self._plan.epoch(step)
        seconds_left = self._pace.done(step, self._batch(step))
        self._journal.step(step, epoch, metrics, seconds_left)
        if self._plan.ends_epoch(step):
            name = keep_checkpoint(self._folder, step, self._model, self._base)
            self._journal.checkpoint(step, epoch, name)
        return Position(step)

    def _judged(self, step: int) -> Scores:
        count = len(self._method.validation_lengths)
        if not count or not self._plan.looks_at_validation(step):
            return {}
        first = step // self._plan.valid_every * _LOOK
        look = [(first + place) % count for place in range(min(_LOOK, count))]
        judged = _named("valid", self._method.judge(look, self._check))
        if self._plan.ends_epoch(step):
            judged |= _named("full_valid", self._method.judge(range(count), self._check))
        return judged

    def _batch(self, step: int) -> Sequence[int]:
        epoch = self._plan.epoch(step)
        if self._epoch[0] != epoch:
            self._epoch = (epoch, batches_of_epoch(self._plan, epoch, self._method.lengths))
        return self._epoch[1][(step - 1) % self._plan.steps_per_epoch]


def _damaged() -> TrainingFailure:
    return TrainingFailure(
        "invalid_model",
        "The loss is not a number before anything is learned: weights of the model are damaged; "
        "add it again.",
        "model",
    )


def _named(prefix: str, scores: Scores) -> Scores:
    return {f"{prefix}_{name}": value for name, value in scores.items()}
