"""An engine's HTTP process's side of the rehearsals: which structures it may be asked for."""

import asyncio
import hashlib
import signal
import socket
import subprocess
import sys
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from linarite.engines.refusals import EngineFailure
from linarite.engines.sampling import Structure
from linarite.lifeline import child_environment

TOO_INVOLVED = "it is too large or too involved for this model's engine."

_REMEMBERED = 4_096
_REMEMBERED_BYTES = 32 << 20
"""Of what was asked; what came of it is bounded by what an engine may keep."""
_MOST_WAITING = 64
_LEAST_KEPT_BYTES = 256 << 10
"""Of what is kept of a small one, not all is seen."""
_START_SECONDS = 60.0
_SECONDS = 30.0
"""On a busy machine; the processor's time is bounded by the rehearsal itself."""
_LINE_LIMIT_BYTES = 16 << 20


@dataclass(frozen=True)
class Refused:
    """Why a structure is not admitted, and the keys that lead to the place."""

    why: str
    context: tuple[str, ...] = ()


class _Trial:
    """A structure that is tried, will be or was."""

    def __init__(
        self, try_: Callable[["_Trial"], Coroutine[None, None, Structure | Refused]], size: int
    ) -> None:
        self.size = size
        self.askers = 0
        self.has_begun = False
        self.task = asyncio.create_task(try_(self))

    @property
    def came_to_nothing(self) -> bool:
        """Whether it was or will be given up, or failed for what has nothing to do with it."""
        if self.task.cancelling() or not self.task.done():
            return self.task.cancelling() > 0
        return self.task.cancelled() or self.task.exception() is not None


class Structures:
    """The structures that a model's engine was asked for, each tried once before it is admitted.

    What is tried may end or stop the process that tries it, which is then replaced; the engine and
    whoever it answers notice nothing.
    """

    def __init__(self, hf_folder: Path) -> None:
        self._hf_folder = hf_folder
        self._known: OrderedDict[bytes, _Trial] = OrderedDict()
        self._known_bytes = 0
        self._unfinished = 0
        self._turn = asyncio.Lock()
        self._process: _Process | None = None
        self.kept_bytes = 0
        """What the engine keeps, about, of those that were admitted."""

    async def admit(self, asked: Mapping[str, Any]) -> Structure | Refused:
        """The structure in the form that samplings take, or why there is none.

        Args:
            asked: what `rehearsal` takes.

        Raises:
            EngineFailure: it cannot be tried now.
        """
        try:
            stated = orjson.dumps(asked)
        except orjson.JSONEncodeError:  # it is nested too deep
            return Refused(TOO_INVOLVED)
        key = hashlib.sha256(stated).digest()
        trial = self._known.get(key)
        if trial is None or trial.came_to_nothing:
            begun = self._begin(stated)
            self._forget(key)
            trial = self._known[key] = begun
            self._known_bytes += begun.size
        self._known.move_to_end(key)
        while len(self._known) > _REMEMBERED or self._known_bytes > _REMEMBERED_BYTES:
            self._forget(next(iter(self._known)))
        trial.askers += 1
        try:
            return await asyncio.shield(trial.task)  # others may wait for the same
        finally:
            trial.askers -= 1
            if not (trial.askers or trial.has_begun):
                trial.task.cancel()

    def close(self) -> None:
        """End the process that tries."""
        if self._process is not None:
            self._process.kill()

    def _forget(self, key: bytes) -> None:
        forgotten = self._known.pop(key, None)
        self._known_bytes -= 0 if forgotten is None else forgotten.size

    def _begin(self, stated: bytes) -> _Trial:
        """A trial that waits for its turn."""
        if self._unfinished >= _MOST_WAITING:
            raise EngineFailure(
                f"{self._unfinished} structures that this model's engine has not seen yet wait to "
                "be tried; try again later.",
                headers={"retry-after": "5"},
            )
        trial = _Trial(lambda trial: self._try(trial, stated), len(stated))
        trial.task.add_done_callback(self._finish)
        self._unfinished += 1
        return trial

    def _finish(self, task: "asyncio.Task[Structure | Refused]") -> None:
        self._unfinished -= 1
        if not task.cancelled():
            task.exception()  # those who asked for it may be gone

    async def _try(self, trial: _Trial, stated: bytes) -> Structure | Refused:
        async with self._turn:
            trial.has_begun = True
            was_used = self._process is not None
            said = await self._ask(stated)
            if "doubtful" in said and was_used:
                # It may have been worn out by what it tried before.
                self._end_process()
                said = await self._ask(stated)
        if "refused" in said:
            return Refused(said["refused"], tuple(said["context"]))
        self.kept_bytes += max(said["bytes"], _LEAST_KEPT_BYTES) + len(said["grammar"])
        return Structure("grammar", said["grammar"])

    async def _ask(self, stated: bytes) -> dict[str, Any]:
        """What the process says of it; one is started if need be.

        Raises:
            EngineFailure: it does not start, or says nothing for too long.
        """
        if self._process is None:
            self._process = await _Process.start(self._hf_folder)
        try:
            async with asyncio.timeout(_SECONDS):
                return await self._process.ask(stated)
        except TimeoutError as error:
            self._end_process()
            raise EngineFailure(
                "Structures cannot be tried now: the machine is too busy.",
                headers={"retry-after": "5"},
            ) from error
        except (ConnectionError, ValueError):
            status = self._end_process()
            said: dict[str, Any] = {"refused": TOO_INVOLVED, "context": []}
            # The processor's time is counted anew for each: that one is to blame itself.
            return said if status == -signal.SIGXCPU else {**said, "doubtful": True}

    def _end_process(self) -> int | None:
        """End the process that tries, if it has not ended; its status."""
        process, self._process = self._process, None
        return None if process is None else process.kill()


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
        self._asked = 0

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

    async def ask(self, stated: bytes) -> dict[str, Any]:
        """What it says.

        Raises:
            ConnectionError: it ended.
            ValueError: what it says is too long, no JSON or the answer to something else.
        """
        self._asked += 1
        self._writer.write(b'{"number": %d, "asked": %b}\n' % (self._asked, stated))
        said: dict[str, Any] = orjson.loads(await self._line())
        if said["number"] != self._asked:
            raise ValueError(f"It answers {said['number']}, not {self._asked}.")
        return said

    async def _line(self) -> bytes:
        line = await self._reader.readline()
        if not line.endswith(b"\n"):
            raise ConnectionResetError
        return line

    def kill(self) -> int:
        """End it at once; the status that it ended with."""
        self._process.kill()
        status = self._process.wait()
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._writer.close()
        return status
