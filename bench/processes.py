"""Processes that a benchmark starts, waits for, pauses, weighs and ends."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

from bench.results import ROOT

_START_SECONDS = 120
_STOP_SECONDS = 20

Process = subprocess.Popen[bytes]


@contextmanager
def started(
    command: Sequence[str], log: Path, *, environment: Mapping[str, str] | None = None
) -> Iterator[Process]:
    """Start `command` in a session of its own; end it and its children when the block ends."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        _end(process)


def wait_until(is_ready: Callable[[], bool], process: Process, log: Path) -> None:
    """Wait until `is_ready`.

    Raises:
        RuntimeError: the process ended or took too long; the message has its last words.
    """
    deadline = time.monotonic() + _START_SECONDS
    while not is_ready():
        if process.poll() is not None or time.monotonic() > deadline:
            last_words = "\n".join(log.read_text(errors="replace").splitlines()[-20:])
            raise RuntimeError(f"{_shown(process)} is not ready:\n{last_words}")
        time.sleep(0.02)


def read_ready(ready_file: Path) -> dict[str, Any]:
    """What a started process wrote into its ready file."""
    return dict(json.loads(ready_file.read_text()))


@contextmanager
def scripted_engine(folder: Path) -> Iterator[str]:
    """The engine that costs nothing, on a free port, keeping no books; gives its base URL."""
    folder.mkdir(parents=True, exist_ok=True)
    ready, log = folder / "engine.json", folder / "engine.log"
    command = [sys.executable, "-m", "tests.support.scripted_engine", "--no-count"]
    command += ["--ready-file", str(ready)]
    with started(command, log) as process:
        wait_until(ready.exists, process, log)
        yield read_ready(ready)["base_url"]


@contextmanager
def paused(*processes: Process) -> Iterator[None]:
    """Stop whole process groups for the time of the block, so that they cost no time."""
    for process in processes:
        os.killpg(process.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for process in processes:
            os.killpg(process.pid, signal.SIGCONT)


def peak_memory_mb(pid: int) -> float:
    """The most memory that a process had resident since it began, in MB (10^6 bytes)."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise RuntimeError(f"/proc/{pid}/status tells no peak.")


class PeakOfChildren:
    """The most memory that any of a process's short-lived descendants had while a block lasts.

    Args:
        process: whose descendants.
        word: part of what they were started with.
    """

    def __init__(self, process: Process, word: str) -> None:
        self._process = psutil.Process(process.pid)
        self._word = word
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self.megabytes = 0.0

    def __enter__(self) -> "PeakOfChildren":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()

    def are_there(self) -> bool:
        """Whether there is one just now; notes what each had so far."""
        found = False
        for child in self._process.children(recursive=True):
            with suppress(psutil.Error, FileNotFoundError, RuntimeError):
                if self._word in " ".join(child.cmdline()):
                    found = True
                    self.megabytes = max(self.megabytes, peak_memory_mb(child.pid))
        return found

    def _look(self) -> None:
        while not self._is_over.wait(0.1):
            self.are_there()


def child_named(process: Process, name: str) -> int:
    """The pid of the descendant of `process` that calls itself `name`."""
    for child in psutil.Process(process.pid).children(recursive=True):
        if child.name() == name:
            return int(child.pid)
    raise RuntimeError(f"{_shown(process)} has no child {name}.")


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def answers(port: int) -> bool:
    """Whether something listens on a port of 127.0.0.1."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _shown(process: Process) -> str:
    return " ".join(psutil.Process(process.pid).cmdline()) if process.poll() is None else "It"


def _end(process: Process) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
