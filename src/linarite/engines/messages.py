"""What a chat says to its model: its messages and its tools, as templates take them.

Whoever answers a chat and whoever counts its tokens read it here, so that what is counted is what
the model is shown.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from linarite.errors import InferenceRefused

_ROLES = {"developer": "system", "function": "tool"}
"""What a role is called in templates, where it is not by its own name."""
_KNOWN_ROLES = {"system", "developer", "user", "assistant", "tool", "function"}


def offered_tools(body: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """The tools that the model is told of, in OpenAI's form; the older `functions` are tools, too.

    Args:
        body: a chat whose tools are well made.
    """
    functions = body.get("functions")
    if body.get("function_call" if functions else "tool_choice") == "none":
        return ()
    if functions:
        return [{"type": "function", "function": one} for one in functions]
    return body.get("tools") or ()


def read_message(item: Any, at: int) -> dict[str, Any]:
    """A message as templates take it: text for its content, objects for the arguments of calls.

    Args:
        item: as it came; its calls are well made.
        at: which message of its chat it is.

    Raises:
        InferenceRefused: it is no message of text.
    """
    where = f"messages[{at}]"
    if not isinstance(item, dict):
        raise _refusal(f"'{where}' must be an object with 'role' and 'content'.", where)
    if item.get("content") is None and isinstance(item.get("refusal"), str):
        item = {**item, "content": item["refusal"]}
    role = item.get("role")
    if role not in _KNOWN_ROLES:
        known = ", ".join(sorted(_KNOWN_ROLES))
        raise _refusal(f"'{where}.role' is {role!r}; this engine takes {known}.", f"{where}.role")
    content = _content(item.get("content"), f"{where}.content", may_be_empty=role == "assistant")
    message: dict[str, Any] = {"role": _ROLES.get(role, role), "content": content}
    legacy = item.get("function_call")
    if calls := item.get("tool_calls") or ([{"function": legacy}] if legacy else []):
        message["tool_calls"] = [_call(call) for call in calls]
    return message | _names(item, where)


def _call(call: Mapping[str, Any]) -> dict[str, Any]:
    """A call as templates take it, with an object for its arguments; what is no JSON stays text."""
    function = call["function"]
    try:
        arguments = orjson.loads(function["arguments"] or "{}")
    except orjson.JSONDecodeError:
        arguments = function["arguments"]
    plain = {"type": "function", "function": {"name": function["name"], "arguments": arguments}}
    return plain | ({"id": call["id"]} if "id" in call else {})


def _names(item: Mapping[str, Any], where: str) -> dict[str, str]:
    """Who speaks in a message, and which call it answers, as `templates` takes it."""
    named = {}
    for key in ("name", "tool_call_id"):
        if (name := item.get(key)) is None:
            continue
        if not isinstance(name, str):
            raise _refusal(f"'{where}.{key}' must be a string.", f"{where}.{key}")
        named[key] = name
    return named


def _content(content: Any, where: str, *, may_be_empty: bool) -> str:
    if isinstance(content, str):
        return content
    if content is None and may_be_empty:
        return ""
    if not isinstance(content, list):
        raise _refusal(f"'{where}' must be a string or a list of text parts.", where)
    texts = []
    for at, part in enumerate(content):
        kind = part.get("type") if isinstance(part, dict) else None
        if kind not in ("text", "refusal") or not isinstance(part.get(kind), str):
            raise _refusal(
                f"'{where}[{at}]' is of the type {kind!r}; this engine only reads text.",
                f"{where}[{at}].type",
            )
        texts.append(part[kind])
    return "".join(texts)


def _refusal(message: str, param: str) -> InferenceRefused:
    return InferenceRefused(message, param=param)
