"""A request's messages as they are answered when somebody asks for them."""

from collections.abc import Mapping, Sequence
from typing import Any

from linarite.wire.stored_completions import InputMessage

FUNCTION = "function"
"""The one type of tools and calls that the contract knows."""
_SAID = ("text", "refusal")
"""Types of parts that are text, each under the type's name."""


def input_message(message_id: str, given: Mapping[str, Any]) -> InputMessage:
    """The message `given`; the contract's content is a string, so parts stand beside it."""
    content, call = given.get("content"), given.get("tool_call_id")
    parts = content if isinstance(content, list) else None
    return InputMessage(
        id=message_id,
        role=given["role"],
        content=content if parts is None else flattened(parts),
        name=given.get("name"),
        content_parts=parts,
        tool_calls=tool_calls(given, message_id),
        tool_call_id=call if isinstance(call, str) else None,
    )


def tool_calls(message: Mapping[str, Any], of: str) -> list[dict[str, Any]] | None:
    """The calls of a message, an older `function_call` in the form of the others.

    Args:
        message: of an assistant.
        of: what an older call is named after, which has no id of its own.
    """
    calls, older = message.get("tool_calls"), message.get("function_call")
    if older and not calls:
        return [{"id": f"call_{of}", "type": FUNCTION, FUNCTION: older}]
    return calls


def flattened(parts: Sequence[Mapping[str, Any]]) -> str:
    """The text of all parts, one after the other; what is no text is named in brackets."""
    return "\n".join(
        part[part["type"]] if part.get("type") in _SAID else f"[{part.get('type')}]"
        for part in parts
    )
