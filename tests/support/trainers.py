"""The trainers that a server runs: looked at while they stand still, and killed where they stand.

A trainer writes a state or a checkpoint in milliseconds. Who wants to see one in the making lets
it run in slices shorter than that, and looks in between.
"""

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from tests.support.files import until

_SLICE_SECONDS = 0.0003
_SLICES = 20_000


@dataclass(frozen=True)
class Sight:
    """A job's folder at one moment."""

    told: list[dict[str, Any]]
    """The whole lines of its log."""
    names: frozenset[str]
    """Its files and folders and what is right in those, relative to it."""

    @property
    def step(self) -> int:
        """The newest step that is told, or 0."""
        return max((line["step"] for line in self.told if line["kind"] == "step"), default=0)

    @property
    def is_writing(self) -> bool:
        """Whether a state or a checkpoint is in the making."""
        return any(name.endswith(".part") for name in self.names)

    def tells(self, kind: str, step: int) -> bool:
        """Whether the log has that line."""
        return any(line["kind"] == kind and line["step"] == step for line in self.told)


Moment = Callable[[Sight], bool]


@dataclass(frozen=True)
class Trainer:
    """The trainer of one job, and what it left behind.

    Args:
        folder: the job's.
        command: what the launcher knows of it.
    """

    folder: Path
    command: Path

    @classmethod
    def of(cls, data: Path, job_id: str) -> "Trainer":
        """The trainer of a job on the server whose data are there."""
        return cls(data / "fine-tuning" / job_id, data / "commands" / job_id)

    def see(self) -> Sight:
        """The folder as it is."""
        log = self.folder / "log.jsonl"
        text = log.read_bytes() if log.exists() else b""
        lines = text[: text.rfind(b"\n") + 1].splitlines()
        there = [*self.folder.glob("*"), *self.folder.glob("*/*")]
        names = frozenset(str(path.relative_to(self.folder)) for path in there)
        return Sight([json.loads(line) for line in lines], names)

    def wait_for(self, moment: Moment, within_seconds: float = 300) -> None:
        """Wait until the folder shows that moment, without holding the trainer."""
        until(lambda: self.folder.exists() and moment(self.see()), "it is so far", within_seconds)

    def kill(self) -> None:
        """Kill -9."""
        os.kill(self._process().pid, signal.SIGKILL)

    def kill_at(self, moment: Moment) -> Sight:
        """Kill -9 the trainer where its folder shows that moment; gives what was seen."""
        with self.held_at(moment) as seen:
            self.kill()
        return seen

    @contextmanager
    def held_at(self, moment: Moment) -> Iterator[Sight]:
        """Keep the trainer still where its folder shows that moment; gives what was seen."""
        pid = self._process().pid
        for _ in range(_SLICES):
            _hold(pid)
            if moment(seen := self.see()):
                break
            os.kill(pid, signal.SIGCONT)
            time.sleep(_SLICE_SECONDS)
        else:
            raise AssertionError(f"It never was there: {self.see()}")
        try:
            yield seen
        finally:
            with suppress(ProcessLookupError):  # it was killed meanwhile
                os.kill(pid, signal.SIGCONT)

    def _process(self) -> psutil.Process:
        """The trainer itself, which its shell waits for."""
        found: list[psutil.Process] = []

        def is_there() -> bool:
            with suppress(FileNotFoundError, psutil.NoSuchProcess):
                shell = int((self.command / "process").read_text().split()[0])
                found[:] = psutil.Process(shell).children()
            return bool(found)

        until(is_there, "the trainer runs", 60)
        return found[0]


def _hold(pid: int) -> None:
    """Stop a process; it stands still once what it asked of the system is done."""
    os.kill(pid, signal.SIGSTOP)
    while (status := psutil.Process(pid).status()) != psutil.STATUS_STOPPED:
        assert status != psutil.STATUS_ZOMBIE, "it has ended"
        time.sleep(0.0001)
