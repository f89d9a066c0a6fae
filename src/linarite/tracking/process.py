"""A tracking process as its parent sees it: started, asked what it says, answered, killed.

A process's parent waits for none of them for long, whatever they wait for.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from multiprocessing.connection import wait
from typing import Any

from linarite.tracking.run import Attempt, Run

_KEPT = frozenset(
    {
        "HTTPS_PROXY",
        "HTTP_PROXY",
        "LANG",
        "LD_LIBRARY_PATH",
        "NO_PROXY",
        "PATH",
        "PYTHONHOME",
        "PYTHONPATH",
        "SSL_CERT_DIR",
        "SSL_CERT_FILE",
        "TMPDIR",
        "TZ",
        "VIRTUAL_ENV",
    }
)
_LOAD_SECONDS = 60.0
_READ_AT_ONCE = 1 << 16


class Process:
    """Tells of one run.

    Args:
        run: which.
        attempt: how; its folder is made, and is the process's home.
        api_key: for Weights & Biases; a pipe carries it, so that no list of processes shows it.
    """

    def __init__(self, run: Run, attempt: Attempt, api_key: str | None) -> None:
        attempt.folder.mkdir(mode=0o700, parents=True)
        output = os.open(attempt.folder / "output", os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            self._process = subprocess.Popen(
                (sys.executable, "-m", "linarite.tracking"),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=output,
                env=_environment(attempt),
                start_new_session=True,
                bufsize=0,
            )
        finally:
            os.close(output)
        os.set_blocking(self.stdout, False)
        self._heard = b""
        self._late_at = 0.0
        self.allow(_LOAD_SECONDS)
        how = {**asdict(attempt), "folder": _whole(attempt)}
        self.tell({"run": asdict(run), "attempt": how, "api_key": api_key})

    def hear(self) -> Iterator[dict[str, Any]]:
        """What it said since, line by line."""
        with suppress(BlockingIOError):
            while piece := os.read(self.stdout, _READ_AT_ONCE):
                self._heard += piece
        *lines, self._heard = self._heard.split(b"\n")
        yield from (json.loads(line) for line in lines)

    def tell(self, message: Mapping[str, Any]) -> None:
        """Answer it; only once it asked, so that there is room for up to 64 KiB."""
        stdin = self._process.stdin
        with suppress(BrokenPipeError):
            if stdin is not None:
                stdin.write(json.dumps(message).encode() + b"\n")

    def allow(self, seconds: float | None) -> None:
        """How long it may be silent from now on; None: as long as it likes."""
        self._late_at = float("inf") if seconds is None else time.monotonic() + seconds

    @property
    def is_lost(self) -> bool:
        """Whether it ended, or has been silent for too long."""
        return self._process.poll() is not None or time.monotonic() > self._late_at

    def kill(self) -> None:
        """End it; what belongs to it ends by itself then."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()

    @property
    def stdout(self) -> int:
        """Where it says something."""
        stdout = self._process.stdout
        assert stdout is not None
        return stdout.fileno()


def wait_for_any(processes: Sequence[Process], seconds: float) -> None:
    """Wait until one of them has said something, but no longer than that."""
    wait([process.stdout for process in processes], seconds)


def _environment(attempt: Attempt) -> dict[str, str]:
    """No more than is needed; and no account, setting or cache but those given here."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name.upper() in _KEPT or name.startswith("LC_")
    }
    home = _whole(attempt)
    return {
        **kept,
        "HOME": home,
        "WANDB_CACHE_DIR": f"{home}/cache",
        "WANDB_CONFIG_DIR": f"{home}/config",
        "WANDB_DATA_DIR": f"{home}/data",
        "WANDB_ERROR_REPORTING": "false",
        "PYTHONUNBUFFERED": "1",
    }


def _whole(attempt: Attempt) -> str:
    return str(attempt.folder.absolute())
