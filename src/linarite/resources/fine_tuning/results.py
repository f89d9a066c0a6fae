"""``results.csv``: the metrics of every step of a job, a row each."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from linarite.wire.fine_tuning import FineTuningMethodType

FILENAME = "results.csv"

_COLUMNS = (
    "step",
    "train_loss",
    "train_mean_token_accuracy",
    "valid_loss",
    "valid_mean_token_accuracy",
    "full_valid_loss",
    "full_valid_mean_token_accuracy",
)
_REWARDS = ("reward_margin", "reward_accuracy", "reward_chosen", "reward_rejected")
_OF_PREFERENCES = tuple(
    f"{prefix}_{reward}" for prefix in ("train", "valid", "full_valid") for reward in _REWARDS
)


def columns(method: FineTuningMethodType) -> tuple[str, ...]:
    """The columns of a job's results; those of preferences come after the usual ones."""
    return _COLUMNS + (_OF_PREFERENCES if method == FineTuningMethodType.DPO else ())


def lines(
    method: FineTuningMethodType, steps: Iterable[tuple[int, Mapping[str, Any]]]
) -> Iterator[bytes]:
    """The file's lines: the columns' names, then the steps; what a step lacks is empty."""
    names = columns(method)
    yield ",".join(names).encode() + b"\n"
    for step, metrics in steps:
        told = {**metrics, "step": step}
        cells = ("" if told.get(name) is None else repr(told[name]) for name in names)
        yield ",".join(cells).encode() + b"\n"
