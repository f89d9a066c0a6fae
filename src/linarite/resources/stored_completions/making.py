"""A chat's request and answer, made into what is stored; a stream's events, into such an answer.

Knows no engine: answers are what callers get. What an answer lacks or has in no form of OpenAI's
cannot be stored, and is told by `NotStorable`.
"""

import random
from collections.abc import Iterable, Mapping
from typing import Any

import orjson
from pydantic import ValidationError

from linarite.resources.stored_completions.messages import FUNCTION, tool_calls
from linarite.resources.stored_completions.records import NewCompletion
from linarite.wire.shapes import INT64_MAX
from linarite.wire.stored_completions import (
    Choice,
    ChoiceMessage,
    FunctionCallFunction,
    FunctionDefinition,
    Logprob,
    StoredCompletion,
    Tool,
    ToolCall,
    Usage,
)

_NUMBERS = ("top_p", "temperature", "presence_penalty", "frequency_penalty")


class NotStorable(Exception):
    """An answer that is none in OpenAI's form."""


def completion_of(
    asked: Mapping[str, Any],
    answer: "Mapping[str, Any] | StreamedAnswer",
    *,
    model: str,
    deployment: str,
    request_id: str,
    default_seed: int | None = None,
) -> NewCompletion:
    """What is to be stored of a chat.

    Args:
        asked: the request, which was found valid.
        answer: the whole answer, or the one that a stream came to.
        model: id of the model that answered.
        deployment: the name that was asked.
        request_id: of the HTTP request.
        default_seed: by which it was sampled where the request names none; None: nobody knows.

    Raises:
        NotStorable: the answer lacks what a stored completion must have.
    """
    try:
        whole = answer.whole() if isinstance(answer, StreamedAnswer) else answer
        seed = default_seed if asked.get("seed") is None else asked["seed"]
        made = _stored(asked, whole, model, request_id, seed)
        # unset: numbers that nobody gave
        completion = made.model_dump(mode="json", exclude={"metadata"}, exclude_unset=True)
        as_json = orjson.dumps(completion), orjson.dumps(asked["messages"])
    except (ValidationError, KeyError, TypeError, AttributeError) as error:
        raise NotStorable(str(error)) from error
    return NewCompletion(made.id, model, deployment, made.created, made.metadata, *as_json)


def _stored(
    asked: Mapping[str, Any],
    answer: Mapping[str, Any],
    model: str,
    request_id: str,
    seed: int | None,
) -> StoredCompletion:
    choice = _tool_choice(asked)
    return StoredCompletion(
        id=answer["id"],
        model=model,
        created=answer["created"],
        request_id=request_id,
        tool_choice=orjson.dumps(choice).decode() if isinstance(choice, dict) else choice,
        usage=_usage(answer.get("usage")),
        # as the service does: a number of the record, by which nobody has sampled
        seed=random.randint(-INT64_MAX - 1, INT64_MAX) if seed is None else seed,
        system_fingerprint=answer.get("system_fingerprint"),
        input_user=asked.get("user"),
        service_tier=answer.get("service_tier") or asked.get("service_tier"),
        metadata=asked.get("metadata") or {},
        tools=[_tool(function) for function in _functions(asked)] or None,
        choices=[_choice(choice, answer["id"]) for choice in answer["choices"]],
        **{name: asked[name] for name in _NUMBERS if asked.get(name) is not None},
    )


def _usage(said: Mapping[str, Any] | None) -> Usage | None:
    if said is None:
        return None
    asked, answered = said["prompt_tokens"], said.get("completion_tokens") or 0
    total = said.get("total_tokens")
    return Usage(
        total_tokens=asked + answered if total is None else total,
        completion_tokens=answered,
        prompt_tokens=asked,
    )


def _functions(asked: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
    """What the model was offered, whether as tools or in the older way as functions."""
    if asked.get("tools"):
        return (tool["function"] for tool in asked["tools"])
    return asked.get("functions") or ()


def _tool_choice(asked: Mapping[str, Any]) -> Any:
    """The choice among tools, in whose words one among functions is told too."""
    older = asked.get("function_call")
    if isinstance(older, dict):
        return {"type": FUNCTION, "function": older}
    return older or asked.get("tool_choice")


def _tool(function: Mapping[str, Any]) -> Tool:
    return Tool(
        type=FUNCTION,
        function=FunctionDefinition(
            name=function["name"],
            description=function.get("description"),
            parameters=function.get("parameters"),
            strict=function.get("strict"),
        ),
    )


def _choice(said: Mapping[str, Any], answer_id: str) -> Choice:
    message = said["message"]
    calls = [_tool_call(call) for call in tool_calls(message, answer_id) or ()]
    return Choice(
        index=said["index"],
        message=ChoiceMessage(
            role=message["role"],
            content=message.get("content"),
            tool_calls=calls or None,
            refusal=message.get("refusal"),
        ),
        finish_reason=said["finish_reason"],
        logprobs=_logprobs(said.get("logprobs")),
    )


def _tool_call(said: Mapping[str, Any]) -> ToolCall:
    if said["type"] != FUNCTION:
        raise NotStorable(f"a call is of the type {said['type']!r}")
    function = said["function"]
    called = FunctionCallFunction(name=function["name"], arguments=function["arguments"])
    return ToolCall(id=said["id"], type=FUNCTION, function=called)


def _logprobs(said: Mapping[str, Any] | None) -> dict[str, list[Logprob] | None] | None:
    if said is None:
        return None
    return {part: _tokens(said.get(part)) for part in ("content", "refusal")}


def _tokens(said: list[Mapping[str, Any]] | None) -> list[Logprob] | None:
    if said is None:
        return None
    return [
        Logprob(
            token=one["token"],
            logprob=one["logprob"],
            bytes=one.get("bytes"),
            top_logprobs=one.get("top_logprobs") or [],
        )
        for one in said
    ]


class StreamedAnswer:
    """The whole answer that a stream's events come to."""

    def __init__(self) -> None:
        self._head: dict[str, Any] = {}
        self._choices: dict[int, dict[str, Any]] = {}

    @property
    def finished(self) -> int:
        """How many choices have come to their end."""
        return sum("finish_reason" in choice for choice in self._choices.values())

    def add(self, event: Mapping[str, Any]) -> None:
        """Take one event."""
        for name in ("id", "created", "system_fingerprint", "service_tier", "usage"):
            if event.get(name) is not None:
                self._head[name] = event[name]
        for said in event.get("choices") or ():
            self._add_choice(said)

    def whole(self) -> dict[str, Any]:
        """The answer as it would have come whole."""
        choices = [self._whole_choice(index) for index in sorted(self._choices)]
        return {**self._head, "choices": choices}

    def _add_choice(self, said: Mapping[str, Any]) -> None:
        index = said["index"]
        choice = self._choices.setdefault(
            index,
            {
                "role": "assistant",
                "content": [],
                "refusal": [],
                "calls": {},
                "older_calls": {},
                "logprobs": {},
            },
        )
        delta = said.get("delta") or {}
        choice["role"] = delta.get("role") or choice["role"]
        for name in ("content", "refusal"):
            if delta.get(name) is not None:
                choice[name].append(delta[name])
            tokens = (said.get("logprobs") or {}).get(name)
            if tokens is not None:
                choice["logprobs"].setdefault(name, []).extend(tokens)
        for call in delta.get("tool_calls") or ():
            _add_call(choice["calls"], call)
        if older := delta.get("function_call"):
            _add_call(choice["older_calls"], {"index": 0, FUNCTION: older})
        if said.get("finish_reason") is not None:
            choice["finish_reason"] = said["finish_reason"]

    def _whole_choice(self, index: int) -> dict[str, Any]:
        choice = self._choices[index]
        calls = [_whole_call(call) for _, call in sorted(choice["calls"].items())]
        older = choice["older_calls"].get(0)
        text, refusal = "".join(choice["content"]), "".join(choice["refusal"])
        message = {
            "role": choice["role"],
            "content": text or (None if calls or older or refusal else ""),
            "refusal": refusal or None,
            "tool_calls": calls or None,
            "function_call": older and _whole_call(older)[FUNCTION],
        }
        return {
            "index": index,
            "message": message,
            "logprobs": choice["logprobs"] or None,
            "finish_reason": choice.get("finish_reason"),
        }


def _add_call(calls: dict[int, dict[str, Any]], said: Mapping[str, Any]) -> None:
    new: dict[str, Any] = {"id": None, "type": FUNCTION, "name": None, "arguments": []}
    # where a server numbers none, each piece is a whole call
    index = len(calls) if said.get("index") is None else said["index"]
    call = calls.setdefault(index, new)
    for name in ("id", "type"):
        if said.get(name):
            call[name] = said[name]
    function = said.get("function") or {}
    if function.get("name"):
        call["name"] = function["name"]
    if function.get("arguments"):
        call["arguments"].append(function["arguments"])


def _whole_call(call: Mapping[str, Any]) -> dict[str, Any]:
    function = {"name": call["name"], "arguments": "".join(call["arguments"])}
    return {"id": call["id"], "type": call["type"], "function": function}
