"""Whether a file is the JSON Lines that its purpose needs, told line by line.

A batch's lines need only be objects here: what a request must hold is the batch's to judge, which
has codes of its own for it. Lines that hold nothing but white space count for nothing.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import orjson

from linarite.resources.files import examples
from linarite.storage.blobs import LineTooLong
from linarite.wire.errors import ErrorCode
from linarite.wire.files import Purpose

BOM = b"\xef\xbb\xbf"
_FAULTS_SHOWN = 5
_FAULTS_SOUGHT = 100
_HINT_CHARACTERS = 40


@dataclass(frozen=True)
class Verdict:
    """What judging a file came to."""

    details: str | None = None
    """What is wrong with it, with line numbers; None when nothing is."""
    code: ErrorCode | None = None

    @property
    def is_good(self) -> bool:
        """Whether the file may be used."""
        return self.code is None


GOOD = Verdict()


class BadLine(ValueError):
    """A line that its purpose does not allow."""


def is_judged(purpose: Purpose) -> bool:
    """Whether files of this purpose must be JSON Lines; others may be any bytes."""
    return purpose in {Purpose.FINE_TUNE, Purpose.BATCH}


def judge(purpose: Purpose, lines: Iterable[bytes]) -> Verdict:
    """Read the lines of a file to the end, unless it has very many faults, and judge them.

    Args:
        purpose: one that `is_judged`.
        lines: without their line feeds; may raise LineTooLong.
    """
    if purpose == Purpose.BATCH:
        return _verdict(list(_capped(_faults(lines, _check_batch_line))), seen=1)
    checker = _FineTuneLines()
    faults = list(_capped(_faults(lines, checker.check)))
    return _verdict(faults, seen=checker.seen)


def _verdict(faults: list[tuple[int, str]], *, seen: int) -> Verdict:
    if not seen and not faults:
        return _failed(f"No valid json line found in file. {examples.FORMS}")
    if not faults:
        return GOOD
    shown = " ".join(f"Line {line}: {fault}" for line, fault in faults[:_FAULTS_SHOWN])
    if len(faults) == _FAULTS_SOUGHT:
        shown += f" More than {_FAULTS_SOUGHT - 1} lines are at fault; the rest was not read."
    elif (more := len(faults) - _FAULTS_SHOWN) > 0:
        shown += f" {more} more {'lines are' if more > 1 else 'line is'} at fault."
    return _failed(shown)


def _failed(details: str) -> Verdict:
    return Verdict(f"Validation of jsonl file failed: {details}", ErrorCode.JSONL_VALIDATION_FAILED)


def _capped(faults: Iterator[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    for _, fault in zip(range(_FAULTS_SOUGHT), faults, strict=False):
        yield fault


def _faults(
    lines: Iterable[bytes], check: Callable[[int, bytes], None]
) -> Iterator[tuple[int, str]]:
    """The number and the fault of each bad line, counted from 1 as people count."""
    number = 0
    try:
        for number, line in enumerate(lines, 1):
            if not line or line.isspace():
                continue
            try:
                check(number, line)
            except BadLine as fault:
                yield number, str(fault)
            except examples.BadExample as fault:
                yield number, str(fault)
    except LineTooLong as fault:
        yield number + 1, f"it is longer than {fault.limit} bytes."


def _check_batch_line(number: int, line: bytes) -> None:
    if number == 1 and line.startswith(BOM):
        raise BadLine("it starts with a byte order mark; save the file as UTF-8 without one.")
    _object(line)


class _FineTuneLines:
    """The lines of one training file, which are all examples of one form."""

    def __init__(self) -> None:
        self.seen = 0
        self._form: examples.Form | None = None

    def check(self, number: int, line: bytes) -> None:
        """Raise BadLine or BadExample unless the line is an example of the file's form."""
        text = line.removeprefix(BOM) if number == 1 else line
        if not text or text.isspace():
            return
        example = _object(text)
        form = examples.form_of(example)
        if self._form is None:
            self._form = form
        elif form is not self._form:
            raise BadLine(f"it is {form.words}, but the lines before are {self._form.words}.")
        form.check(example)
        self.seen += 1


def _object(line: bytes) -> dict[str, Any]:
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise BadLine(f"it is not valid JSON ({error}){_hint(line)}.") from None
    if not isinstance(value, dict):
        raise BadLine(f"it is not a JSON object{_hint(line)}.")
    return value


def _hint(line: bytes) -> str:
    """How the line starts, for whoever looks for it."""
    start = line[: 4 * _HINT_CHARACTERS].decode("utf-8", "replace").strip()[:_HINT_CHARACTERS]
    shown = "".join(c if c.isprintable() else "?" for c in start)
    return f'; it starts with: "{shown}"'
