"""The process that steps an engine's pipeline; its HTTP process talks to it over a socket.

    python -m linarite.engines.stepper FOLDER SLOTS FD [deterministic]

A step holds the interpreter's lock, so nothing else lives here. Lines of JSON come in
(``{"add": […], "structure": …}``, ``{"cancel": id}``) and go out (``{"ready": …}``, then after
every step ``{"said": [[id, tokens, ended, logprobs], …], "counts": …}``). An exception out of a
step ends the process: the pipeline cannot be trusted any more. The end of the socket ends it too.
"""

import os
import select
import socket
import sys
import time
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson

from linarite.engines.admission import Admission, Request
from linarite.engines.installed import InstalledModel, read_model
from linarite.engines.pipeline import Handle, Pipeline, processor
from linarite.engines.sampling import DETERMINISTIC, Piece, Sampling, Structure
from linarite.engines.vocabulary import words_of
from linarite.lifeline import die_with_parent

_CHUNK_BYTES = 1 << 20
_REFUSED = Piece([], "refused")
_LOOK_SECONDS = 0.02


class Commands:
    """The lines that come in over a socket."""

    def __init__(self, link: socket.socket) -> None:
        self._link = link
        self._pieces: list[bytes] = []  # of a line whose end is not there yet

    def take(self, *, wait: bool) -> list[dict[str, Any]]:
        """The whole lines that are there; with `wait`, at least one.

        Raises:
            EOFError: the other side is gone.
        """
        lines: list[bytes] = []
        while (wait and not lines) or select.select([self._link], [], [], 0)[0]:
            chunk = self._link.recv(_CHUNK_BYTES)
            if not chunk:
                raise EOFError
            *whole, rest = chunk.split(b"\n")
            for end in whole:
                lines.append(b"".join([*self._pieces, end]))
                self._pieces = []
            self._pieces.append(rest)
        return [orjson.loads(line) for line in lines]


class Stepper:
    """Keeps a pipeline busy with the requests of an `Admission`."""

    def __init__(self, pipeline: Pipeline, admission: Admission) -> None:
        self._pipeline = pipeline
        self._admission = admission
        self._handles: dict[int, Handle] = {}
        self._preparer = ThreadPoolExecutor(1)
        self._preparing: dict[int, tuple[Request, Future[None]]] = {}

    def obey(self, command: dict[str, Any]) -> None:
        """Take one command in."""
        if (request_id := command.get("cancel")) is not None:
            self._cancel(request_id)
            return
        structure = command["structure"] and Structure(**command["structure"])
        requests = []
        for stated in command["add"]:
            sampling = replace(Sampling.from_plain(stated["sampling"]), structure=structure)
            requests.append(Request(**{**stated, "sampling": sampling}))
        if structure is None:
            for request in requests:
                self._admission.put(request, time.monotonic())
            return
        # A step that compiles a structure would hold up everybody's answers.
        prepared = self._preparer.submit(self._pipeline.prepare, structure)
        self._preparing |= {request.id: (request, prepared) for request in requests}

    def step(self) -> list[list[Any]]:
        """Start who is next, compute one step, and return what came out."""
        for request in self._admission.step_back():
            self._handles.pop(request.id).cancel()
        refused = self._take_prepared()
        if not self._pipeline.is_busy() and not self._admission.has_waiting():
            waited = [prepared for _, prepared in self._preparing.values()]
            wait(waited, timeout=_LOOK_SECONDS, return_when=FIRST_COMPLETED)
            return refused
        for request in self._admission.admit(time.monotonic()):
            try:
                self._handles[request.id] = self._start(request)
            except RuntimeError:  # the library objects to this request; the others go on
                self._admission.remove(request.id)
                refused.append(_told(request.id, _REFUSED))
        is_reading = any(request.is_reading for request in self._admission.active.values())
        began = time.monotonic()
        self._pipeline.step()
        now = time.monotonic()
        if not is_reading:
            self._admission.note_step(now - began, now)
        return [*refused, *self._read()]

    def is_busy(self) -> bool:
        """Whether there is anything to compute."""
        is_waited_for = bool(self._preparing) or self._admission.has_waiting()
        return is_waited_for or self._pipeline.is_busy()

    def _cancel(self, request_id: int) -> None:
        if request_id in self._preparing:
            _, prepared = self._preparing.pop(request_id)
            if all(other is not prepared for _, other in self._preparing.values()):
                prepared.cancel()  # nobody waits for it any more
        elif self._admission.remove(request_id) is not None:
            self._handles.pop(request_id).cancel()

    def _take_prepared(self) -> list[list[Any]]:
        """Queue the requests whose structure is compiled; those that have none are refused."""
        refused = []
        for request_id, (request, prepared) in list(self._preparing.items()):
            if prepared.done():
                del self._preparing[request_id]
                if prepared.exception() is None:
                    self._admission.put(request, time.monotonic())
                else:
                    refused.append(_told(request_id, _REFUSED))
        return refused

    def _start(self, request: Request) -> Handle:
        """Begin an answer, or go on with one that stepped back."""
        sampling = request.sampling
        if request.said:
            said = len(request.said)
            # With its first seed it would choose again as it chose at its beginning.
            seed = (sampling.seed + said) % (1 << 32)
            sampling = replace(sampling, max_tokens=sampling.max_tokens - said, seed=seed)
        return self._pipeline.add(request.prompt + request.said, sampling)

    def _read(self) -> Iterator[list[Any]]:
        for request_id, handle in list(self._handles.items()):
            piece = handle.read()
            request = self._admission.active[request_id]
            if piece.tokens:
                self._admission.note_read(request)
                request.said += piece.tokens
            if piece.ended is not None:
                self._admission.remove(request_id)
                del self._handles[request_id]
            if piece.tokens or piece.ended is not None:
                yield _told(request_id, piece)


def _told(request_id: int, piece: Piece) -> list[Any]:
    """A piece of an answer as `generation.Said` reads it."""
    return [request_id, piece.tokens, piece.ended, piece.logprobs]


def serve(
    model: InstalledModel, slots: int, link: socket.socket, *, is_deterministic: bool = False
) -> None:
    """Answer over `link` until it closes."""
    words = words_of(model.hf_folder)
    pipeline = Pipeline.load(
        model.ir_folder,
        slots=slots,
        cache_bytes=model.cache_bytes,
        words=words,
        adapter=model.adapter_folder,
        # What an earlier request left would change in which pieces a prompt is computed.
        shares_prefixes=not is_deterministic,
    )
    admission = Admission(slots, _warm_up(pipeline, model, is_bound=words is not None))
    stepper, commands = Stepper(pipeline, admission), Commands(link)
    link.sendall(orjson.dumps({"ready": os.getpid(), "processor": processor()}) + b"\n")
    while True:
        for command in commands.take(wait=not stepper.is_busy()):
            stepper.obey(command)
        if stepper.is_busy():
            said = stepper.step()
            link.sendall(orjson.dumps({"said": said, "counts": admission.counts()}) + b"\n")


def _warm_up(pipeline: Pipeline, model: InstalledModel, *, is_bound: bool) -> float:
    """Take the first steps, which allocate, before anyone waits; the seconds of a short one.

    With `is_bound` an answer that is held to a structure is among them.
    """
    eos = model.eos_token_ids
    first = Sampling(max_tokens=6, temperature=0.0, eos=eos, ignore_eos=True)
    structure = Structure("grammar", "root ::= [a-z]{6}") if is_bound else None
    pipeline.add([eos[0]] * 8, replace(first, max_tokens=2, structure=structure))
    while pipeline.is_busy():
        pipeline.step()
    pipeline.add([eos[0]] * 8, first)
    seconds = []
    while pipeline.is_busy():
        began = time.monotonic()
        pipeline.step()
        seconds.append(time.monotonic() - began)
    return min(seconds)


def main() -> None:
    """Run until the HTTP process closes the socket or a step fails."""
    die_with_parent()
    folder, slots, descriptor, *more = sys.argv[1:]
    link = socket.socket(fileno=int(descriptor))
    try:
        is_deterministic = more == [DETERMINISTIC]
        serve(read_model(Path(folder)), int(slots), link, is_deterministic=is_deterministic)
    except (EOFError, ConnectionError):
        os._exit(0)  # the pipeline's own threads would be waited for


if __name__ == "__main__":
    main()
