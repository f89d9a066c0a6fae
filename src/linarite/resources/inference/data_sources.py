"""A chat that asks for `data_sources`: what of it is asked of the index, and what of the model."""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from linarite.errors import InferenceRefused
from linarite.http.faults import invalid_body
from linarite.wire.data_sources import (
    AzureSearchChatExtensionConfiguration,
    AzureSearchChatExtensionParameters,
)

NAME = "data_sources"
_AT = f"{NAME}[0]"
_USUAL_TEMPERATURE = 0
"""The service's own where a chat has a data source: what was found is to be told, not varied."""
_ADDED = ("context", "end_turn")
"""What an answer of this kind has besides, and comes back with it in the chat's history."""


Source = AzureSearchChatExtensionParameters


def read(body: dict[str, Any]) -> tuple[Source | None, dict[str, Any]]:
    """The source of a chat, if it has one, and the chat without it.

    Raises:
        InferenceRefused: the source is ill made or of a kind that is not known here, or the chat
            asks for what does not go with it.
    """
    if NAME not in body:
        return None, body
    asked = {name: value for name, value in body.items() if name != NAME}
    given = body[NAME]
    if given is None or given == []:
        return None, asked
    if not isinstance(given, list) or len(given) != 1:
        raise _refused(f"'{NAME}' must be a list with exactly one element.", NAME)
    _check_kind(given[0])
    _check_beside(body)
    try:
        source = AzureSearchChatExtensionConfiguration.model_validate(given[0])
    except ValidationError as error:
        fault = invalid_body(error.errors(include_url=False, include_input=False))
        at = (fault.target or "").removeprefix("$")
        raise _refused(fault.message, f"{_AT}{at}") from None
    if asked.get("temperature") is None and asked.get("top_p") is None:
        asked["temperature"] = _USUAL_TEMPERATURE
    if isinstance(asked.get("messages"), list):
        asked["messages"] = [_without_additions(message) for message in asked["messages"]]
    return source.parameters, asked


def _check_kind(source: Any) -> None:
    kind = source.get("type") if isinstance(source, dict) else None
    if isinstance(kind, str) and kind != "azure_search":
        raise _refused(
            f"A data source of the type '{kind}' is not supported by this server; it answers from "
            "indexes of the type 'azure_search', its own among them.",
            f"{_AT}.type",
        )


def _check_beside(body: Mapping[str, Any]) -> None:
    """Refuse what does not go with a data source.

    Azure passes over the source where a chat may call tools; here nothing is passed over.
    """
    for name in ("logprobs", "top_logprobs"):
        if body.get(name):
            raise _refused(f"'{name}' is not supported together with '{NAME}'.", name)
    form = body.get("response_format")
    if isinstance(form, dict) and form.get("type") in {"json_schema", "json_object"}:
        raise _refused(
            f"'response_format' of the type '{form['type']}' is not supported together with "
            f"'{NAME}'; where nothing is found the answer is a sentence.",
            "response_format",
        )
    for name, choice in (("tools", "tool_choice"), ("functions", "function_call")):
        if body.get(name) and body.get(choice) != "none":
            raise _refused(
                f"'{name}' cannot be called in a chat with '{NAME}'; leave one of them out, or set "
                f"'{choice}' to 'none'.",
                name,
            )


def _without_additions(message: Any) -> Any:
    if not isinstance(message, dict) or message.get("role") != "assistant":
        return message
    return {name: value for name, value in message.items() if name not in _ADDED}


def _refused(message: str, param: str) -> InferenceRefused:
    return InferenceRefused(message, param=param)
