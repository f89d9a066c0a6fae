"""``spec.json``: what a job folder's training is to do."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

FORMAT = 1

MethodName = Literal["supervised", "dpo"]


@dataclass(frozen=True)
class Wishes:
    """The hyperparameters as they were asked for; None leaves the choice to the plan."""

    n_epochs: int | None = None
    batch_size: int | None = None
    learning_rate_multiplier: float | None = None
    beta: float | None = None
    """DPO: the pull towards the model that the job starts from."""
    l2_multiplier: float | None = None
    """DPO: the share of the usual weight decay."""


@dataclass(frozen=True)
class Spec:
    """One training job."""

    job: str
    method: MethodName
    base: Path
    """The folder of an installed model, whose ``hf/`` holds configuration, tokenizer, weights."""
    adapter: Path | None
    """A PEFT folder to go on from."""
    training_file: Path
    validation_file: Path | None
    wishes: Wishes
    seed: int


def read_spec(folder: Path) -> Spec:
    """Read the folder's ``spec.json``.

    Raises:
        ValueError: it is of another format.
    """
    stated: dict[str, Any] = json.loads((folder / "spec.json").read_text())
    if stated["format"] != FORMAT:
        raise ValueError(f"spec.json has the format {stated['format']!r}, not {FORMAT}.")
    adapter, validation = stated.get("adapter"), stated.get("validation_file")
    return Spec(
        job=stated["job"],
        method=stated["method"],
        base=Path(stated["base"]),
        adapter=Path(adapter) if adapter else None,
        training_file=folder / stated["training_file"],
        validation_file=folder / validation if validation else None,
        wishes=Wishes(**stated["hyperparameters"]),
        seed=stated["seed"],
    )
