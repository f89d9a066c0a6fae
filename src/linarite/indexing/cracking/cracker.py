"""Pieces of text from files, read and cut in a child that a file may crash, hang or swell."""

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import version as version_of
from io import BytesIO
from typing import Any, Self

from linarite.indexing.chunking import Cutting
from linarite.indexing.cracking.cracked import Cracked, File
from linarite.indexing.cracking.messages import (
    NEXT,
    BadMessage,
    Message,
    MessageTooLong,
    receive,
    send,
)
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
_CHARACTERS_AT_ONCE = 4_000_000
"""What is read of files that are asked for together, beyond which the rest is left out."""
_REPEATED = 4
"""How often a character can be in pieces at most: what is cut once more overlaps twice."""
_PIECE_BYTES = 1 << 20
_COMPLAINT_BYTES = 8_192
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
    """Reads and cuts documents in a child process that it keeps.

    Used by one thread at a time: the child is killed when the one ends that asked for it first.

    Args:
        cutting: how texts are cut.
        limits: what a document may take.
        reader: what the child reads with, as `module:function`; it is called as `reading.read` is.
    """

    def __init__(
        self,
        cutting: Cutting | None = None,
        limits: Limits | None = None,
        reader: str = _READER,
    ) -> None:
        self._cutting = cutting or Cutting()
        self._limits = limits or Limits()
        self._reader = reader
        self._child: _Child | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def crack(
        self, files: Sequence[File], check: Callable[[], None] = lambda: None
    ) -> list[Cracked | DocumentFailed]:
        """What is in files, in their order; for some of them, why nothing is to be had.

        Such are not supported, damaged, encrypted, without text, or take more than the limits
        allow. Files after the first that come to more text than memory has room for are left out. A
        document that crashes a child which has read others is tried once more in a new one, as one
        of those may have left it damaged.

        Args:
            files: some; asking for many at once costs less than for one after the other.
            check: called before each answer; what it raises ends the reading.

        Raises:
            TryLater: no child starts.
        """
        done: list[Cracked | DocumentFailed] = []
        characters = 0
        while len(done) < len(files) and characters < _CHARACTERS_AT_ONCE:
            child = self._ready()
            try:
                child.ask(files[len(done) :])
                while child.is_asked and characters < _CHARACTERS_AT_ONCE:
                    check()
                    done.append(self._answer(child))
                    characters += _characters(done[-1])
            except _Crashed as crash:
                self._stop()
                if child.documents == 1:
                    done.append(DocumentFailed(str(crash)))
        if self._child is not None and self._child.is_asked:
            self._stop()  # it would read on for nobody
        return done

    def _ready(self) -> "_Child":
        """The child; a new one where there is none, or where it is dead or worn."""
        if self._child is not None and not self._is_good(self._child):
            self._stop()
        if self._child is None:
            self._child = _Child(self._reader, self._cutting, self._limits)
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

    def _answer(self, child: "_Child") -> Cracked | DocumentFailed:
        """The next answer of a child that is asked; raises _Crashed."""
        try:
            said = child.answer()
        except TimeoutError:
            child.kill()
            return DocumentFailed(_too_slow(self._limits))
        except MessageTooLong:
            child.kill()
            most = self._limits.text_characters
            return DocumentFailed(f"The text is longer than {most:,} characters.")
        if "out_of_memory" in said.told:
            raise _Crashed(_too_large(self._limits))
        if "failed" in said.told:
            return DocumentFailed(_words(said.told["failed"]))
        title = said.told.get("title")
        return Cracked(said.text, None if title is None else _words(title), _pieces(said))


class _Crashed(Exception):
    """The child ended, or cannot go on; the message tells of the document."""


class _Child:
    """A started process; `ask` may be called when its start is over, which it waits for."""

    def __init__(self, reader: str, cutting: Cutting, limits: Limits) -> None:
        self.documents = 0
        """That it has begun to read, as far as its answers tell."""
        self.grown_bytes = 0
        self._asked = 0
        self._limits = limits
        self._received = BytesIO()
        self._complaints = b""
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
        assert self._process.stdin is not None
        assert self._process.stderr is not None
        os.set_blocking(self._process.stdin.fileno(), False)
        os.set_blocking(self._process.stderr.fileno(), False)
        if not self._starts(cutting):
            self._process.kill()
            self._process.wait()
            words = self._last_words()
            self.kill()
            raise TryLater(f"The process that reads documents does not start: {words}")

    def _starts(self, cutting: Cutting) -> bool:
        """Tell it how to cut once it listens; whether it is ready then."""
        with suppress(TimeoutError, MessageTooLong, BadMessage, BrokenPipeError):
            if self._receive(_START_SECONDS) is not None:
                self._send(_told(cutting))
                return self._receive(_START_SECONDS) is not None
        return False

    @property
    def is_asked(self) -> bool:
        """Whether an answer is still to come."""
        return self._asked > 0

    def is_alive(self) -> bool:
        return self._process.poll() is None

    def ask(self, files: Sequence[File]) -> None:
        """Have it read files, and answer for each."""
        self._asked = len(files)
        asked = [{**asdict(file), "path": str(file.path.absolute())} for file in files]
        try:
            self._send(Message({"files": asked}))
        except BrokenPipeError:
            pass  # the first answer is found to be lacking
        except TimeoutError:
            self._process.kill()  # with the same outcome

    def answer(self) -> Message:
        """What it says of the next file.

        Raises:
            TimeoutError: it takes too long.
            MessageTooLong: its text is too long by far.
            _Crashed: the process ends over it, or answers what is no answer.
        """
        self.documents += 1
        try:
            said = self._receive(self._limits.seconds)
        except BadMessage as error:
            raise _Crashed("The file makes its reader fail: its answer cannot be read.") from error
        if said is None:
            raise _Crashed(self._why_ended())
        if len(said.text) > self._limits.text_characters:
            raise MessageTooLong
        self._asked -= 1
        grown = said.told.get("grown_bytes")
        self.grown_bytes = grown if isinstance(grown, int) else self._limits.memory_bytes
        self._hear_out()
        return said

    def kill(self) -> None:
        """End it at once; a second time is no fault."""
        self._asked = 0
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe is not None:
                pipe.close()

    def _send(self, message: Message) -> None:
        """Have it take a message up.

        Raises:
            BrokenPipeError: it has ended.
            TimeoutError: it does not take it: a pipe holds less, and a file may have stopped it.
        """
        assert self._process.stdin is not None
        asks = self._process.stdin.fileno()
        ready = select.poll()
        ready.register(asks, select.POLLOUT)
        deadline = time.monotonic() + self._limits.seconds
        whole = BytesIO()
        send(whole, message)
        left = whole.getbuffer()
        while left:
            seconds = deadline - time.monotonic()
            if seconds <= 0 or not ready.poll(seconds * 1000):
                raise TimeoutError
            left = left[os.write(asks, left) :]

    def _receive(self, seconds: float) -> Message | None:
        assert self._process.stdout is not None
        answers = self._process.stdout.fileno()
        ready = select.poll()
        ready.register(answers, select.POLLIN)
        deadline = time.monotonic() + seconds

        def read(most: int) -> bytes:
            if piece := self._received.read(most):
                return piece
            left = deadline - time.monotonic()
            if left <= 0 or not ready.poll(left * 1000):
                raise TimeoutError
            self._received = BytesIO(os.read(answers, _PIECE_BYTES))
            return self._received.read(most)

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
        """The last line of what it has complained of the file that it is at; '' for none."""
        self._hear_out()
        of_this_file = self._complaints.rpartition(NEXT)[2].decode("utf-8", "replace")
        lines = of_this_file.split("\n")
        return next((line.strip()[:300] for line in reversed(lines) if line.strip()), "")

    def _hear_out(self) -> None:
        """Take up what it complains, so that there is room for more; the end of it is kept."""
        assert self._process.stderr is not None
        heard = self._process.stderr.read() or b""
        self._complaints = (self._complaints + heard)[-_COMPLAINT_BYTES:]


def _told(cutting: Cutting) -> Message:
    """How a child is told how to cut."""
    told = {"max_tokens": cutting.max_tokens, "overlap_tokens": cutting.overlap_tokens}
    return Message(told, cutting.tokenizer or "")


def _pieces(said: Message) -> list[str]:
    """The pieces of a text; raises _Crashed where they are more than such pieces can come to."""
    left = _REPEATED * len(said.text)
    pieces = []
    for start, end in zip(said.places[::2], said.places[1::2], strict=False):
        piece = said.text[start:end]
        left -= len(piece)
        if not piece or left < 0:
            raise _Crashed("The file makes its reader fail: what it was cut into cannot be.")
        pieces.append(piece)
    return pieces


def _characters(outcome: Cracked | DocumentFailed) -> int:
    return len(outcome.text) if isinstance(outcome, Cracked) else 0


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
