"""Answers with the `context` that they were given from, in the form of On Your Data.

What an engine answers gets it on its way out; where nothing was found an answer is made here.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import orjson

from linarite import ids
from linarite.engines.client import Reply, StreamReply
from linarite.resources.inference.filtered import event_of

NOT_AVAILABLE = (
    "The requested information is not available in the retrieved data. Please try another query "
    "or topic."
)
_OBJECTS = {
    "chat.completion": "extensions.chat.completion",
    "chat.completion.chunk": "extensions.chat.completion.chunk",
}
_DATA = b"data:"
_NO_USAGE = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}

Context = Mapping[str, Any]


def cited_answer(reply: Reply, context: Context) -> Reply:
    """A whole answer with its context in every message."""
    answer = orjson.loads(reply.body)
    answer["object"] = _OBJECTS.get(answer.get("object"), answer.get("object"))
    for choice in answer.get("choices") or ():
        message = choice.get("message") or {}
        choice["message"] = {**message, "end_turn": True, "context": context}
    headers = {name: value for name, value in reply.headers.items() if name != "content-length"}
    return Reply(reply.status, headers, orjson.dumps(answer))


async def cited_events(chunks: AsyncIterator[bytes], context: Context) -> AsyncIterator[bytes]:
    """Server-sent events, the first of each answer with the context."""
    begun: set[int] = set()
    rest = b""
    async for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        if lines:
            yield b"".join(_cited_line(line, context, begun) + b"\n" for line in lines)
    if rest:
        yield _cited_line(rest, context, begun)


def _cited_line(line: bytes, context: Context, begun: set[int]) -> bytes:
    data = line[len(_DATA) :].strip() if line.startswith(_DATA) else b""
    if not data.startswith(b"{"):
        return line
    try:
        event = orjson.loads(data)
    except orjson.JSONDecodeError:  # cut short
        return line
    if not event.get("choices"):  # an error, the usage, or what was found of the prompt
        return line
    event["object"] = _OBJECTS.get(event.get("object"), event.get("object"))
    event["choices"] = [_cited_choice(choice, context, begun) for choice in event["choices"]]
    return _DATA + b" " + orjson.dumps(event)


def _cited_choice(choice: Mapping[str, Any], context: Context, begun: set[int]) -> dict[str, Any]:
    delta = dict(choice.get("delta") or {})
    index = choice.get("index", 0)
    if index not in begun:
        begun.add(index)
        delta = {"role": "assistant", "context": context, **delta}
    is_end = choice.get("finish_reason") is not None
    return {**choice, "delta": delta, "end_turn": is_end}


class Unasked:
    """Answers in an engine's place where the index knows nothing of the question.

    Args:
        model: id of the model that would have been asked.
        created: in Unix seconds.
        asked: the chat.
    """

    def __init__(self, model: str, created: int, asked: Mapping[str, Any]) -> None:
        self._model, self._created = model, created
        self._count = asked.get("n") or 1
        options = asked.get("stream_options") or {}
        self._shows_usage = bool(options.get("include_usage") or asked.get("store"))

    async def post(self, path: str, body: bytes) -> Reply:
        """The whole answer."""
        message = {"role": "assistant", "content": NOT_AVAILABLE, "refusal": None}
        choices = [
            {"index": index, "message": message, "logprobs": None, "finish_reason": "stop"}
            for index in range(self._count)
        ]
        said = {**self._head("chat.completion"), "choices": choices, "usage": _NO_USAGE}
        return Reply(200, {}, orjson.dumps(said))

    @asynccontextmanager
    async def stream(self, path: str, body: bytes) -> AsyncIterator[StreamReply]:
        """The answer as a stream."""
        yield StreamReply(200, {}, self._events())

    async def _events(self) -> AsyncIterator[bytes]:
        head = self._head("chat.completion.chunk")
        for index in range(self._count):
            opening = {"role": "assistant", "content": NOT_AVAILABLE, "refusal": None}
            for delta, reason in ((opening, None), ({}, "stop")):
                said = {"index": index, "delta": delta, "logprobs": None, "finish_reason": reason}
                yield event_of({**head, "choices": [said]})
        if self._shows_usage:
            yield event_of({**head, "choices": [], "usage": _NO_USAGE})
        yield b"data: [DONE]\n\n"

    def _head(self, kind: str) -> dict[str, Any]:
        return {
            "id": ids.completion_id(),
            "object": kind,
            "created": self._created,
            "model": self._model,
            "system_fingerprint": None,
        }
