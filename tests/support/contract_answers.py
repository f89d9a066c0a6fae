"""Holds every answer that any test is given against the contract, and remembers what was seen.

The test servers hand their answers to `ANSWERS.note`. A test that talks to a server of another
process lets `watch` do it for its client, which may be the one inside an official SDK:

    AzureOpenAI(..., http_client=watch(httpx.Client()))

`tests.support.contract_plugin` fails the test in whose time a faulty answer came, and at the end
of a whole run asks whether every value the service can answer was seen.
"""

import inspect
from collections.abc import Iterable
from typing import Any, TypeVar

from tests.contract.checker import (
    OPERATIONS,
    EnumValue,
    Verdict,
    check,
    check_refusal,
    operation_of,
)
from tests.contract.deviations import NEVER_ANSWERED, ONLY_OVER_POST
from tests.contract.schema import DEFINITIONS, reachable
from tests.support.recording import Answer

Client = TypeVar("Client")
_NOBODY_LISTENS = 499
"""What the server notes for a caller who has gone; it reaches nobody."""

Seen = tuple[str, str, str]
"""An enum (or `operation`), its value (or the operation's id), and the method it came over."""


class ContractAnswers:
    """The answers of a run: their faults, and the values they showed."""

    def __init__(self) -> None:
        self.seen: set[Seen] = set()
        self._faults: list[str] = []

    def note(self, answer: Answer) -> None:
        """Hold one answer against the contract; a fault is kept for `take_faults`."""
        if answer.method in {"HEAD", "OPTIONS"} or not answer.path.startswith("/openai/"):
            return
        if answer.status == _NOBODY_LISTENS:
            return
        operation = operation_of(answer.method, answer.path)
        body = bytes(answer.body)
        if operation:
            verdict = check(operation, answer.status, answer.headers, body)
        elif answer.status >= 400:
            verdict = check_refusal(answer.path, answer.headers, body)
        else:
            return
        self._faults += [
            f"{answer.method} {answer.path} → {answer.status}: {fault}" for fault in verdict.faults
        ]
        self._remember(operation.id if operation else "", answer, verdict)

    def take_faults(self) -> list[str]:
        """The faults since the last time this was asked."""
        taken, self._faults = self._faults, []
        return taken

    def unseen(self) -> list[str]:
        """Every value that the service can answer and no answer showed, in words."""
        over_get = {(name, value) for name, value, method in self.seen if method == "GET"}
        over_any = {(name, value) for name, value, _ in self.seen}
        return [
            *(
                f"{name} {value} over GET"
                for name, value in sorted(_readable_values())
                if (name, value) not in over_get
            ),
            *(
                f"{name} {value}"
                for name, value in sorted(_answerable_values() - _readable_values())
                if (name, value) not in over_any
            ),
            *(
                f"a success of {built}"
                for built in sorted(set(OPERATIONS) - _operations(self.seen))
            ),
        ]

    def _remember(self, operation: str, answer: Answer, verdict: Verdict) -> None:
        self.seen |= {(name, value, answer.method) for name, value in verdict.seen}
        if answer.status < 400 and not verdict.faults:
            self.seen.add(("operation", operation, answer.method))


ANSWERS = ContractAnswers()
"""The answers of this process's tests."""


def watch(client: Client) -> Client:
    """Let an httpx client, sync or async, note the answers that it gets; gives it back."""
    hooked: Any = client
    is_async = inspect.iscoroutinefunction(hooked.send)
    hooks = hooked.event_hooks
    hooks["response"] = [*hooks.get("response", ()), _note_async if is_async else _note]
    hooked.event_hooks = hooks
    return client


def _note(response: Any) -> None:
    if _is_small(response):
        ANSWERS.note(_answer(response, response.read()))


async def _note_async(response: Any) -> None:
    if _is_small(response):
        ANSWERS.note(_answer(response, await response.aread()))


def _is_small(response: Any) -> bool:
    """Whether the body is the service's own JSON, not a stream or a caller's content."""
    return bool(response.headers.get("content-type", "").startswith("application/json"))


def _answer(response: Any, body: bytes) -> Answer:
    request = response.request
    headers = {name.lower(): value for name, value in response.headers.items()}
    return Answer(
        request.method, request.url.path, response.status_code, headers, bytearray(body), True
    )


def _operations(seen: Iterable[Seen]) -> set[str]:
    return {value for name, value, _ in seen if name == "operation"}


def _values_in_answers(operations: Iterable[str], *, successes_only: bool) -> set[EnumValue]:
    schemas = [
        answer.get("schema", {})
        for each in operations
        for status, answer in OPERATIONS[each].declaration["responses"].items()
        if status != "default" or not successes_only
    ]
    roots = {schema["$ref"].rpartition("/")[2] for schema in schemas if "$ref" in schema}
    enums = {name for root in roots for name in reachable(root) if "enum" in DEFINITIONS[name]}
    return {(name, value) for name in enums for value in DEFINITIONS[name]["enum"]}


def _answerable_values() -> set[EnumValue]:
    return _values_in_answers(OPERATIONS, successes_only=False) - set(NEVER_ANSWERED)


def _readable_values() -> set[EnumValue]:
    """Those that a read can show; an error may come over any method."""
    reads = [each for each in OPERATIONS if OPERATIONS[each].method == "GET"]
    readable = _values_in_answers(reads, successes_only=True)
    return readable - set(NEVER_ANSWERED) - set(ONLY_OVER_POST)
