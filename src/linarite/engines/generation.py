"""The HTTP process's side of the stepper: start answers, hear their tokens, stop them."""

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import AsyncGenerator, Sequence
from dataclasses import asdict, replace
from itertools import count
from typing import Any

import orjson

from linarite.engines.installed import InstalledModel
from linarite.engines.refusals import EngineUnreachable
from linarite.engines.sampling import DETERMINISTIC, Ended, Sampling
from linarite.lifeline import child_environment

_LINE_LIMIT_BYTES = 64 << 20

Said = tuple[int, list[int], Ended | None, list[float]]
"""Which of a request's answers, its new tokens, how it ended if it did, the tokens' logprobs where
they are wanted."""


class Stepping:
    """A stepper process and the answers that it makes."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        processor: list[str],
    ) -> None:
        self._process = process
        self._reader = reader
        self._writer = writer
        self.processor = processor
        self._ids = count(1)
        self._wanted: dict[int, tuple[asyncio.Queue[Said | None], int]] = {}
        self.counts = {"interactive": 0, "batch": 0, "interactive_waiting": 0, "batch_waiting": 0}
        self.last_heard = 0.0
        self.died = asyncio.Event()

    @classmethod
    async def start(
        cls, model: InstalledModel, slots: int, *, is_deterministic: bool = False
    ) -> "Stepping":
        """Start the process and wait until it has loaded the model.

        Raises:
            EngineUnreachable: it ended before that.
        """
        ours, theirs = socket.socketpair()
        command = [sys.executable, "-m", "linarite.engines.stepper"]
        command += [str(model.folder), str(slots), str(theirs.fileno())]
        command += [DETERMINISTIC] if is_deterministic else []
        # Its standard input is a pipe that nobody writes to: it closes when this process ends.
        process = subprocess.Popen(
            command,
            env=child_environment(),
            stdin=subprocess.PIPE,
            stdout=sys.stderr.fileno(),
            pass_fds=[theirs.fileno()],
        )
        theirs.close()
        reader, writer = await asyncio.open_connection(sock=ours, limit=_LINE_LIMIT_BYTES)
        told = await reader.readline()
        if not told:
            raise EngineUnreachable(f"The engine of {model.id} ended while it loaded the model.")
        return cls(process, reader, writer, orjson.loads(told)["processor"])

    async def listen(self) -> None:
        """Hand out what the stepper says until it ends; then `died` is set."""
        loop = asyncio.get_running_loop()
        try:
            while line := await self._reader.readline():
                self.last_heard = loop.time()
                heard = orjson.loads(line)
                self.counts = heard["counts"]
                for answer_id, *said in heard["said"]:
                    self._hear(answer_id, *said)
        except ConnectionError:
            pass  # as good as its end
        finally:
            self.died.set()
            for queue, _ in self._wanted.values():
                queue.put_nowait(None)

    def is_stalled(self, seconds: float) -> bool:
        """Whether answers are wanted and none has moved for so long."""
        silent = asyncio.get_running_loop().time() - self.last_heard
        return bool(self._wanted) and silent > seconds

    def is_wanted(self) -> bool:
        """Whether anybody waits for an answer."""
        return bool(self._wanted)

    async def answers(
        self, wanted: Sequence[tuple[Sequence[int], Sampling]], *, is_batch: bool
    ) -> AsyncGenerator[Said, None]:
        """Make one answer for each prompt and sampling; those left unfinished are stopped.

        All are held to the same structure, or to none.

        Raises:
            EngineUnreachable: the stepper ended.
        """
        queue: asyncio.Queue[Said | None] = asyncio.Queue()
        ids, requests = [], []
        structure = wanted[0][1].structure
        for index, (prompt, sampling) in enumerate(wanted):
            answer_id = next(self._ids)
            ids.append(answer_id)
            self._wanted[answer_id] = (queue, index)
            # A structure may be long: it is told once.
            plain = asdict(replace(sampling, structure=None))
            stated = {"id": answer_id, "prompt": prompt, "sampling": plain}
            requests.append({**stated, "is_batch": is_batch})
        self._send({"add": requests, "structure": structure and asdict(structure)})
        self.last_heard = max(self.last_heard, asyncio.get_running_loop().time())
        try:
            left = len(ids)
            while left:
                said = None if self.died.is_set() else await queue.get()
                if said is None:
                    raise EngineUnreachable(headers={"retry-after": "1"})
                left -= said[2] is not None
                yield said
        finally:
            self.stop(ids)

    def stop(self, ids: Sequence[int]) -> None:
        """Stop answers that are not finished."""
        for answer_id in ids:
            if self._wanted.pop(answer_id, None) is not None:
                self._send({"cancel": answer_id})

    def kill(self) -> None:
        """End the process at once."""
        self._process.kill()
        self._process.wait()

    def _hear(
        self, answer_id: int, tokens: list[int], ended: Ended | None, logprobs: list[float]
    ) -> None:
        if answer_id not in self._wanted:
            return  # stopped meanwhile
        queue, index = self._wanted[answer_id]
        if ended is not None:
            del self._wanted[answer_id]
        queue.put_nowait((index, tokens, ended, logprobs))

    def _send(self, command: dict[str, Any]) -> None:
        if not self.died.is_set():
            self._writer.write(orjson.dumps(command) + b"\n")


def exit_now(status: int) -> None:
    """End this process without waiting for anything: its children notice."""
    sys.stderr.flush()
    os._exit(status)
