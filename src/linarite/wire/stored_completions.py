"""Stored completions as they travel: the completion, its choices, its messages, their lists.

Every class is filled from what was checked before; what an engine answered beside these fields is
not kept.
"""

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from linarite.wire.shapes import (
    INT32_MAX,
    Incoming,
    Int32,
    Int64,
    NonEmptyStr,
    Outgoing,
    TypeDiscriminator,
)


class Usage(Outgoing):
    """How many tokens a completion took."""

    total_tokens: Int32
    completion_tokens: Int32
    prompt_tokens: Int32


class FunctionDefinition(Outgoing):
    """A function that the model might have called; `parameters` is a JSON schema."""

    name: str
    description: str | None = None
    parameters: Any = None
    strict: bool | None = None


class Tool(Outgoing):
    """A tool that the model was offered, which is a function."""

    type: str
    function: FunctionDefinition


class FunctionCallFunction(Outgoing):
    """What a tool call calls; `arguments` is JSON as the model wrote it."""

    name: str
    arguments: str


class ToolCall(Outgoing):
    """A call that the model made."""

    id: str
    type: str
    function: FunctionCallFunction


class ChoiceMessage(Outgoing):
    """What the model said; `content` is null where it called tools instead."""

    role: str
    content: str | None = None
    tool_calls: list[ToolCall] | None = None
    refusal: str | None = None


class Logprob(Outgoing):
    """How likely a token was, and which others were."""

    token: str
    logprob: float
    bytes: list[int] | None = None
    top_logprobs: list[dict[str, Any]]


class Choice(Outgoing):
    """One of a completion's answers; `logprobs` is OpenAI's: ``content`` and ``refusal``."""

    index: Int32
    message: ChoiceMessage
    finish_reason: str
    logprobs: dict[str, list[Logprob] | None] | None = None


class StoredCompletion(Outgoing):
    """A chat's answer that was stored, and what was asked for."""

    object: Literal["chat.completion"] = "chat.completion"
    id: str
    model: str
    created: Int64
    request_id: str
    tool_choice: str | None = None
    usage: Usage | None = None
    seed: Int64
    top_p: float = 1.0
    temperature: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    system_fingerprint: str | None = None
    input_user: str | None = None
    service_tier: str | None = None
    tools: list[Tool] | None = None
    metadata: dict[str, str]
    choices: list[Choice]


class StoredCompletionResponse(StoredCompletion):
    """A stored completion, asked for by its id."""


class StoredCompletionList(Outgoing):
    """A page of stored completions; `total` counts all that the filters let through."""

    object: Literal[TypeDiscriminator.LIST] = TypeDiscriminator.LIST
    data: list[StoredCompletion]
    total: Int64 | None
    first_id: str | None = None
    last_id: str | None = None
    has_more: bool = False


class InputMessage(Outgoing):
    """A message that was sent to the model; of one in parts, `content` is the text."""

    id: str
    role: str
    content: str | None = None
    name: str | None = None
    content_parts: list[dict[str, Any]] | None = None
    tool_calls: list[dict[str, Any]] | None = None
    tool_call_id: str | None = None


class StoredCompletionMessages(Outgoing):
    """A page of a stored completion's messages."""

    object: Literal[TypeDiscriminator.LIST] = TypeDiscriminator.LIST
    data: list[InputMessage]
    total: Int64
    first_id: str | None = None
    last_id: str | None = None
    has_more: bool = False


class UpdateStoredCompletionRequest(Incoming):
    """Body of StoredCompletion_Update."""

    metadata: dict[str, str] | None = None


class StoredCompletionDelete(Outgoing):
    """What is told of a stored completion that was deleted."""

    object: Literal["chat.completion.deleted"] = "chat.completion.deleted"
    id: str
    deleted: bool = True


class CompletionFilters(Incoming):
    """Which stored completions: by what a list is filtered by; an addition to the contract.

    `metadata` is an object, or a string in one of the forms that a list takes.
    """

    model_config = ConfigDict(extra="forbid")

    model: str | None = None
    metadata: dict[str, str] | str | None = None


class StoredCompletionExport(CompletionFilters):
    """Body of StoredCompletion_Export, an addition to the contract.

    With `preferred` and `non_preferred`, which then hold the filters, preferences are made.
    """

    filename: NonEmptyStr = "stored-completions.jsonl"
    limit: Annotated[int, Field(ge=1, le=INT32_MAX)] | None = None
    order: Literal["asc", "desc"] = "desc"
    preferred: CompletionFilters | None = None
    non_preferred: CompletionFilters | None = None
    join: Annotated[str, Field(min_length=1, max_length=64)] | None = None
