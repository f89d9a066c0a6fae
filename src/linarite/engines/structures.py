"""An engine's HTTP process's side of the rehearsals: which structures it may be asked for."""

import asyncio
import socket
import subprocess
import sys
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from linarite.engines.lifeline import child_environment
from linarite.engines.refusals import EngineFailure
from linarite.engines.sampling import Structure

_REMEMBERED = 128
_START_SECONDS = 60.0
_SECONDS = 30.0
"""On a busy machine; the processor's time is bounded by the rehearsal itself."""
_LINE_LIMIT_BYTES = 16 << 20


@dataclass(frozen=True)
class Refused:
    """Why a structure is not admitted, and the keys that lead to the place."""

    why: str
    context: tuple[str, ...] = ()


class Structures:
    """The structures that a model's engine was asked for, each tried once before it is admitted.

    What is tried may end or stop the process that tries it, which is then replaced; the engine and
    whoever it answers notice nothing.
    """

    def __init__(self, hf_folder: Path) -> None:
        self._hf_folder = hf_folder
        self._known: OrderedDict[bytes, asyncio.Task[Structure | Refused]] = OrderedDict()
        self._turn = asyncio.Lock()
        self._process: _Process | None = None

    async def admit(self, asked: Mapping[str, Any]) -> Structure | Refused:
        """The structure in the form that samplings take, or why there is none.

        Args:
            asked: what `rehearsal` takes.

        Raises:
            EngineFailure: it cannot be tried now.
        """
        key = orjson.dumps(asked)
        trial = self._known.get(key)
        if trial is None or (trial.done() and (trial.cancelled() or trial.exception())):
            trial = self._known[key] = asyncio.create_task(self._try(key))
        self._known.move_to_end(key)
        while len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)
        return await asyncio.shield(trial)  # others may wait for the same

    def close(self) -> None:
        """End the process that tries."""
        if self._process is not None:
            self._process.kill()

    async def _try(self, asked: bytes) -> Structure | Refused:
        async with self._turn:
            was_running = self._process is not None
            said = await self._ask(asked)
            if said is None and was_running:
                # It may have been worn out by what it tried before.
                said = await self._ask(asked)
        if said is None:
            return Refused("it is too large or too involved for this model's engine.")
        if "refused" in said:
            return Refused(said["refused"], tuple(said["context"]))
        return Structure("grammar", said["grammar"])

    async def _ask(self, asked: bytes) -> dict[str, Any] | None:
        """What the process says of it, or None where it perished; one is started if need be.

        Raises:
            EngineFailure: it does not start.
        """
        if self._process is None:
            self._process = await _Process.start(self._hf_folder)
        try:
            async with asyncio.timeout(_SECONDS):
                return await self._process.ask(asked)
        except (TimeoutError, ConnectionError):
            self._process.kill()
            self._process = None
            return None


class _Process:
    """A process that tries structures."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self._process = process
        self._reader = reader
        self._writer = writer

    @classmethod
    async def start(cls, hf_folder: Path) -> "_Process":
        ours, theirs = socket.socketpair()
        command = [sys.executable, "-m", "linarite.engines.rehearsal", str(hf_folder)]
        # Its standard input is a pipe that nobody writes to: it closes when this process ends.
        process = subprocess.Popen(
            [*command, str(theirs.fileno())],
            env=child_environment(),
            stdin=subprocess.PIPE,
            stdout=sys.stderr.fileno(),
            pass_fds=[theirs.fileno()],
        )
        theirs.close()
        started = cls(process, *await asyncio.open_connection(sock=ours, limit=_LINE_LIMIT_BYTES))
        try:
            async with asyncio.timeout(_START_SECONDS):
                await started._line()
        except (TimeoutError, ConnectionError) as error:
            started.kill()
            raise EngineFailure("Structures cannot be tried now.") from error
        return started

    async def ask(self, asked: bytes) -> dict[str, Any]:
        """What it says.

        Raises:
            ConnectionError: it ended.
        """
        self._writer.write(asked + b"\n")
        said: dict[str, Any] = orjson.loads(await self._line())
        return said

    async def _line(self) -> bytes:
        line = await self._reader.readline()
        if not line.endswith(b"\n"):
            raise ConnectionResetError
        return line

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()
        self._process.wait()
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._writer.close()
