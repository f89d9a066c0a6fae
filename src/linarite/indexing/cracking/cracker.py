"""Text from files, read in a child process that a file may crash, hang or swell."""

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Any, Self

from linarite.indexing.cracking.cracked import Cracked
from linarite.indexing.cracking.messages import BadMessage, Message, MessageTooLong, receive, send
from linarite.indexing.failures import DocumentFailed, TryLater

_RULES = 3
"""Raised by whoever changes what text a file gives."""
_LIBRARIES = ("charset-normalizer", "lxml", "trafilatura", "xberg")
_READER = "linarite.indexing.cracking.reading:read"
_START_SECONDS = 60
_END_SECONDS = 5
_NOWHERE = "/nonexistent"
_KEPT = ("LANG", "LD_LIBRARY_PATH", "PATH", "PYTHONHOME", "PYTHONPATH", "TZ", "VIRTUAL_ENV")
_BYTES_PER_CHARACTER = 4
_LONGEST_WORDS = 2_000
"""Of what a child tells of a document in words."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one document may take.

    Args:
        seconds: by the clock, and of processor time.
        memory_bytes: on top of what the child has when it starts.
        text_characters: that come back.
        documents: that one child reads before it is replaced.
    """

    seconds: float = 60
    memory_bytes: int = 1024**3
    text_characters: int = 16_000_000
    documents: int = 5_000


@cache
def cracker_version() -> str:
    """Changes with whatever may change the text that a file gives."""
    libraries = (f"{name}-{version_of(name)}" for name in _LIBRARIES)
    return f"{_RULES} {' '.join(libraries)}"


class Cracker:
    """Reads documents, one after the other, in a child process that it keeps.

    Used by one thread, that which enters it: the child is killed when that thread ends.

    Args:
        limits: what a document may take.
        reader: what the child reads with, as `module:function`; it is called as `reading.read` is.
    """

    def __init__(self, limits: Limits | None = None, reader: str = _READER) -> None:
        self._limits = limits or Limits()
        self._reader = reader
        self._child: _Child | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def crack(self, path: Path, name: str, content_type: str | None = None) -> Cracked:
        """The text of a file.

        A document that crashes a child which has read others is tried once more in a new one, as
        one of those may have left it damaged.

        Args:
            path: where the file lies.
            name: the document's own, whose extension tells the format.
            content_type: as the container tells it.

        Raises:
            DocumentFailed: it is not supported, damaged, encrypted, without text, or takes more
                than the limits allow.
            TryLater: no child starts.
        """
        child = self._ready()
        is_fresh = child.documents == 0
        try:
            return self._ask(child, path, name, content_type)
        except _Crashed as crash:
            self._stop()
            if is_fresh:
                raise DocumentFailed(str(crash)) from crash
        try:
            return self._ask(self._ready(), path, name, content_type)
        except _Crashed as crash:
            self._stop()
            raise DocumentFailed(str(crash)) from crash

    def _ready(self) -> "_Child":
        """The child; a new one where there is none, or where it is dead or worn."""
        if self._child is not None and not self._is_good(self._child):
            self._stop()
        if self._child is None:
            self._child = _Child(self._reader, self._limits)
        return self._child

    def _is_good(self, child: "_Child") -> bool:
        return (
            child.is_alive()
            and not child.is_asked
            and child.documents < self._limits.documents
            and child.grown_bytes < self._limits.memory_bytes // 4
        )

    def _stop(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            child.kill()

    def _ask(self, child: "_Child", path: Path, name: str, content_type: str | None) -> Cracked:
        request = {"path": str(path.absolute()), "name": name, "content_type": content_type}
        try:
            told, text = child.ask(request)
        except TimeoutError as error:
            self._stop()
            raise DocumentFailed(_too_slow(self._limits)) from error
        except MessageTooLong as error:
            self._stop()
            most = self._limits.text_characters
            raise DocumentFailed(f"The text is longer than {most:,} characters.") from error
        if "out_of_memory" in told:
            raise _Crashed(_too_large(self._limits))
        if "failed" in told:
            raise DocumentFailed(_words(told["failed"]))
        title = told.get("title")
        return Cracked(text, None if title is None else _words(title))


class _Crashed(Exception):
    """The child ended, or cannot go on; the message tells of the document."""


class _Child:
    """A started process; `ask` may be called when its start is over, which it waits for."""

    def __init__(self, reader: str, limits: Limits) -> None:
        self.documents = 0
        self.grown_bytes = 0
        self.is_asked = False
        """Whether an answer is still to come: nobody waited for it who can take it."""
        self._limits = limits
        self._process = subprocess.Popen(
            [
                sys.executable,
                *("-m", "linarite.indexing.cracking.child"),
                *(str(os.getpid()), reader, json.dumps(asdict(limits))),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd="/",
            env=_environment(),
            start_new_session=True,  # a Ctrl-C at the terminal is the parent's to handle
        )
        try:
            ready = self._receive(_START_SECONDS)
        except (TimeoutError, MessageTooLong, BadMessage):
            ready = None
        if ready is None:
            self._process.kill()
            self._process.wait()
            words = self._last_words()
            self.kill()
            raise TryLater(f"The process that reads documents does not start: {words}")

    def is_alive(self) -> bool:
        return self._process.poll() is None

    def ask(self, request: dict[str, Any]) -> Message:
        """The answer to a request.

        Raises:
            TimeoutError: it takes too long.
            MessageTooLong: its text is too long by far.
            _Crashed: the process ends over it, or answers what is no answer.
        """
        self.documents += 1
        self.is_asked = True
        self._last_words()  # what the documents before it left is not of this one
        assert self._process.stdin is not None
        try:
            send(self._process.stdin, request)
            answer = self._receive(self._limits.seconds)
        except BrokenPipeError:
            answer = None
        except BadMessage as error:
            raise _Crashed("The file makes its reader fail: its answer cannot be read.") from error
        if answer is None:
            raise _Crashed(self._why_ended())
        told, text = answer
        if len(text) > self._limits.text_characters:
            raise MessageTooLong
        self.is_asked = False
        grown = told.get("grown_bytes")
        self.grown_bytes = grown if isinstance(grown, int) else self._limits.memory_bytes
        return told, text

    def kill(self) -> None:
        """End it at once; a second time is no fault."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe is not None:
                with suppress(BrokenPipeError):  # of a request that did not get through
                    pipe.close()

    def _receive(self, seconds: float) -> Message | None:
        assert self._process.stdout is not None
        answers = self._process.stdout.fileno()
        ready = select.poll()
        ready.register(answers, select.POLLIN)
        deadline = time.monotonic() + seconds

        def read(most: int) -> bytes:
            left = deadline - time.monotonic()
            if left <= 0 or not ready.poll(left * 1000):
                raise TimeoutError
            return os.read(answers, min(most, 1 << 20))

        return receive(read, self._limits.text_characters * _BYTES_PER_CHARACTER)

    def _why_ended(self) -> str:
        try:
            code = self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            return "The file makes its reader fail: it lives on, but answers no more."
        words = self._last_words()
        if code == -signal.SIGXCPU:
            return _too_slow(self._limits)
        if code == -signal.SIGKILL or "memory" in words.lower():
            return _too_large(self._limits)
        return f"The file makes its reader fail: {words or _ending(code)}"

    def _last_words(self) -> str:
        """The last line of what the process has complained since this was asked; '' for none."""
        assert self._process.stderr is not None
        os.set_blocking(self._process.stderr.fileno(), False)
        lines = (self._process.stderr.read() or b"").decode("utf-8", "replace").split("\n")
        return next((line.strip()[:300] for line in reversed(lines) if line.strip()), "")


def _words(told: Any) -> str:
    """What a child tells in words, without what databases refuse: a file may have had its say."""
    words = str(told)[:_LONGEST_WORDS].replace("\0", " ")
    return words.encode("utf-8", "replace").decode()


def _environment() -> Mapping[str, str]:
    kept = {
        name: value for name, value in os.environ.items() if name in _KEPT or name.startswith("LC_")
    }
    threads = {"MALLOC_ARENA_MAX": "2", "RAYON_NUM_THREADS": "1", "TOKIO_WORKER_THREADS": "1"}
    return {**kept, **threads, "HOME": _NOWHERE, "TMPDIR": _NOWHERE}


def _ending(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else f"it ended with status {code}"


def _too_slow(limits: Limits) -> str:
    return f"Cracking took longer than {limits.seconds:g} seconds."


def _too_large(limits: Limits) -> str:
    return f"Cracking needed more than {limits.memory_bytes >> 20:,} MB of memory."
