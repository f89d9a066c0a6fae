"""How tools, calls of them, their answers and speakers' names are written down for a model.

A chat template that knows these writes them itself; for another one they are put in words. What a
model learns in training and what an engine shows it are the same text: both take it from here.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

Message = dict[str, Any]

_SPEAKERS = ("system", "user", "assistant")
_NAME = "Zebulon42"
"""Of a speaker whom no template mentions by itself."""
_TOLD = """You may call these functions:
<tools>
{tools}
</tools>
To call one, write <tool_call>{{"name": ..., "arguments": {{...}}}}</tool_call>."""


@dataclass(frozen=True)
class CallForm:
    """How a model writes a call: `opening`, the name, `middle`, the arguments, `closing`."""

    trigger: str
    """What begins a call and nothing else."""
    opening: str
    middle: str
    closing: str
    separator: str | None
    """What stands between two calls; None where a model calls one tool at a time."""


WORDS = CallForm(
    trigger="<tool_call>",
    opening='<tool_call>{"name": "',
    middle='", "arguments": ',
    closing="}</tool_call>",
    separator="\n",
)
"""Of templates that know no tools."""
HERMES = CallForm(
    trigger="<tool_call>",
    opening='<tool_call>\n{"name": "',
    middle='", "arguments": ',
    closing="}\n</tool_call>",
    separator="\n",
)
"""Of Hermes, Qwen2.5, Qwen3 and their kin."""
LLAMA3 = CallForm(
    trigger='{"name": "',
    opening='{"name": "',
    middle='", "parameters": ',
    closing="}",
    separator=None,
)
"""Of Llama 3.1 and later."""


def form_of(template: str) -> CallForm:
    """The form in which a chat template writes calls.

    A template that knows tools in a form of none of these is treated as one that knows none.
    """
    if "tools" not in template:
        return WORDS
    if "<tool_call>" in template:
        return WORDS if "<function=" in template else HERMES
    return LLAMA3 if '"parameters": ' in template else WORDS


def writes_names(render: Callable[[list[Message]], str]) -> bool:
    """Whether a template writes down who speaks.

    Args:
        render: writes a chat down by the template; what it raises is raised here.
    """
    return _NAME in render([{"role": "user", "name": _NAME, "content": "hello"}])


def with_names(messages: Sequence[Message]) -> list[Message]:
    """A chat for a template that does not write names: they stand before what is said."""
    return [_with_name(message) for message in messages]


def _with_name(message: Message) -> Message:
    name, content = message.get("name"), message["content"]
    if not name or not content or message["role"] not in _SPEAKERS:
        return message
    return {**message, "content": f"{name}: {content}"}


def in_words(messages: Sequence[Message], tools: Sequence[Mapping[str, Any]]) -> list[Message]:
    """A chat for a template that knows no tools.

    Tools are told in the system message, which is put first where there is none. Answers of tools
    are the user's words; those that follow one another are one turn, for many templates want the
    turns to alternate.

    Args:
        messages: with their content as text and the arguments of calls as objects.
        tools: in OpenAI's form.
    """
    written: list[Message] = []
    for are_answers, turns in groupby(messages, lambda message: message["role"] == "tool"):
        if are_answers:
            said = [f"<tool_response>{turn['content']}</tool_response>" for turn in turns]
            written.append({"role": "user", "content": "\n".join(said)})
        else:
            written += [_in_words(turn) for turn in turns]
    if not tools:
        return written
    told = _TOLD.format(tools="\n".join(json.dumps(one, ensure_ascii=False) for one in tools))
    if written[0]["role"] == "system":
        written[0]["content"] += f"\n\n{told}"
        return written
    return [{"role": "system", "content": told}, *written]


def _in_words(message: Message) -> Message:
    role, content = message["role"], message["content"]
    calls = [
        f"<tool_call>{json.dumps(call['function'], ensure_ascii=False)}</tool_call>"
        for call in message.get("tool_calls") or ()
    ]
    said = "\n".join([*([content] if content else []), *calls])
    return {"role": role, "content": said} | (
        {"name": message["name"]} if "name" in message else {}
    )
