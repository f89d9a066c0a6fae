"""Whether a batch's input can be run: read once from end to end, every fault with its line.

Holds 16 bytes a request and nothing of its text, so that memory does not grow with the file. What
is wrong with a request's body is not looked at here: that is its engine's answer, in the error
file, and no reason for the others not to run.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from linarite.resources.batches.lines import (
    BOM,
    BadLine,
    BatchRequest,
    InputLine,
    bare_path,
    input_lines,
    mark_of,
    read_request,
)
from linarite.resources.deployments.records import Target
from linarite.wire.batches import BatchErrorData

ENDPOINTS = ("/chat/completions", "/completions", "/embeddings")
"""What a batch can ask, as it is echoed."""
COMPLETION_WINDOW = "24h"
MOST_FAULTS = 100
"""How many faults of one input are told."""

EMPTY = "The input file is empty. Please ensure that the batch contains at least one   request."
NO_MODEL = (
    "Validation failed: A valid model deployment name couldn't be extracted from the input file. "
    "Please ensure that each row in the input file has a valid deployment name specified in the "
    "'model' field, and that the deployment name is consistent across all rows."
)
_LINES_BETWEEN_CHECKS = 500
_SHOWN = 100

TokenCount = Callable[[dict[str, Any]], int]
"""How many tokens a request's body can cost at most: its prompt and the longest answer."""


@dataclass(frozen=True)
class Rules:
    """What an input is held against.

    Args:
        endpoint: of the batch, without prefixes.
        most_requests: how many requests an input may hold.
        longest_line: bytes of the longest line.
        resolve: the deployment that a name means to the batch's owner, if any.
        token_count: counts for a deployment; asked once.
        check: called every few hundred lines; may raise to end the work.
    """

    endpoint: str
    most_requests: int
    longest_line: int
    resolve: Callable[[str], Target | None]
    token_count: Callable[[Target], TokenCount]
    check: Callable[[], None] = lambda: None


@dataclass
class Verdict:
    """What was found: faults, or what the batch will be."""

    faults: list[BatchErrorData] = field(default_factory=list)
    requests: int = 0
    tokens: int = 0
    target: Target | None = None


class Seen:
    """Passes bytes on and remembers their number and digest."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = pieces
        self._sha256 = hashlib.sha256()
        self.bytes = 0

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._pieces:
            self._sha256.update(piece)
            self.bytes += len(piece)
            yield piece

    @property
    def sha256(self) -> str:
        """Of all that passed, in hex."""
        return self._sha256.hexdigest()


def validate(pieces: Iterable[bytes], rules: Rules) -> Verdict:
    """Hold an input against its rules; stops at `MOST_FAULTS` faults."""
    reading = _Reading(rules)
    for line in input_lines(pieces, rules.longest_line):
        if line.number % _LINES_BETWEEN_CHECKS == 0:
            rules.check()
        if not reading.take(line) or len(reading.verdict.faults) >= MOST_FAULTS:
            return reading.verdict
    if not reading.verdict.requests:
        reading.verdict.faults.append(BatchErrorData(code="empty_file", message=EMPTY))
    return reading.verdict


class _Reading:
    """What was seen of an input so far."""

    def __init__(self, rules: Rules) -> None:
        self.verdict = Verdict()
        self._rules = rules
        self._model: str | None = None
        self._tokens_of: TokenCount | None = None
        self._marks: set[bytes] = set()

    def take(self, line: InputLine) -> bool:
        """Look at one more line; False when no other need be looked at."""
        if line.number == 0 and line.text is not None and line.text.startswith(BOM):
            self._fault("model_not_found", NO_MODEL, line, "body.model")
            return False
        if line.number == self._rules.most_requests:
            self._fault(
                "too_many_tasks",
                f"The input file has more than {self._rules.most_requests:,} requests, which is "
                "the limit for one batch.",
                None,
            )
            return False
        self.verdict.requests += 1
        try:
            request = read_request(line, self._rules.longest_line)
        except BadLine as bad:
            self.verdict.faults.append(bad.fault)
            return True
        self._check_id(request, line)
        self._check_url(request, line)
        self._check_model(request, line)
        if self._tokens_of is not None and not self.verdict.faults:
            self.verdict.tokens += self._tokens_of(request.body)
        return True

    def _check_id(self, request: BatchRequest, line: InputLine) -> None:
        mark, shown = mark_of(request.custom_id), _short(request.custom_id)
        if mark in self._marks:
            self._fault(
                "duplicate_custom_id",
                f"The custom_id '{shown}' for this request is a duplicate of another "
                "request. The custom_id parameter must be unique for each request in a batch.",
                line,
                "custom_id",
            )
        self._marks.add(mark)

    def _check_url(self, request: BatchRequest, line: InputLine) -> None:
        if bare_path(request.url) != self._rules.endpoint:
            self._fault(
                "url_mismatch",
                f"The URL '{_short(request.url)}' of this request does not match the batch's "
                f"endpoint '{self._rules.endpoint}'.",
                line,
                "url",
            )

    def _check_model(self, request: BatchRequest, line: InputLine) -> None:
        model = request.body.get("model")
        if not isinstance(model, str) or not model:
            self._fault("model_not_found", NO_MODEL, line, "body.model")
        elif self._model is None:
            self._model = model
            self._find(model, line)
        elif model != self._model:
            self._fault(
                "model_mismatch",
                f"The model '{_short(model)}' for this request does not match the rest of the "
                "batch. Each batch must contain requests for a single model.",
                line,
                "body.model",
            )

    def _find(self, model: str, line: InputLine) -> None:
        target = self._rules.resolve(model)
        if target is None:
            self._fault("model_not_found", NO_MODEL, line, "body.model")
            return
        wants_embeddings = self._rules.endpoint == "/embeddings"
        if wants_embeddings != (target.model.kind == "embedding"):
            self._fault(
                "invalid_request",
                f"The deployment '{model}' does not answer {self._rules.endpoint}; its model is "
                f"of kind '{target.model.kind}'.",
                line,
                "body.model",
            )
            return
        self.verdict.target = target
        self._tokens_of = self._rules.token_count(target)

    def _fault(
        self, code: str, message: str, line: InputLine | None, param: str | None = None
    ) -> None:
        number = line.line if line is not None else None
        self.verdict.faults.append(
            BatchErrorData(code=code, message=message, param=param, line=number)
        )


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"


def window_fault(completion_window: str) -> BatchErrorData:
    """The fault of a completion window that is not offered."""
    return BatchErrorData(
        code="invalid_request",
        message=f"The completion window '{_short(completion_window)}' is not supported; "
        f"the only one is '{COMPLETION_WINDOW}'.",
        param="completion_window",
    )


def modified_fault() -> BatchErrorData:
    """The fault of an input that is not what was uploaded."""
    return BatchErrorData(
        code="input_modified",
        message="The input file was modified after the batch was submitted.",
        param="input_file_id",
    )


def unreadable_fault() -> BatchErrorData:
    """The fault of an input that cannot be read."""
    return BatchErrorData(
        code="input_no_permissions",
        message="The input file cannot be read any more.",
        param="input_file_id",
    )


def token_limit_fault(limit: int, deployment: str) -> BatchErrorData:
    """The fault of a batch that goes over its deployment's limit, in the service's words."""
    return BatchErrorData(
        code="token_limit_exceeded",
        message=f"The number of enqueued tokens has surpassed the configured limit of "
        f"{short_number(limit)} for the deployment '{deployment}'. Please either increase the "
        "limit or try again once the current jobs have finished.",
    )


def short_number(number: int) -> str:
    """``30K``, ``5M``, ``200M``: as the service writes limits; other numbers in full."""
    for letter, size in (("B", 10**9), ("M", 10**6), ("K", 10**3)):
        if number >= size and number % size == 0:
            return f"{number // size}{letter}"
    return str(number)
