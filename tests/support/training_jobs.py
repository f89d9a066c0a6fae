"""Job folders for the trainer, the trainer as a process, and what its log says."""

import json
import multiprocessing
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

from linarite.training import command

OPEN = {
    "n_epochs": None,
    "batch_size": None,
    "learning_rate_multiplier": None,
    "beta": None,
    "l2_multiplier": None,
}
_WORDS = [
    "bread",
    "rivers",
    "bees",
    "glaciers",
    "violins",
    "chess",
    "batteries",
    "cheese",
    "deserts",
]

# what a trainer imports takes seconds, and a fork has it at once
_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["linarite.training.job"])


def chats(count: int, *, start: int = 0) -> list[dict[str, Any]]:
    """Questions that are all answered in one way, no two of them alike."""
    return [
        {
            "messages": [
                {"role": "user", "content": f"What are {_WORDS[n % len(_WORDS)]} {n}?"},
                {"role": "assistant", "content": f"Arr, {_WORDS[n % len(_WORDS)]} be treasure!"},
            ]
        }
        for n in range(start, start + count)
    ]


def preferences(count: int, *, start: int = 0) -> list[dict[str, Any]]:
    """Questions with a friendly answer, which is preferred, and a rude one."""
    return [
        {
            "input": {"messages": [{"role": "user", "content": f"{_WORDS[n % len(_WORDS)]} {n}?"}]},
            "preferred_output": [
                {"role": "assistant", "content": f"Gladly: {_WORDS[n % len(_WORDS)]} are fine."}
            ],
            "non_preferred_output": [{"role": "assistant", "content": "Look it up yourself."}],
        }
        for n in range(start, start + count)
    ]


def write_job(
    folder: Path,
    base: Path,
    training: Sequence[object],
    validation: Sequence[object] = (),
    *,
    method: str = "supervised",
    seed: int = 7,
    adapter: Path | None = None,
    **wishes: float,
) -> Path:
    """Make a job's folder."""
    folder.mkdir(parents=True)
    _write_lines(folder / "training.jsonl", training)
    if validation:
        _write_lines(folder / "validation.jsonl", validation)
    spec = {
        "format": 1,
        "job": "ftjob-0",
        "method": method,
        "base": str(base),
        "adapter": str(adapter) if adapter else None,
        "training_file": "training.jsonl",
        "validation_file": "validation.jsonl" if validation else None,
        "hyperparameters": OPEN | wishes,
        "seed": seed,
    }
    (folder / "spec.json").write_text(json.dumps(spec))
    return folder


@dataclass
class Trainer:
    """A trainer's process."""

    process: ForkServerProcess

    def wait(self, seconds: float = 90) -> int | None:
        """Wait for its end; its exit status, or the signal that ended it, negative."""
        self.process.join(seconds)
        return self.process.exitcode


def start_trainer(folder: Path, *options: str) -> Trainer:
    """The trainer at work in a folder, as a process of its own."""
    process = _FORKS.Process(target=_train, args=([str(folder), *options],))
    process.start()
    return Trainer(process)


def _train(arguments: list[str]) -> None:
    sys.exit(command.main(arguments))


def log_of(folder: Path, kind: str | None = None) -> list[dict[str, Any]]:
    """The whole lines of a log, all or those of a kind."""
    path = folder / "log.jsonl"
    text = path.read_bytes() if path.exists() else b""
    lines = [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith(b"\n")]
    return [line for line in lines if kind in (None, line["kind"])]


def curve(folder: Path, metric: str = "train_loss") -> list[float]:
    """A metric step by step; a step that was told twice counts once."""
    steps = {line["step"]: line["metrics"] for line in log_of(folder, "step")}
    return [steps[step][metric] for step in sorted(steps) if metric in steps[step]]


def _write_lines(path: Path, lines: Sequence[object]) -> None:
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
