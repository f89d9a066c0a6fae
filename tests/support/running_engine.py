"""The scripted engine as a process that a test starts, asks and ends."""

import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class RunningEngine:
    """A scripted engine that answers at `base_url`; its log outlives it."""

    base_url: str
    log: Path
    process: subprocess.Popen[bytes]

    def asked(self) -> dict[str, Any]:
        """What it was asked so far: total, in_flight, most_in_flight, cancelled, by_text."""
        with urllib.request.urlopen(self._control("/requests"), timeout=5) as answer:
            return json.load(answer)

    def steer(self, **settings: object) -> None:
        """Change `delay_ms`, `every`, `slots`, `limit` or `model` while it runs."""
        self._post("/script", settings)

    def forget(self) -> None:
        """Set the counts to zero (the log stays)."""
        self._post("/reset", {})

    def logged(self) -> list[dict[str, Any]]:
        """Every request that reached it, in order, also those from before a kill."""
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def _control(self, path: str) -> str:
        return self.base_url.removesuffix("/v1") + path

    def _post(self, path: str, body: dict[str, object]) -> None:
        request = urllib.request.Request(self._control(path), json.dumps(body).encode())
        urllib.request.urlopen(request, timeout=5).close()


@contextmanager
def scripted_engine(folder: Path, *options: str, port: int = 0) -> Iterator[RunningEngine]:
    """Start `tests.support.scripted_engine` with `options`; end it when the block ends."""
    folder.mkdir(parents=True, exist_ok=True)
    ready, log = folder / f"engine-{time.monotonic_ns()}.json", folder / "engine.log"
    log.touch()
    command = [sys.executable, "-m", "tests.support.scripted_engine", "--port", str(port)]
    command += ["--ready-file", str(ready), "--log", str(log), *options]
    process = subprocess.Popen(command, cwd=_ROOT)
    try:
        deadline = time.monotonic() + 30
        while not ready.exists():
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"The scripted engine did not start: {process.poll()}.")
            time.sleep(0.02)
        yield RunningEngine(json.loads(ready.read_text())["base_url"], log, process)
    finally:
        process.terminate()
        process.wait(10)
