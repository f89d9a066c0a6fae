"""One embedded engine as its host sees it: a process with a socket and a model."""

import asyncio
import hashlib
import os
import sys
import time
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from linarite.engines.installed import InstalledModel
from linarite.engines.refusals import EngineFailure
from linarite.engines.sampling import DETERMINISTIC
from linarite.lifeline import child_environment

_LOOK_SECONDS = 0.05
_ANSWER_SECONDS = 5.0
_PATIENCE = 3
"""Health checks in a row that may fail before an engine counts as hanging."""


class EngineProcess:
    """An engine's HTTP process; its stepper lives and dies with it."""

    def __init__(
        self,
        model: InstalledModel,
        run: Path,
        slots: int,
        structures_bytes: int,
        *,
        is_deterministic: bool = False,
    ) -> None:
        self.model = model
        self._structures_bytes = structures_bytes
        self.slots = 1 if is_deterministic else slots
        self.is_deterministic = is_deterministic
        kind = DETERMINISTIC if is_deterministic else ""
        name = hashlib.sha256(f"{model.folder}{kind}".encode()).hexdigest()[:8]
        self.socket = run / f"engine-{name}"
        self.asked_at = time.monotonic()
        self._process: asyncio.subprocess.Process | None = None
        self._is_ready = False
        self._missed = 0

    @property
    def is_alive(self) -> bool:
        """Whether it can be asked now; a server that takes leave removes its socket first."""
        return self._is_running and self.socket.exists()

    @property
    def is_leaving(self) -> bool:
        """Whether it takes no new requests any more, and may still answer those that it has."""
        return self._is_running and not self.socket.exists()

    @property
    def _is_running(self) -> bool:
        is_there = self._process is not None and self._process.returncode is None
        return self._is_ready and is_there

    @property
    def pid(self) -> int | None:
        return None if self._process is None else self._process.pid

    async def start(self, seconds: float) -> None:
        """Start it and wait until it listens.

        Raises:
            EngineFailure: it ended or did not listen in time.
        """
        self.socket.unlink(missing_ok=True)
        command = [sys.executable, "-m", "linarite.engines.server"]
        command += [str(self.model.folder), str(self.socket), str(self.slots)]
        command += [str(self._structures_bytes)]
        command += [DETERMINISTIC] if self.is_deterministic else []
        # Its standard input is a pipe that nobody writes to: it closes when the host ends.
        self._process = await asyncio.create_subprocess_exec(
            *command,
            env=child_environment(),
            stdin=asyncio.subprocess.PIPE,
            stdout=sys.stderr.fileno(),
        )
        try:
            async with asyncio.timeout(seconds):
                await self._until_it_listens()
        except TimeoutError as error:
            self.kill()
            raise EngineFailure(
                f"The engine of {self.model.id} did not start within {seconds:g} seconds."
            ) from error
        except asyncio.CancelledError:
            self.kill()
            raise
        self._is_ready = True

    async def wait(self) -> int:
        """Wait for its end; the exit status."""
        return 0 if self._process is None else await self._process.wait()

    async def end(self, seconds: float) -> None:
        """Ask it to end; kill it when it takes longer than allowed."""
        if self._process is None or self._process.returncode is not None:
            return
        self._process.terminate()
        try:
            async with asyncio.timeout(seconds):
                await self._process.wait()
        except TimeoutError:
            self.kill()
            await self._process.wait()
        self.socket.unlink(missing_ok=True)

    def kill(self) -> None:
        """End it at once."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()

    async def is_healthy(self) -> bool:
        """Whether it answered at least one of the last few times it was asked how it is."""
        answer = await self._ask("/health")
        self._missed = 0 if answer is not None else self._missed + 1
        return self._missed < _PATIENCE

    async def is_answering(self) -> bool:
        """Whether it answers now."""
        return await self._ask("/health") is not None

    async def is_busy(self) -> bool:
        """Whether it is answering anything."""
        answer = await self._ask("/slots")
        return answer is not None and any(answer["in_use"].values())

    async def _until_it_listens(self) -> None:
        while not self.socket.exists():
            if self._process is None or self._process.returncode is not None:
                status = None if self._process is None else self._process.returncode
                raise EngineFailure(
                    f"The engine of {self.model.id} ended while it started (status {status})."
                )
            await asyncio.sleep(_LOOK_SECONDS)

    async def _ask(self, path: str) -> dict[str, Any] | None:
        """What it answers on its socket, or None where it does not answer well or in time."""
        connector = aiohttp.UnixConnector(str(self.socket))
        timeout = aiohttp.ClientTimeout(_ANSWER_SECONDS)
        try:
            async with (
                aiohttp.ClientSession(connector=connector, timeout=timeout) as session,
                session.get(f"http://engine{path}") as answer,
            ):
                known: dict[str, Any] | None = await answer.json() if answer.status == 200 else None
                return known
        except (aiohttp.ClientError, TimeoutError):
            return None


async def listen_privately(runner: web.AppRunner, path: Path) -> None:
    """Listen on a Unix socket that only this user may open; it appears when it is ready."""
    part = path.with_name(path.name + ".part")
    part.unlink(missing_ok=True)
    before = os.umask(0o177)
    try:
        await web.UnixSite(runner, part, backlog=4096).start()
    finally:
        os.umask(before)
    part.rename(path)
