"""Stored completions as examples to learn from: a chat, or a preference between two answers.

Every line that is made here is one that the validation of files and the training take; what cannot
be one is told by `LeftOut`. Knows no row and no file.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import orjson

from linarite.resources.files.service import BadExample, form_of
from linarite.resources.stored_completions.records import StoredRecord
from linarite.training import data

Message = dict[str, Any]

_WHOLE = frozenset({"stop", "tool_calls", "function_call"})
"""How an answer ends that nothing cut."""
_SAID = ("text", "refusal")
"""Types of parts that are text."""


class Reason(StrEnum):
    """Why a stored completion, or a pair of them, becomes no example."""

    LENGTH = "length"  # the answer was cut at the limit of tokens
    CONTENT_FILTER = "content_filter"  # ... or by a content filter
    FINISH_REASON = "finish_reason"  # ... or by something else
    REFUSAL = "refusal"
    NO_CONTENT = "no_content"  # neither text nor a tool call
    NOT_TEXT = "not_text"  # a message has a part that is no text
    INVALID = "invalid"  # in another way no example
    NO_KEY = "no_key"  # its metadata lacks the key that joins
    REPEATED = "repeated"  # there is a newer one with the same key or input
    UNPAIRED = "unpaired"  # the other side has none with its key or input
    DIFFERENT_INPUT = "different_input"  # two of one key were asked different things
    SAME_ANSWER = "same_answer"  # two say the same, so that neither is the better one
    DELETED = "deleted"  # while the export ran


class LeftOut(Exception):
    """A completion, or a pair, that becomes no example."""

    def __init__(self, reason: Reason, detail: str = "") -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True)
class Exchange:
    """What a model was asked, and what it answered; without nulls.

    Args:
        messages: the input.
        tools: what the model was offered.
        answer: its first choice, an assistant's message.
        choices: how many there were.
    """

    messages: Sequence[Message]
    tools: Sequence[Mapping[str, Any]]
    answer: Message
    choices: int

    @property
    def asked(self) -> dict[str, Any]:
        """The messages and the tools, as an example has them."""
        tools = {"tools": self.tools} if self.tools else {}
        return {"messages": self.messages, **tools}

    def input_digest(self) -> bytes:
        """The same for the same input; raises LeftOut."""
        return digest(_json(self.asked, orjson.OPT_SORT_KEYS))


def digest(key: bytes) -> bytes:
    """16 bytes in place of any number."""
    return hashlib.blake2b(key, digest_size=16).digest()


def exchange_of(record: StoredRecord, messages: bytes) -> Exchange:
    """A completion's input and its first choice.

    Raises:
        LeftOut: that choice is no whole answer, or the input is not text alone.
    """
    stored = record.fields()
    first = min(stored["choices"], key=lambda choice: int(choice["index"]), default=None)
    if first is None:
        raise LeftOut(Reason.NO_CONTENT)
    asked = [_without_nulls(message) for message in orjson.loads(messages)]
    if not all(map(_is_text, asked)):
        raise LeftOut(Reason.NOT_TEXT)
    return Exchange(
        asked,
        [_tool(tool) for tool in stored.get("tools") or ()],
        _answer(first),
        len(stored["choices"]),
    )


def supervised(exchange: Exchange) -> bytes:
    """The line that teaches to answer so; raises LeftOut.

    What assistants said before is not learned: it may be anybody's, and where it is this model's it
    was stored as an answer of its own.
    """
    before = [_not_learned(message) for message in exchange.messages]
    example = {**exchange.asked, "messages": [*before, exchange.answer]}
    return _line(example, data.supervised)


def preference(preferred: Exchange, other: Exchange) -> bytes:
    """The line that teaches to prefer one answer to the other; raises LeftOut."""
    if preferred.asked != other.asked:
        raise LeftOut(Reason.DIFFERENT_INPUT)
    if _said(preferred.answer) == _said(other.answer):
        raise LeftOut(Reason.SAME_ANSWER)
    example = {
        "input": preferred.asked,
        "preferred_output": [preferred.answer],
        "non_preferred_output": [other.answer],
    }
    return _line(example, data.preference)


def _line(example: Message, learn_from: Callable[[Message], object]) -> bytes:
    """`example` as a line of a file, when both who judge such a line take it."""
    try:
        form_of(example).check(example)
        learn_from(example)
    except (BadExample, data.BadLine) as fault:
        raise LeftOut(Reason.INVALID, str(fault)) from None
    except RecursionError:  # a call's arguments may be of any depth
        raise LeftOut(Reason.INVALID, "it is nested too deeply.") from None
    # in the order of keys in which the model saw its tools
    return _json(example) + b"\n"


def _json(value: Mapping[str, Any], option: int = 0) -> bytes:
    try:
        return orjson.dumps(value, option=option)
    except orjson.JSONEncodeError as fault:  # a schema may be of nearly any depth
        raise LeftOut(Reason.INVALID, f"it cannot be written: {fault}.") from None


def _answer(choice: Mapping[str, Any]) -> Message:
    said = _without_nulls(choice["message"])
    ended = choice["finish_reason"]
    if ended not in _WHOLE:
        cut = {Reason.LENGTH, Reason.CONTENT_FILTER}
        raise LeftOut(Reason(ended) if ended in cut else Reason.FINISH_REASON)
    if said.get("refusal"):
        raise LeftOut(Reason.REFUSAL)
    if not said.get("content", "").strip() and not said.get("tool_calls"):
        raise LeftOut(Reason.NO_CONTENT)
    kept = {key: said[key] for key in ("content", "tool_calls") if said.get(key)}
    return {"role": "assistant", **kept}


def _tool(given: Mapping[str, Any]) -> dict[str, Any]:
    return {**given, "function": _without_nulls(given["function"])}


def _without_nulls(given: Mapping[str, Any]) -> dict[str, Any]:
    """`given` without its nulls, which say nothing and which a file may not have everywhere."""
    return {key: value for key, value in given.items() if value is not None}


def _is_text(message: Message) -> bool:
    content = message.get("content")
    return not isinstance(content, list) or all(part.get("type") in _SAID for part in content)


def _not_learned(message: Message) -> Message:
    return {**message, "weight": 0} if message["role"] == "assistant" else message


def _said(answer: Message) -> tuple[Any, list[Any]]:
    """What an answer says, whatever ids its calls have."""
    return answer.get("content"), [call["function"] for call in answer.get("tool_calls", ())]
