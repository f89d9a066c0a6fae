"""What callers ask of a model and what a refusal tells them, with OpenAI's names and ranges.

Fields nobody declared are kept (`model_extra`): whoever serves a request must see all that was
asked for. What a model can do (tools, several choices, its context length) is not known here.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    ValidationInfo,
    field_validator,
)
from pydantic_core import PydanticCustomError

from linarite.wire.shapes import Incoming, Int64, Metadata

MAX_MESSAGES = 2_048
MAX_TOOLS = 128
MAX_SCHEMA_NAME = 64
MAX_EMBEDDING_INPUTS = 2_048

JsonObject = dict[str, Any]
Temperature = Annotated[float, Field(ge=0, le=2)]
TopP = Annotated[float, Field(ge=0, le=1)]
Penalty = Annotated[float, Field(ge=-2, le=2)]
ChoiceCount = Annotated[int, Field(ge=1, le=128)]
TokenLimit = Annotated[int, Field(ge=1)]
LogitBias = dict[str, Annotated[float, Field(ge=-100, le=100)]]


def _as_list(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _as_parts(value: object) -> object:
    return [{"type": "text", "text": value}] if isinstance(value, str) else value


def _is_token_ids(value: object) -> bool:
    return isinstance(value, list) and all(type(item) is int and item >= 0 for item in value)


def _as_prompts(value: object) -> list[str] | list[list[int]]:
    """Read the four forms of a prompt as a list; an empty one is none of them."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, list) and value:
        if all(isinstance(item, str) for item in value):
            return value
        if _is_token_ids(value):
            return [value]
        if all(item and _is_token_ids(item) for item in value):
            return value
    raise PydanticCustomError(
        "prompt_type",
        "Input should be a string, an array of strings, an array of token ids "
        "or an array of such arrays, and not empty",
    )


Stop = Annotated[list[str], Field(max_length=4), BeforeValidator(_as_list)]
"""One stop string or up to four, read as a list."""

Prompts = Annotated[list[str] | list[list[int]], PlainValidator(_as_prompts)]
"""A string, strings, token ids or lists of token ids, read as a list of either."""


_PartText = Annotated[str | None, Field(validate_default=True)]


class MessagePart(Incoming):
    """A piece of a message: its text, or how an assistant refused."""

    type: Literal["text", "refusal"]
    text: _PartText = None
    refusal: _PartText = None

    @field_validator("text", "refusal")
    @classmethod
    def _has_what_it_is(cls, said: str | None, info: ValidationInfo) -> str | None:
        if said is None and info.data.get("type") == info.field_name:
            raise PydanticCustomError("missing", "Field required")
        return said


class ChatMessage(Incoming):
    """One turn of a chat; a content that is a string is read as its one part."""

    model_config = ConfigDict(extra="allow")

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: Annotated[
        list[MessagePart] | None,
        Field(min_length=1, validate_default=True),
        BeforeValidator(_as_parts),
    ] = None
    name: str | None = None

    @field_validator("content")
    @classmethod
    def _only_assistants_are_silent(
        cls, content: list[MessagePart] | None, info: ValidationInfo
    ) -> list[MessagePart] | None:
        if content is None and info.data.get("role", "assistant") != "assistant":
            raise PydanticCustomError("content_missing", "A message of this role needs content")
        return content

    @field_validator("content")
    @classmethod
    def _only_assistants_refuse(
        cls, content: list[MessagePart] | None, info: ValidationInfo
    ) -> list[MessagePart] | None:
        refuses = any(part.type == "refusal" for part in content or ())
        if refuses and info.data.get("role", "assistant") != "assistant":
            raise PydanticCustomError(
                "refusal_part", "Only a message of an assistant may have parts of type `refusal`"
            )
        return content


class JsonSchemaFormat(Incoming):
    """A schema that an answer is to fit; a key that is not known would promise something."""

    model_config = ConfigDict(extra="forbid")

    name: Annotated[
        str, Field(min_length=1, max_length=MAX_SCHEMA_NAME, pattern=r"^[a-zA-Z0-9_-]+$")
    ]
    description: str | None = None
    schema_: JsonObject = Field(alias="schema")
    strict: bool | None = None


class ResponseFormat(Incoming):
    """The form that an answer is to have, whose unknown keys are refused as well."""

    model_config = ConfigDict(extra="forbid")

    type: Literal["text", "json_object", "json_schema"]
    json_schema: Annotated[JsonSchemaFormat | None, Field(validate_default=True)] = None

    @field_validator("json_schema")
    @classmethod
    def _belongs_to_its_type(
        cls, schema: JsonSchemaFormat | None, info: ValidationInfo
    ) -> JsonSchemaFormat | None:
        kind = info.data.get("type")
        if kind == "json_schema" and schema is None:
            raise PydanticCustomError("missing", "Field required")
        if kind in {"text", "json_object"} and schema is not None:
            raise PydanticCustomError("needs_type", "Only allowed when `type` is `json_schema`")
        return schema


class StreamOptions(Incoming):
    """What a stream carries besides the answer."""

    include_usage: bool | None = None


class GenerationRequest(Incoming):
    """What chats and completions share."""

    model_config = ConfigDict(extra="allow")

    model: str | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: TokenLimit | None = None
    temperature: Temperature | None = None
    top_p: TopP | None = None
    n: ChoiceCount | None = None
    stop: Stop | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    logit_bias: LogitBias | None = None
    seed: Int64 | None = None
    user: str | None = None

    @field_validator("stream_options")
    @classmethod
    def _belongs_to_a_stream(
        cls, options: StreamOptions | None, info: ValidationInfo
    ) -> StreamOptions | None:
        if options is not None and not info.data.get("stream"):
            raise PydanticCustomError("needs_stream", "Only allowed when `stream` is true")
        return options


class ChatCompletionRequest(GenerationRequest):
    """Body of a chat completion; `max_completion_tokens` is the newer name of `max_tokens`."""

    messages: Annotated[list[ChatMessage], Field(min_length=1, max_length=MAX_MESSAGES)]
    max_completion_tokens: TokenLimit | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    response_format: ResponseFormat | None = None
    tools: Annotated[list[JsonObject], Field(max_length=MAX_TOOLS)] | None = None
    tool_choice: str | JsonObject | None = None
    parallel_tool_calls: bool | None = None
    store: bool | None = None
    metadata: Metadata | None = None

    @field_validator("max_completion_tokens")
    @classmethod
    def _is_the_only_limit(cls, limit: int | None, info: ValidationInfo) -> int | None:
        if limit is not None and info.data.get("max_tokens") is not None:
            raise PydanticCustomError("one_limit", "Not allowed together with `max_tokens`")
        return limit

    @field_validator("metadata")
    @classmethod
    def _belongs_to_what_is_stored(
        cls, metadata: dict[str, str] | None, info: ValidationInfo
    ) -> dict[str, str] | None:
        if metadata and not info.data.get("store"):
            raise PydanticCustomError("needs_store", "Only allowed when `store` is true")
        return metadata

    @field_validator("top_logprobs")
    @classmethod
    def _belongs_to_logprobs(cls, count: int | None, info: ValidationInfo) -> int | None:
        if count is not None and not info.data.get("logprobs"):
            raise PydanticCustomError("needs_logprobs", "Only allowed when `logprobs` is true")
        return count


class CompletionRequest(GenerationRequest):
    """Body of a completion; without `max_tokens` it is 16 tokens long."""

    prompt: Prompts
    max_tokens: TokenLimit | None = 16
    best_of: Annotated[int, Field(ge=1, le=128)] | None = None
    echo: bool | None = None
    logprobs: Annotated[int, Field(ge=0, le=5)] | None = None
    suffix: str | None = None

    @field_validator("best_of")
    @classmethod
    def _is_at_least_n(cls, best_of: int | None, info: ValidationInfo) -> int | None:
        if best_of is not None and best_of < (info.data.get("n") or 1):
            raise PydanticCustomError("best_of_below_n", "Input should be at least `n`")
        if best_of is not None and best_of > (info.data.get("n") or 1) and info.data.get("stream"):
            raise PydanticCustomError("best_of_streamed", "Above `n` it cannot be streamed")
        return best_of


class EmbeddingRequest(Incoming):
    """Body of an embedding; official clients ask for base64 and decode it."""

    model_config = ConfigDict(extra="allow")

    model: str | None = None
    input: Annotated[Prompts, Field(max_length=MAX_EMBEDDING_INPUTS)]
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: Annotated[int, Field(ge=1)] | None = None
    user: str | None = None


def error_body(
    message: str,
    *,
    kind: str | None = "server_error",
    code: str | None = None,
    param: str | None = None,
    more: Mapping[str, Any] = MappingProxyType({}),
) -> JsonObject:
    """The body of every failed answer of inference: OpenAI's form, in which nulls are written."""
    return {"error": {"message": message, "type": kind, "param": param, "code": code, **more}}
