"""What one line of a training file must be: a chat, a preference, or a prompt with its completion.

Judges one example at a time; knows neither files nor how anything is learned from them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Example = Mapping[str, Any]

FORMS = (
    'Each line\'s json must have "messages"; or "input", "preferred_output" and '
    '"non_preferred_output"; or only two properties: ("context" or "prompt") and "completion".'
)

_ROLES = ("system", "developer", "user", "assistant", "tool", "function")
_MESSAGE_KEYS = frozenset(
    {
        "role",
        "content",
        "name",
        "weight",
        "tool_calls",
        "tool_call_id",
        "function_call",
        "refusal",
    }
)
_PREFERENCE_KEYS = ("input", "preferred_output", "non_preferred_output")
_SAID = ("text", "refusal")
"""Types of parts that are text, each under the type's name."""
_IMAGES = 64
_SHOWN = 60


class BadExample(ValueError):
    """An example that nothing can be learned from, with what is wrong about it."""


@dataclass(frozen=True)
class Form:
    """A kind of training example."""

    words: str
    check: Callable[[Example], None]
    """Raises BadExample."""


def form_of(example: Example) -> Form:
    """The form that the example's keys announce; raises BadExample when they announce none."""
    if "messages" in example:
        return CHAT
    if any(key in example for key in _PREFERENCE_KEYS):
        return PREFERENCE
    if "completion" in example or "prompt" in example:
        return COMPLETION
    raise BadExample(f"it is no training example. {FORMS}")


def _check_chat(example: Example) -> None:
    roles = _check_messages(example["messages"], "messages")
    if "assistant" not in roles:
        raise BadExample('"messages" has no assistant message, so there is nothing to learn.')
    _check_tools(example, "")


def _check_preference(example: Example) -> None:
    for key in _PREFERENCE_KEYS:
        if key not in example:
            raise BadExample(f'"{key}" is missing.')
    asked = example["input"]
    if not isinstance(asked, dict) or "messages" not in asked:
        raise BadExample('"input" must be an object with "messages".')
    _check_messages(asked["messages"], "input.messages")
    _check_tools(asked, "input.")
    for key in _PREFERENCE_KEYS[1:]:
        roles = _check_messages(example[key], key)
        if "assistant" not in roles:
            raise BadExample(f'"{key}" has no assistant message.')
        for index, role in enumerate(roles):
            if role not in ("assistant", "tool"):
                raise BadExample(f"{key}[{index}] must have the role assistant or tool.")


def _check_completion(example: Example) -> None:
    if set(example) not in ({"prompt", "completion"}, {"context", "completion"}):
        raise BadExample(
            'it may only contain two properties: ("context" or "prompt") and "completion".'
        )
    for key, value in example.items():
        if not isinstance(value, str):
            raise BadExample(f'"{key}" must be a string, not {_shown(value)}.')


CHAT = Form('a chat with "messages"', _check_chat)
PREFERENCE = Form('a preference with "input" and two outputs', _check_preference)
COMPLETION = Form('a prompt with its "completion"', _check_completion)


def _check_messages(messages: object, path: str) -> list[str]:
    """Check a list of messages; gives their roles."""
    if not isinstance(messages, list) or not messages:
        raise BadExample(f'"{path}" must be a list of messages that is not empty.')
    roles = [_check_message(message, f"{path}[{n}]") for n, message in enumerate(messages)]
    if sum(_images(message) for message in messages) > _IMAGES:
        raise BadExample(f'"{path}" has more than {_IMAGES} images.')
    return roles


def _check_message(message: object, path: str) -> str:
    if not isinstance(message, dict):
        raise BadExample(f"{path} must be an object.")
    unknown = sorted(set(message) - _MESSAGE_KEYS)
    if unknown:
        raise BadExample(f"{path} has the unknown key {_shown(unknown[0])}.")
    role = message.get("role")
    if role not in _ROLES:
        wanted = f"it must be one of {', '.join(_ROLES)}"
        raise BadExample(
            f'{path} has no "role"; {wanted}.'
            if role is None
            else f"{path} has the unknown role {_shown(role)}; {wanted}."
        )
    _check_content(message, role, path)
    _check_weight(message, role, path)
    if "tool_calls" in message:
        _check_tool_calls(message["tool_calls"], role, path)
    if role == "tool" and not isinstance(message.get("tool_call_id"), str):
        raise BadExample(f'{path} is a tool message without "tool_call_id".')
    if not isinstance(message.get("name", ""), str):
        raise BadExample(f"{path}.name must be a string.")
    return str(role)


def _check_content(message: Example, role: str, path: str) -> None:
    content = message.get("content")
    if content is None:
        calls = message.get("tool_calls") or message.get("function_call")
        if role == "assistant" and (calls or isinstance(message.get("refusal"), str)):
            return
        raise BadExample(f'{path} has no "content".')
    if isinstance(content, str):
        return
    if not isinstance(content, list) or not content:
        raise BadExample(f"{path}.content must be a string or a list of parts.")
    for index, part in enumerate(content):
        _check_part(part, role, f"{path}.content[{index}]")


def _check_part(part: object, role: str, path: str) -> None:
    kind = part.get("type") if isinstance(part, dict) else None
    if not isinstance(part, dict) or kind not in (*_SAID, "image_url"):
        raise BadExample(f"{path} must be an object whose type is text, refusal or image_url.")
    if kind == "refusal" and role != "assistant":
        raise BadExample(f"{path} is a refusal, which only assistant messages may have.")
    if kind in _SAID:
        if not isinstance(part.get(kind), str):
            raise BadExample(f"{path}.{kind} must be a string.")
        return
    if role == "assistant":
        raise BadExample(f"{path} is an image in an assistant message.")
    image = part.get("image_url")
    url = image.get("url") if isinstance(image, dict) else None
    if not isinstance(url, str) or not url.startswith(("http://", "https://", "data:image/")):
        raise BadExample(f"{path}.image_url.url must be an http or https URL or an image's data.")


def _check_weight(message: Example, role: str, path: str) -> None:
    if "weight" not in message or message["weight"] is None:
        return
    weight = message["weight"]
    if role != "assistant":
        raise BadExample(f'{path} has a "weight", which only assistant messages may have.')
    if isinstance(weight, bool) or weight not in (0, 1):
        raise BadExample(f"{path}.weight is {_shown(weight)}; it must be 0 or 1.")


def _check_tool_calls(calls: object, role: str, path: str) -> None:
    if calls is None:
        return
    if role != "assistant":
        raise BadExample(f'{path} has "tool_calls", which only assistant messages may have.')
    if not isinstance(calls, list):
        raise BadExample(f"{path}.tool_calls must be a list.")
    for index, call in enumerate(calls):
        function = call.get("function") if isinstance(call, dict) else None
        if (
            not isinstance(function, dict)
            or not isinstance(call.get("id"), str)
            or not isinstance(function.get("name"), str)
            or not isinstance(function.get("arguments"), str)
        ):
            raise BadExample(
                f'{path}.tool_calls[{index}] must have an "id" and a "function" with a "name" and '
                '"arguments", all of them strings.'
            )


def _check_tools(owner: Example, path: str) -> None:
    for key in ("tools", "functions"):
        tools = owner.get(key)
        if tools is None:
            continue
        if not isinstance(tools, list) or not all(isinstance(tool, dict) for tool in tools):
            raise BadExample(f'"{path}{key}" must be a list of objects.')
    if not isinstance(owner.get("parallel_tool_calls", False), bool | None):
        raise BadExample(f'"{path}parallel_tool_calls" must be true or false.')


def _images(message: Example) -> int:
    content = message.get("content")
    if not isinstance(content, list):
        return 0
    return sum(part.get("type") == "image_url" for part in content)


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"
