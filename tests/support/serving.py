"""`linarite serve` as users run it: a process of its own, with its children."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

_KEPT = ("PATH", "HOME", "LANG", "TMPDIR")
_FROM_HERE = (sys.executable, "-m", "linarite")


@dataclass
class Serving:
    """A running `linarite serve`."""

    process: "subprocess.Popen[str]"
    data: Path
    ready: dict[str, Any]
    log: Path

    @property
    def endpoint(self) -> str:
        return str(self.ready["endpoint"])

    def processes(self) -> dict[str, int]:
        """The pid of each of its processes."""
        said = json.loads((self.data / "run" / "server.json").read_text())
        return dict(said["processes"])

    def get(self, path: str, **options: Any) -> httpx.Response:
        """GET with its key."""
        headers = {"api-key": self.ready["api_key"]}
        return httpx.get(self.endpoint + path, headers=headers, timeout=10, **options)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Ask it to end; its exit code."""
        self.process.send_signal(number)
        return self.process.wait(15)


def run_linarite(
    *arguments: str | Path,
    program: Sequence[str | Path] = _FROM_HERE,
    cwd: Path | None = None,
    within_seconds: float = 60,
    **environment: str,
) -> "subprocess.CompletedProcess[str]":
    """Run a command to its end, with these variables and little else in its environment."""
    return subprocess.run(
        [*map(str, (*program, *arguments))],
        env=_environment(environment),
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=within_seconds,
    )


@contextmanager
def serving(
    folder: Path,
    *options: str,
    program: Sequence[str | Path] = _FROM_HERE,
    **environment: str,
) -> Iterator[Serving]:
    """Start a server on `folder`/data and a free port; it is ended with the block."""
    data, ready_file, log = folder / "data", folder / "ready.json", folder / "serve.log"
    folder.mkdir(parents=True, exist_ok=True)
    given = ("serve", "--port", "0", "--data", data, "--ready-file", ready_file, *options)
    command = [*map(str, (*program, *given))]
    with log.open("a") as output:
        process = subprocess.Popen(
            command,
            env=_environment(environment),
            stdout=output,
            stderr=output,
            text=True,
            cwd=folder,
        )
    try:
        wait_for(ready_file.exists, of=process, log=log, seconds=100)
        yield Serving(process, data, json.loads(ready_file.read_text()), log)
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def wait_for(
    condition: Any,
    *,
    of: "subprocess.Popen[str] | None" = None,
    log: Path | None = None,
    seconds: float = 30,
) -> None:
    """Wait until `condition()`; raises when the process ends or the time is over."""
    deadline = time.monotonic() + seconds
    while not condition():
        ended = of is not None and of.poll() is not None
        if ended or time.monotonic() > deadline:
            said = log.read_text() if log else ""
            raise AssertionError(f"{'ended' if ended else 'not in time'}:\n{said}")
        time.sleep(0.02)


def is_alive(pid: int) -> bool:
    """Whether a process runs."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state not in "ZX"


def _environment(more: dict[str, str]) -> dict[str, str]:
    return {name: os.environ[name] for name in _KEPT if name in os.environ} | more
