"""What a creation asks for, held against the ranges that there are. Knows no row."""

import re
from typing import Any

from linarite.errors import InvalidPayload
from linarite.resources.fine_tuning.records import OF_METHOD
from linarite.wire.fine_tuning import (
    AUTO,
    DpoMethodRequest,
    FineTuningJobCreation,
    FineTuningMethodType,
)

_SUFFIX = re.compile(r"[A-Za-z0-9_-]{1,40}")
_MOST_INTEGRATIONS = 5
_RANGES: dict[str, tuple[float, float, str]] = {
    "n_epochs": (1, 50, "between 1 and 50"),
    "batch_size": (1, 256, "between 1 and 256"),
    "learning_rate_multiplier": (1e-9, 1000, "above 0 and at most 1000"),
    "beta": (1e-9, 2, "above 0 and at most 2"),
    "l2_multiplier": (0, 1000, "between 0 and 1000"),
}


def method_of(body: FineTuningJobCreation) -> FineTuningMethodType:
    """How the job shall learn; from examples, if it does not say."""
    if isinstance(body.method, DpoMethodRequest):
        return FineTuningMethodType.DPO
    return FineTuningMethodType.SUPERVISED


def hyperparameters_of(body: FineTuningJobCreation) -> dict[str, Any]:
    """All hyperparameters of the job's method; `AUTO` where it names none.

    What stands under `method` goes before what stands at the top, where older clients put it.

    Raises:
        InvalidPayload: one is out of its range.
    """
    wanted = OF_METHOD[method_of(body)]
    chosen: dict[str, Any] = dict.fromkeys(wanted, AUTO)
    for path, given in (("$.hyperparameters", body.hyperparameters), _of_method(body)):
        for name in wanted if given is not None else ():
            value = getattr(given, name, None)
            if value is not None:
                _check_range(name, value, f"{path}.{name}")
                chosen[name] = value
    return chosen


def check_names(body: FineTuningJobCreation) -> None:
    """Refuse a suffix that no name may have, and more integrations than there may be.

    Raises:
        InvalidPayload: as it says.
    """
    if body.suffix is not None and not _SUFFIX.fullmatch(body.suffix):
        raise InvalidPayload(
            f"`suffix` is {body.suffix[:60]!r}; it may have up to 40 letters, digits, hyphens and "
            "underscores.",
            target="$.suffix",
        )
    if len(body.integrations or ()) > _MOST_INTEGRATIONS:
        raise InvalidPayload(
            f"There are {len(body.integrations or ())} integrations; a job has at most "
            f"{_MOST_INTEGRATIONS}.",
            target="$.integrations",
        )


def _of_method(body: FineTuningJobCreation) -> tuple[str, Any]:
    if isinstance(body.method, DpoMethodRequest):
        return "$.method.dpo.hyperparameters", body.method.dpo.hyperparameters
    config = body.method.supervised if body.method is not None else None
    return "$.method.supervised.hyperparameters", config.hyperparameters if config else None


def _check_range(name: str, value: float, path: str) -> None:
    least, most, words = _RANGES[name]
    if value != AUTO and not least <= value <= most:
        raise InvalidPayload(
            f'`{name}` is {value}; it must be {words}, or -1 or "auto" to have it chosen.',
            target=path,
        )
