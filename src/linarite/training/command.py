"""``python -m linarite.training FOLDER``: train what the folder's ``spec.json`` asks for.

    exit 0    the end is in the log: ``succeeded`` or ``failed``
    exit 75   asked to end (SIGTERM); what was learned is kept, start it again
    exit 76   another process trains in this folder
    other     it died; start it again

A signal is only noted when it comes; it is looked at between pieces of work.
"""

import argparse
import fcntl
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from linarite.training import extra
from linarite.training.faults import Interrupted, TrainingFailure, explained
from linarite.training.journal import Journal
from linarite.training.spec import read_spec

INTERRUPTED = 75
BUSY = 76
KEEP_SECONDS = 45.0
_ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "CUBLAS_WORKSPACE_CONFIG": ":4096:8",  # the same bits on every run, as the next one
    "FLASH_ATTENTION_DETERMINISTIC": "1",
    "OMP_WAIT_POLICY": "PASSIVE",  # threads that spin while others need the processor starve them
    "TOKENIZERS_PARALLELISM": "false",
}


class Stop:
    """Whether the process was asked to end."""

    def __init__(self) -> None:
        self._is_wanted = False

    def ask(self, _signal: int, _frame: FrameType | None) -> None:
        """The handler of a signal."""
        self._is_wanted = True

    def check(self) -> None:
        """Raise Interrupted when it was asked."""
        if self._is_wanted:
            raise Interrupted


def main(arguments: Sequence[str]) -> int:
    """Run the command.

    Returns:
        The exit status.
    """
    parser = argparse.ArgumentParser(prog="python -m linarite.training")
    parser.add_argument("folder", type=Path, help="a job's folder")
    parser.add_argument(
        "--keep-seconds",
        type=float,
        default=KEEP_SECONDS,
        help="after how much work the state is kept (%(default)g seconds)",
    )
    options = parser.parse_args(arguments)
    folder: Path = options.folder
    stop = Stop()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop.ask)
    try:
        with _alone(folder):
            return _run(folder, stop, options.keep_seconds)
    except BlockingIOError:
        sys.stderr.write(f"Another process trains in {folder}.\n")
        return BUSY


def _run(folder: Path, stop: Stop, keep_seconds: float) -> int:
    journal = Journal(folder / "log.jsonl")
    try:
        if not journal.has_ended:
            _train(folder, journal, stop, keep_seconds)
    except Interrupted:
        return INTERRUPTED
    except TrainingFailure as failure:
        journal.failed(failure.code, failure.message, failure.param)
    finally:
        journal.close()
    return 0


def _train(folder: Path, journal: Journal, stop: Stop, keep_seconds: float) -> None:
    """Train; what the libraries raise becomes a failure where its meaning is known."""
    if not extra.is_installed():
        raise TrainingFailure("extra_missing", extra.MESSAGE)
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    from linarite.training.job import train

    try:
        train(folder, read_spec(folder), journal, stop.check, keep_seconds=keep_seconds)
    except (OSError, MemoryError, RuntimeError) as error:
        failure = explained(error)
        if failure is None:
            raise
        raise failure from error


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Be the only process that trains in the folder; raises BlockingIOError."""
    with (folder / "lock").open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
