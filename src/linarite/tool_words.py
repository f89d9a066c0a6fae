"""How tools, calls of them and what they answered are written down for a model.

A chat template that knows tools writes them itself; for another one they are put in words. What a
model learns in training and what an engine shows it are the same text: both take it from here.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Message = dict[str, Any]

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


def in_words(
    messages: Sequence[Message], tools: Sequence[Mapping[str, Any]]
) -> tuple[list[Message], bool]:
    """A chat for a template that knows no tools.

    Args:
        messages: with their content as text and the arguments of calls as objects.
        tools: in OpenAI's form.

    Returns:
        The messages, and whether a system message that was not there precedes them.
    """
    written = [_in_words(message) for message in messages]
    if not tools:
        return written, False
    told = _TOLD.format(tools="\n".join(json.dumps(one, ensure_ascii=False) for one in tools))
    if written[0]["role"] == "system":
        written[0]["content"] += f"\n\n{told}"
        return written, False
    return [{"role": "system", "content": told}, *written], True


def _in_words(message: Message) -> Message:
    role, content = message["role"], message["content"]
    if role == "tool":
        return {"role": "user", "content": f"<tool_response>{content}</tool_response>"}
    calls = [
        f"<tool_call>{json.dumps(call['function'], ensure_ascii=False)}</tool_call>"
        for call in message.get("tool_calls", ())
    ]
    said = "\n".join([*([content] if content else []), *calls])
    return {"role": role, "content": said} | (
        {"name": message["name"]} if "name" in message else {}
    )
