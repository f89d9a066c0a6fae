"""``log.jsonl``: what a training tells the world, one JSON object a line.

Lines are appended whole. A line torn by a kill is cut off when the next trainer opens the log; a
resumed trainer may tell a step again, and readers ignore a step that they have.
"""

import errno
import json
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

Level = Literal["info", "warning", "error"]
Metrics = Mapping[str, float]
_FINAL = ("succeeded", "failed")


class Journal:
    """The log of one job, open for appending."""

    def __init__(self, path: Path, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        text = path.read_bytes()
        whole = text.rfind(b"\n") + 1
        if whole < len(text):
            os.ftruncate(self._handle, whole)
        lines = text[:whole].splitlines()
        self.has_ended = bool(lines) and json.loads(lines[-1])["kind"] in _FINAL
        """Whether the job's end is told already."""
        self.has_plan = b'{"kind": "plan"' in text[:whole]
        """Whether a trainer before this one came as far as telling its plan."""

    def message(self, text: str, level: Level = "info") -> None:
        """Tell people something."""
        self._append("message", level=level, message=text)

    def plan(self, hyperparameters: Mapping[str, float], steps: int, examples: int) -> None:
        """Tell what will be done."""
        self._append("plan", hyperparameters=hyperparameters, steps=steps, examples=examples)

    def step(self, step: int, epoch: int, metrics: Metrics, seconds_left: float) -> None:
        """Tell what a step came to."""
        finish_at = round(self._now() + seconds_left)
        self._append("step", step=step, epoch=epoch, metrics=metrics, finish_at=finish_at)

    def checkpoint(self, step: int, epoch: int, folder: str) -> None:
        """Tell that an adapter stands in `folder`, relative to the job's."""
        self._append("checkpoint", step=step, epoch=epoch, folder=folder)
        self.sync()

    def succeeded(self, trained_tokens: int) -> None:
        """Tell the good end."""
        self._append("succeeded", trained_tokens=trained_tokens)
        self.sync()

    def failed(self, code: str, message: str, param: str | None) -> None:
        """Tell the bad end."""
        self._append("failed", code=code, message=message, param=param)
        self.sync()

    def sync(self) -> None:
        """Bring all that was told to the disk."""
        os.fsync(self._handle)

    def close(self) -> None:
        """Close the file."""
        os.close(self._handle)

    def _append(self, kind: str, **fields: Any) -> None:
        line = {"kind": kind, "at": int(self._now()), **fields}
        told = json.dumps(line, allow_nan=False).encode() + b"\n"
        before = os.fstat(self._handle).st_size
        if os.write(self._handle, told) < len(told):
            os.ftruncate(self._handle, before)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
