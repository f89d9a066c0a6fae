"""What a chat may say of tools, whoever serves the model: OpenAI's rules in OpenAI's words.

Tools and the choice among them, the older functions, and which messages a call and its answer are
made of. Whether an engine can follow the schemas of parameters is not known here.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from linarite.errors import InferenceRefused
from linarite.resources.inference.response_formats import schema_fault, size_of
from linarite.wire.inference import MAX_TOOLS

MOST_NAME_LETTERS = 64
MOST_BYTES = 256 << 10
"""Of all tools together: their schemas are gone through while other requests wait."""
_NAME = re.compile(r"[A-Za-z0-9_-]+")
_CHOICES = ("none", "auto", "required")


def check_tools(body: Mapping[str, Any]) -> None:
    """Refuse tools, a choice among them or messages about them that OpenAI refuses.

    Args:
        body: a chat that is well made but for these.

    Raises:
        InferenceRefused: with the parameter's path.
    """
    tools = _functions_of_tools(body.get("tools"))
    functions = _older_functions(body.get("functions"))
    if tools is not None and functions is not None:
        raise _refusal("Only one of 'tools' and 'functions' is allowed.", "functions")
    for param in ("tool_choice", "parallel_tool_calls"):
        _check_company(body, param, "tools", tools)
    _check_company(body, "function_call", "functions", functions)
    _check_choice(body.get("tool_choice"), tools or ())
    _check_older_choice(body.get("function_call"), functions or ())
    for at, message in enumerate(body["messages"]):
        _check_message(message, f"messages[{at}]")
    _check_order(body["messages"])


def _functions_of_tools(tools: Any) -> list[str] | None:
    """The names of the tools, or None where there are none."""
    if tools is None:
        return None
    _check_count(tools, "tools")
    _check_size(tools, "tools")
    names = []
    for at, tool in enumerate(tools):
        _check_kind(tool, f"tools[{at}]")
        names.append(_name_of_function(tool["function"], f"tools[{at}].function"))
    return names


def _older_functions(functions: Any) -> list[str] | None:
    if functions is None:
        return None
    if not isinstance(functions, list):
        raise _wrong_type("functions", "an array", functions)
    _check_count(functions, "functions")
    _check_size(functions, "functions")
    return [_name_of_function(one, f"functions[{at}]") for at, one in enumerate(functions)]


def _name_of_function(function: Any, where: str) -> str:
    """The name of a function that is on offer, which is well made."""
    _check_object(function, where)
    name = _name(function, where)
    _check_optional(function, "description", where, str, "a string")
    _check_optional(function, "strict", where, bool, "a boolean")
    _check_optional(function, "parameters", where, dict, "an object")
    schema = function.get("parameters")
    if schema and (fault := _fault_of_parameters(schema, is_strict=bool(function.get("strict")))):
        raise _refusal(
            f"Invalid schema for function '{name}': {fault}",
            f"{where}.parameters",
            "invalid_function_parameters",
        )
    return name


def _fault_of_parameters(schema: dict[str, Any], *, is_strict: bool) -> str | None:
    kind = schema.get("type")
    if kind != "object":
        return f"schema must be a JSON Schema of 'type: \"object\"', got 'type: \"{kind}\"'."
    return schema_fault(schema, is_strict=is_strict)


def _check_company(
    body: Mapping[str, Any], param: str, needed: str, names: Sequence[str] | None
) -> None:
    if body.get(param) is not None and names is None:
        raise _refusal(
            f"Invalid value for '{param}': '{param}' is only allowed when '{needed}' are "
            "specified.",
            param,
        )


def _check_choice(choice: Any, names: Sequence[str]) -> None:
    if choice is None:
        return
    if isinstance(choice, str):
        if choice not in _CHOICES:
            raise _wrong_value("tool_choice", choice, _CHOICES)
        return
    _check_kind(choice, "tool_choice")
    name = _name(choice["function"], "tool_choice.function")
    if name not in names:
        raise _refusal(
            f"Invalid value for 'tool_choice': no function named '{name}' was specified in the "
            "'tools' parameter.",
            "tool_choice",
        )


def _check_older_choice(choice: Any, names: Sequence[str]) -> None:
    if choice is None:
        return
    if isinstance(choice, str):
        if choice not in ("none", "auto"):
            raise _wrong_value("function_call", choice, ("none", "auto"))
        return
    _check_object(choice, "function_call")
    name = _name(choice, "function_call")
    if name not in names:
        raise _refusal(
            f"Invalid value for 'function_call': no function named '{name}' was specified in the "
            "'functions' parameter.",
            "function_call",
        )


def _check_message(message: Mapping[str, Any], where: str) -> None:
    """Refuse calls in a message that are ill made, or that stand where none belong."""
    role = message["role"]
    for key in ("tool_calls", "function_call"):
        if message.get(key) is not None and role != "assistant":
            raise _refusal(
                f"Invalid value for '{key}': only messages with role 'assistant' may have it.",
                f"{where}.{key}",
            )
    if message.get("tool_call_id") is not None and role != "tool":
        raise _refusal(
            "Invalid value for 'tool_call_id': only messages with role 'tool' may have it.",
            f"{where}.tool_call_id",
        )
    if message.get("tool_calls") is not None and message.get("function_call") is not None:
        raise _refusal(
            "Only one of 'tool_calls' and 'function_call' is allowed.", f"{where}.function_call"
        )
    if (calls := message.get("tool_calls")) is not None:
        if not isinstance(calls, list):
            raise _wrong_type(f"{where}.tool_calls", "an array", calls)
        _check_count(calls, f"{where}.tool_calls")
        for at, call in enumerate(calls):
            _check_kind(call, f"{where}.tool_calls[{at}]")
            _text(call, "id", f"{where}.tool_calls[{at}]")
            _check_called(call["function"], f"{where}.tool_calls[{at}].function")
    if (called := message.get("function_call")) is not None:
        _check_called(called, f"{where}.function_call")


def _check_called(called: Any, where: str) -> None:
    _check_object(called, where)
    _name(called, where)
    _text(called, "arguments", where)


def _check_order(messages: Sequence[Mapping[str, Any]]) -> None:
    """Refuse calls that are not answered at once, and answers to calls that nobody made."""
    open_: list[str] = []
    has_called = False
    for at, message in enumerate(messages):
        path = f"messages.[{at}]"
        role = message["role"]
        if role == "tool":
            answered = message.get("tool_call_id")
            if not has_called:
                raise _refusal(
                    "Invalid parameter: messages with role 'tool' must be a response to a "
                    "preceeding message with 'tool_calls'.",
                    f"{path}.role",
                )
            if not isinstance(answered, str):
                raise _refusal(
                    "Missing parameter 'tool_call_id': messages with role 'tool' must have a "
                    "'tool_call_id'.",
                    f"{path}.tool_call_id",
                )
            if answered not in open_:
                raise _refusal(
                    f"Invalid parameter: 'tool_call_id' of '{answered}' not found in 'tool_calls' "
                    "of previous message.",
                    f"{path}.tool_call_id",
                )
            open_.remove(answered)
            continue
        _check_answered(open_, f"{path}.role")
        if role == "function" and not isinstance(message.get("name"), str):
            raise _refusal(
                "Missing parameter 'name': messages with role 'function' must have a 'name'.",
                f"{path}.name",
            )
        open_ = [call["id"] for call in message.get("tool_calls") or ()]
        has_called = bool(open_)
    _check_answered(open_, f"messages.[{len(messages) - 1}].role")


def _check_answered(open_: Sequence[str], param: str) -> None:
    if open_:
        raise _refusal(
            "An assistant message with 'tool_calls' must be followed by tool messages responding "
            "to each 'tool_call_id'. The following tool_call_ids did not have response messages: "
            f"{', '.join(open_)}",
            param,
        )


def _check_kind(value: Any, where: str) -> None:
    """Refuse what is no object of the type `function` with a `function` in it."""
    _check_object(value, where)
    kind = _text(value, "type", where)
    if kind != "function":
        raise _wrong_value(f"{where}.type", kind, ("function",))
    if "function" not in value:
        raise _missing(f"{where}.function")
    _check_object(value["function"], f"{where}.function")


def _name(owner: Mapping[str, Any], where: str) -> str:
    name = _text(owner, "name", where)
    param = f"{where}.name"
    if len(name) > MOST_NAME_LETTERS:
        raise _refusal(
            f"Invalid '{param}': string too long. Expected a string with maximum length "
            f"{MOST_NAME_LETTERS}, but got a string with length {len(name)} instead.",
            param,
            "string_above_max_length",
        )
    if not _NAME.fullmatch(name):
        raise _refusal(
            f"Invalid '{param}': string does not match pattern. Expected a string that matches "
            "the pattern '^[a-zA-Z0-9_-]+$'.",
            param,
            "invalid_value",
        )
    return name


def _text(owner: Mapping[str, Any], key: str, where: str) -> str:
    if key not in owner:
        raise _missing(f"{where}.{key}")
    value = owner[key]
    if not isinstance(value, str):
        raise _wrong_type(f"{where}.{key}", "a string", value)
    return value


def _check_optional(
    owner: Mapping[str, Any], key: str, where: str, kind: type, expected: str
) -> None:
    value = owner.get(key)
    if value is not None and not isinstance(value, kind):
        raise _wrong_type(f"{where}.{key}", expected, value)


def _check_object(value: Any, where: str) -> None:
    if not isinstance(value, dict):
        raise _wrong_type(where, "an object", value)


def _check_size(tools: Sequence[Any], where: str) -> None:
    size = size_of(tools)
    if size is None:
        raise _refusal(f"Invalid '{where}': arrays and objects are nested too deep.", where)
    if size > MOST_BYTES:
        raise _refusal(
            f"Invalid '{where}': {size} bytes in all; at most {MOST_BYTES} are allowed.", where
        )


def _check_count(value: Sequence[Any], where: str) -> None:
    if len(value) > MAX_TOOLS:
        raise _refusal(
            f"Invalid '{where}': array too long. Expected an array with maximum length "
            f"{MAX_TOOLS}, but got an array with length {len(value)} instead.",
            where,
            "array_above_max_length",
        )
    if not value:
        raise _refusal(
            f"Invalid '{where}': empty array. Expected an array with minimum length 1, but got an "
            "empty array instead.",
            where,
            "empty_array",
        )


def _missing(param: str) -> InferenceRefused:
    return _refusal(f"Missing required parameter: '{param}'.", param, "missing_required_parameter")


def _wrong_type(param: str, expected: str, value: Any) -> InferenceRefused:
    return _refusal(
        f"Invalid type for '{param}': expected {expected}, but got {_kind_of(value)} instead.",
        param,
        "invalid_type",
    )


def _wrong_value(param: str, value: str, supported: Iterable[str]) -> InferenceRefused:
    *others, last = (f"'{one}'" for one in supported)
    told = f"{', '.join(others)}, and {last}" if others else last
    return _refusal(
        f"Invalid value: '{value}'. Supported values are: {told}.", param, "invalid_value"
    )


def _kind_of(value: Any) -> str:
    """What OpenAI calls a value of JSON."""
    if value is None:
        return "null"
    kinds = {bool: "a boolean", int: "an integer", float: "a decimal", str: "a string"}
    return kinds.get(type(value), "an array" if isinstance(value, list) else "an object")


def _refusal(message: str, param: str, code: str | None = None) -> InferenceRefused:
    return InferenceRefused(message, param=param, code=code)
