"""``results.csv``: one row a step, as the service writes it; rewards have columns after those."""

from collections.abc import Iterable, Iterator, Mapping

_COLUMNS = {
    "train_loss": "train_loss",
    "train_mean_token_accuracy": "train_mean_token_accuracy",
    "valid_loss": "valid_loss",
    "validation_mean_token_accuracy": "valid_mean_token_accuracy",
    "full_valid_loss": "full_valid_loss",
    "full_valid_mean_token_accuracy": "full_valid_mean_token_accuracy",
}
"""Columns by name, with the metric that each holds. The one odd name is the service's."""

_REWARDS = ("reward_margin", "reward_accuracy", "reward_chosen", "reward_rejected")
_DPO_COLUMNS = [
    f"{prefix}_{reward}" for prefix in ("train", "valid", "full_valid") for reward in _REWARDS
]


def results_csv(method: str, steps: Iterable[tuple[int, Mapping[str, float]]]) -> Iterator[bytes]:
    """The lines of a results file.

    Args:
        method: ``supervised`` or ``dpo``.
        steps: each step's number and metrics, in order. A metric that it lacks stays empty.
    """
    columns = dict(_COLUMNS)
    if method == "dpo":
        columns |= {name: name for name in _DPO_COLUMNS}
    yield ",".join(["step", *columns]).encode() + b"\n"
    for step, metrics in steps:
        values = [metrics.get(metric) for metric in columns.values()]
        shown = ["" if value is None else repr(value) for value in values]
        yield ",".join([str(step), *shown]).encode() + b"\n"
