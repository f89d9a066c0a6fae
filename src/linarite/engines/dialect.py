"""OpenAI's dialect as the embedded engines speak it: requests read, faults named, answers shaped.

Pure functions over dictionaries. A parameter that an engine cannot honour is refused by name
rather than passed over; what cannot change an answer (`capabilities.WITHOUT_EFFECT`) is let by.
"""

import base64
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from pydantic import ValidationError

from linarite.engines.answers import TextPiece
from linarite.engines.capabilities import (
    CHAT,
    COMPLETION,
    EMBEDDINGS,
    PARAMETERS,
    WITHOUT_EFFECT,
    Capabilities,
    Unable,
    first_unable,
    unable,
)
from linarite.engines.logprobs import TokenTexts
from linarite.engines.messages import offered_tools, read_message
from linarite.engines.sampling import (
    DEFAULT_CHAT_TOKENS,
    DEFAULT_COMPLETION_TOKENS,
    SEED_OF_NONE,
    Sampling,
    Structure,
)
from linarite.engines.structures import Refused
from linarite.engines.tool_calls import CONTENT, Calling, CallPiece
from linarite.errors import InferenceRefused
from linarite.wire import inference

MOST_MESSAGES = 2048
MOST_INPUTS = 2048
MOST_STOPS = 4
MOST_ANSWERS = 2048
"""Of one request, for all its prompts together."""

_SHARED = {
    "frequency_penalty",
    "max_tokens",
    "model",
    "n",
    "presence_penalty",
    "seed",
    "stop",
    "stream",
    "stream_options",
    "temperature",
    "top_p",
    "user",
}
_LET_BY = {"metadata", "store"} | set(WITHOUT_EFFECT)
_CHAT_KEYS = (
    _SHARED | _LET_BY | {"messages", "max_completion_tokens", "parallel_tool_calls", "tool_choice"}
)
_COMPLETION_KEYS = _SHARED | {"prompt", "best_of"}
_STREAM_OPTIONS = {"include_usage"}
_MESSAGE_KEYS = {
    "content",
    "function_call",
    "name",
    "refusal",
    "role",
    "tool_call_id",
    "tool_calls",
}
_EMBEDDING_KEYS = {"input", "model", "encoding_format", "user"}


@dataclass(frozen=True)
class Form:
    """What `response_format` asks."""

    structure: Mapping[str, Any]
    """What the engine's structures are asked for."""
    name: str = ""
    """Of a schema."""


@dataclass(frozen=True)
class Wanted:
    """What a request for text asks, apart from its prompt."""

    count: int
    max_tokens: int | None
    temperature: float
    top_p: float
    presence_penalty: float
    frequency_penalty: float
    seed: int | None
    stops: tuple[str, ...]
    is_stream: bool
    include_usage: bool
    logprobs: bool = False
    """Whether the log-probability of each chosen token is part of the answer."""
    echo: bool = False
    """Whether the prompt is the beginning of the answer."""
    best_of: int = 1
    """How many answers to make for each prompt, of which the likeliest `count` are given."""
    form: Form | None = None
    calling: Calling | None = None
    """The tools that the answer may call."""

    @property
    def made(self) -> int:
        """How many answers are made for each prompt."""
        return max(self.count, self.best_of)

    def sampling(
        self,
        *,
        max_tokens: int,
        index: int,
        eos: tuple[int, ...],
        structure: Structure | None = None,
        is_deterministic: bool = False,
    ) -> Sampling:
        """The choices behind answer `index`; without a seed each answer gets its own.

        A deterministic engine takes `SEED_OF_NONE` then, and no answer of its is broken off to go
        on later.
        """
        given = SEED_OF_NONE if self.seed is None and is_deterministic else self.seed
        seed = secrets.randbits(32) if given is None else (given + index) % (1 << 32)
        has_penalty = bool(self.presence_penalty or self.frequency_penalty)
        has_seed = self.temperature > 0 and self.seed is not None
        return Sampling(
            max_tokens=max_tokens,
            temperature=self.temperature,
            top_p=self.top_p,
            presence_penalty=self.presence_penalty,
            frequency_penalty=self.frequency_penalty,
            seed=seed,
            eos=eos,
            structure=structure,
            logprobs=self.logprobs or self.made > self.count,
            can_resume=not (is_deterministic or has_penalty or has_seed or structure is not None),
        )


def refusal(message: str, param: str | None = None, code: str | None = None) -> InferenceRefused:
    """A 400 in OpenAI's shape."""
    return InferenceRefused(message, param=param, code=code)


def unsupported(lacking: Unable) -> InferenceRefused:
    """The refusal of a parameter that asks for what the engine cannot."""
    return refusal(lacking.text, lacking.param, code="unsupported_parameter")


def read_chat(body: Mapping[str, Any], able: Capabilities) -> tuple[list[dict[str, Any]], Wanted]:
    """The messages of a chat, as templates take them, and what is asked.

    Raises:
        InferenceRefused: a parameter is wrong or not within this engine's capabilities.
    """
    _refuse_what_it_cannot(body, able, CHAT, _CHAT_KEYS)
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise refusal("'messages' must be a list of at least one message.", "messages")
    if len(messages) > MOST_MESSAGES:
        raise refusal(
            f"'messages' has {len(messages)} items; at most {MOST_MESSAGES} are allowed.",
            "messages",
        )
    is_newer = body.get("max_completion_tokens") is not None
    limit = "max_completion_tokens" if is_newer else "max_tokens"
    wanted = replace(
        _wanted(body, able, limit, logprobs=_flag(body, "logprobs")),
        form=_form(body.get("response_format")),
        calling=_calling(body),
    )
    for at, item in enumerate(messages):
        _refuse_unread(item, f"messages[{at}]")
    return [read_message(item, at) for at, item in enumerate(messages)], wanted


def read_completion(
    body: Mapping[str, Any], able: Capabilities
) -> tuple[list[str | list[int]], Wanted]:
    """The prompts of a completion (text or token ids) and what is asked.

    Raises:
        InferenceRefused: a parameter is wrong or not within this engine's capabilities.
    """
    _refuse_what_it_cannot(body, able, COMPLETION, _COMPLETION_KEYS)
    prompts = _texts_or_tokens(body.get("prompt"), "prompt")
    wanted = _wanted(body, able, "max_tokens", logprobs=body.get("logprobs") is not None)
    best_of = _whole(body, "best_of", wanted.count, wanted.count, able.most_answers)
    if len(prompts) * best_of > MOST_ANSWERS:
        raise refusal(
            f"'prompt' has {len(prompts)} items with {best_of} answers each; at most "
            f"{MOST_ANSWERS} answers are made for one request.",
            "prompt",
        )
    if best_of > wanted.count and wanted.is_stream:
        raise refusal("'best_of' above 'n' cannot be streamed.", "best_of")
    return prompts, replace(wanted, echo=_flag(body, "echo"), best_of=best_of)


def read_embedding(
    body: Mapping[str, Any], able: Capabilities, dimensions: int | None = None
) -> tuple[list[str | list[int]], bool]:
    """The inputs to embed, and whether they are wanted in base64.

    Args:
        body: the request.
        able: what this engine can.
        dimensions: how many numbers the model's vectors have.

    Raises:
        InferenceRefused: a parameter is wrong or not within this engine's capabilities.
    """
    _refuse_what_it_cannot(body, able, EMBEDDINGS, _EMBEDDING_KEYS)
    wanted = body.get("dimensions")
    if wanted is not None and wanted != dimensions:
        lacking = unable("dimensions", "dimensions", able, f" of {wanted!r}")
        told = f"{lacking.text} Vectors of this model have {dimensions} numbers."
        raise unsupported(Unable(lacking.param, told))
    form = body.get("encoding_format", "float")
    if form not in ("float", "base64", None):
        raise refusal(
            f"'encoding_format' is {form!r}; it must be 'float' or 'base64'.", "encoding_format"
        )
    inputs = _texts_or_tokens(body.get("input"), "input")
    if any(len(one) == 0 for one in inputs):
        raise refusal("'$.input' is invalid: an input cannot be empty.", "input")
    return inputs, form == "base64"


def room_for_answer(context: int, prompt: int, wanted: int | None, *, is_chat: bool) -> int:
    """The most tokens an answer may have.

    Args:
        context: what prompt and answer may have together.
        prompt: tokens of the prompt.
        wanted: what the request allows, or None.
        is_chat: which default and which of OpenAI's sentences to use.

    Raises:
        InferenceRefused: they do not fit (400 ``context_length_exceeded``).
    """
    default = DEFAULT_CHAT_TOKENS if is_chat else DEFAULT_COMPLETION_TOKENS
    room = context - prompt
    if wanted is None and room > 0:
        return min(default, room)
    if wanted is not None and wanted <= room:
        return wanted
    where = f"This model's maximum context length is {context} tokens. However, "
    if is_chat and (wanted is None or room <= 0):
        text = (
            f"your messages resulted in {prompt} tokens. Please reduce the length of the messages."
        )
    elif is_chat:
        text = (
            f"you requested {prompt + (wanted or 0)} tokens ({prompt} in the messages, {wanted} in "
            "the completion). Please reduce the length of the messages or completion."
        )
    else:
        asked = default if wanted is None else wanted
        text = (
            f"you requested {prompt + asked} tokens ({prompt} in your prompt; {asked} for the "
            "completion). Please reduce your prompt; or completion length."
        )
    raise refusal(where + text, "messages" if is_chat else "prompt", code="context_length_exceeded")


def chat_answer(
    head: Mapping[str, Any],
    pieces: Sequence[TextPiece],
    usage: Mapping[str, int],
    texts: TokenTexts | None,
) -> dict[str, Any]:
    """A ``chat.completion`` of finished answers; with `texts`, their tokens' logprobs."""
    choices = [
        {
            "index": index,
            "message": _spoken_message(piece),
            "logprobs": texts and texts.of_chat(piece.spoken),
            "finish_reason": piece.reason,
        }
        for index, piece in enumerate(pieces)
    ]
    return {**head, "choices": choices, "usage": usage}


def _spoken_message(piece: TextPiece) -> dict[str, Any]:
    text = piece.text or (None if piece.calls else "")
    message: dict[str, Any] = {"role": "assistant", "content": text, "refusal": None}
    for call in piece.calls:
        if call.is_legacy:
            message["function_call"] = _spoken_call(call)["function"]
        else:
            message.setdefault("tool_calls", []).append(_spoken_call(call))
    return message


def _spoken_call(call: CallPiece) -> dict[str, Any]:
    """A call, or what is new of it: only its first piece has a name."""
    if call.name is None:
        return {"function": {"arguments": call.arguments}}
    function = {"name": call.name, "arguments": call.arguments}
    return {"id": call.id, "type": "function", "function": function}


def _call_delta(call: CallPiece) -> dict[str, Any]:
    said = _spoken_call(call)
    if call.is_legacy:
        return {"function_call": said["function"]}
    return {"tool_calls": [{"index": call.index, **said}]}


def chat_opening(index: int, calling: Calling | None) -> dict[str, Any]:
    """The choice of a stream's first chunk; an answer that is only calls has no content."""
    content = None if calling is not None and calling.is_forced else ""
    return chat_piece(index, {"role": "assistant", "content": content, "refusal": None})


def chat_pieces(piece: TextPiece, texts: TokenTexts | None, offset: int) -> list[dict[str, Any]]:
    """The choices of a stream's chunks that tell what is new of a chat's answer."""
    spoken = texts.of_chat(piece.spoken) if texts is not None and piece.spoken else None
    fresh = {"content": piece.text} if piece.text else {}
    said = [chat_piece(piece.index, fresh, spoken)] if fresh or spoken else []
    said += [chat_piece(piece.index, _call_delta(call)) for call in piece.calls]
    return [*said, chat_piece(piece.index, {}, None, piece.reason)] if piece.reason else said


def chat_piece(
    index: int,
    delta: dict[str, Any],
    logprobs: dict[str, Any] | None = None,
    reason: str | None = None,
) -> dict[str, Any]:
    """One choice of a chunk of a chat."""
    return {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": reason}


def completion_pieces(
    piece: TextPiece, texts: TokenTexts | None, offset: int
) -> list[dict[str, Any]]:
    """The same for a completion, whose text is `offset` letters long before the piece."""
    if not (piece.text or piece.reason or piece.spoken):
        return []
    spoken = texts.of_completion(piece.spoken, offset) if texts is not None else None
    plain = {"index": piece.index, "text": piece.text, "logprobs": spoken}
    return [{**plain, "finish_reason": piece.reason}]


def completion_answer(
    head: Mapping[str, Any],
    pieces: Sequence[TextPiece],
    usage: Mapping[str, int],
    texts: TokenTexts | None,
) -> dict[str, Any]:
    """A ``text_completion`` of finished answers; with `texts`, their tokens' logprobs."""
    choices = [
        {
            "text": piece.text,
            "index": index,
            "logprobs": texts and texts.of_completion(piece.spoken, 0),
            "finish_reason": piece.reason,
        }
        for index, piece in enumerate(pieces)
    ]
    return {**head, "choices": choices, "usage": usage}


def embedding_answer(
    model: str, vectors: Sequence[np.ndarray[Any, Any]], tokens: int, *, in_base64: bool
) -> dict[str, Any]:
    """A list of embeddings; `usage` counts the inputs' tokens."""
    data = [
        {
            "object": "embedding",
            "index": index,
            "embedding": base64.b64encode(vector.astype("<f4").tobytes()).decode("ascii")
            if in_base64
            else vector.astype(float).tolist(),
        }
        for index, vector in enumerate(vectors)
    ]
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return {"object": "list", "data": data, "model": model, "usage": usage}


def error_body(error: InferenceRefused) -> dict[str, Any]:
    """OpenAI's form of a refusal."""
    return inference.error_body(
        error.message, kind=error.kind, code=error.openai_code, param=error.param
    )


def _refuse_what_it_cannot(
    body: Mapping[str, Any], able: Capabilities, operation: str, keys: set[str]
) -> None:
    """Refuse what the engine cannot, and what is neither in the table nor among `keys`."""
    lacking = first_unable(body, operation, able)
    if lacking is not None:
        raise unsupported(lacking)
    known = keys | {one.name for one in PARAMETERS if operation in one.operations}
    for param, value in body.items():
        if value is not None and param not in known:
            raise refusal(f"Unrecognized request argument supplied: {param}", param)


def _wanted(
    body: Mapping[str, Any],
    able: Capabilities,
    limit: str,
    *,
    logprobs: bool,
) -> Wanted:
    options = body.get("stream_options") or {}
    if not isinstance(options, dict):
        raise refusal("'stream_options' must be an object.", "stream_options")
    is_stream = _flag(body, "stream")
    for option, value in options.items():
        if value and option not in _STREAM_OPTIONS:
            param = f"stream_options.{option}"
            raise refusal(f"'{param}' is not known to this engine.", param)
    if body.get("stream_options") is not None and not is_stream:
        raise refusal(
            "The 'stream_options' parameter is only allowed when 'stream' is enabled.",
            "stream_options",
        )
    return Wanted(
        count=_whole(body, "n", 1, 1, able.most_answers),
        max_tokens=_whole(body, limit, 0, 1, None) or None,
        temperature=_number(body, "temperature", 1.0, 0.0, 2.0),
        top_p=_number(body, "top_p", 1.0, 0.0, 1.0),
        presence_penalty=_number(body, "presence_penalty", 0.0, -2.0, 2.0),
        frequency_penalty=_number(body, "frequency_penalty", 0.0, -2.0, 2.0),
        seed=None if body.get("seed") is None else _whole(body, "seed", 0, -(2**63), 2**63 - 1),
        stops=_stops(body.get("stop")),
        is_stream=is_stream,
        include_usage=_flag(options, "include_usage"),
        logprobs=logprobs,
    )


def _calling(body: Mapping[str, Any]) -> Calling | None:
    """The tools that may be called; the edge has looked at their shape."""
    tools = offered_tools(body)
    if not tools:
        return None
    is_legacy = bool(body.get("functions"))
    choice = body.get("function_call" if is_legacy else "tool_choice") or "auto"
    known: set[str] = set()
    for tool in tools:
        name = tool["function"]["name"]
        if name in known:
            param = "functions" if is_legacy else "tools"
            raise refusal(f"'{param}' has more than one function named '{name}'.", param)
        known.add(name)
    named = None if isinstance(choice, str) else choice.get("function", choice)["name"]
    return Calling(
        tools,
        is_forced=choice != "auto",
        named=named,
        is_parallel=not is_legacy and body.get("parallel_tool_calls") is not False,
        is_legacy=is_legacy,
    )


def refused_tools(calling: Calling, refused: Refused) -> InferenceRefused:
    """The refusal of tools whose calls the engine cannot hold an answer to."""
    param = _param_of_tools(calling)
    if not refused.context:
        return refusal(f"Invalid value for '{param}': {refused.why}", param)
    at, *context = refused.context
    name = calling.tools[int(at)]["function"]["name"]
    return refusal(
        f"Invalid schema for function '{name}': In context={tuple(context)}, {refused.why}",
        f"{param}[{at}].parameters" if calling.is_legacy else f"{param}[{at}].function.parameters",
        code="invalid_function_parameters",
    )


def refused_structure(wanted: Wanted, refused: Refused) -> InferenceRefused:
    """The refusal of tools or of a form that the engine cannot hold an answer to."""
    calling, form = wanted.calling, wanted.form
    if calling is None and form is not None:
        return refused_schema(form, refused)
    if form is not None and refused.context[:1] == (CONTENT,):
        return refused_schema(form, Refused(refused.why, refused.context[1:]))
    calling = calling or Calling()
    if form is not None and not refused.context:  # it may be the one, the other or both together
        param = _param_of_tools(calling)
        return refusal(
            f"Invalid value for '{param}' together with 'response_format': {refused.why}", param
        )
    return refused_tools(calling, refused)


def _param_of_tools(calling: Calling) -> str:
    return "functions" if calling.is_legacy else "tools"


def refused_schema(form: Form, refused: Refused) -> InferenceRefused:
    """The refusal of a schema that the engine cannot hold an answer to."""
    return refusal(
        f"Invalid schema for response_format '{form.name}': In context={refused.context}, "
        f"{refused.why}",
        "response_format",
    )


def _form(stated: Any) -> Form | None:
    """The form that an answer is to have, or None where it may be any text."""
    if stated is None:
        return None
    try:
        asked = inference.ResponseFormat.model_validate(stated)
    except ValidationError as error:
        raise refusal(f"'response_format' is invalid: {error}", "response_format") from error
    if asked.json_schema is not None:
        return Form({"schema": asked.json_schema.schema_}, asked.json_schema.name)
    return None if asked.type == "text" else Form({"object": None})


def _refuse_unread(message: Any, where: str) -> None:
    """Refuse a message with anything in it that nobody here reads."""
    for key, value in message.items() if isinstance(message, dict) else ():
        if key not in _MESSAGE_KEYS and value not in (None, "", [], {}):
            raise refusal(f"'{where}.{key}' is not known to this engine.", f"{where}.{key}")


def _texts_or_tokens(value: Any, param: str) -> list[str | list[int]]:
    """A string, a list of strings, a list of token ids or a list of such lists."""
    if isinstance(value, str):
        return [value]
    if not isinstance(value, list) or not value:
        raise refusal(f"'{param}' must be a string or a list of strings or tokens.", param)
    if _are_tokens(value):
        return [value]
    if len(value) > MOST_INPUTS:
        raise refusal(f"'{param}' has {len(value)} items; at most {MOST_INPUTS}.", param)
    for at, one in enumerate(value):
        if not isinstance(one, str) and not (isinstance(one, list) and one and _are_tokens(one)):
            raise refusal(
                f"'{param}[{at}]' must be a string or a list of tokens.", f"{param}[{at}]"
            )
    return value


def _are_tokens(value: list[Any]) -> bool:
    return all(isinstance(one, int) and not isinstance(one, bool) and one >= 0 for one in value)


def _stops(value: Any) -> tuple[str, ...]:
    stops = [value] if isinstance(value, str) else [] if value is None else value
    if not isinstance(stops, list) or not all(isinstance(stop, str) for stop in stops):
        raise refusal("'stop' must be a string or a list of strings.", "stop")
    if len(stops) > MOST_STOPS:
        raise refusal(f"'stop' has {len(stops)} strings; at most {MOST_STOPS}.", "stop")
    return tuple(stop for stop in stops if stop)


def _flag(body: Mapping[str, Any], param: str) -> bool:
    value = body.get(param)
    if value is None or isinstance(value, bool):
        return bool(value)
    raise refusal(f"'{param}' must be true or false.", param)


def _number(
    body: Mapping[str, Any], param: str, default: float, least: float, most: float
) -> float:
    value = body.get(param)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise refusal(f"'{param}' must be a number.", param)
    if not least <= value <= most:
        raise refusal(f"'{param}' is {value}; it must be between {least:g} and {most:g}.", param)
    return float(value)


def _whole(body: Mapping[str, Any], param: str, default: int, least: int, most: int | None) -> int:
    value = body.get(param)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int):
        raise refusal(f"'{param}' must be an integer.", param)
    if value < least or (most is not None and value > most):
        bounds = f"at least {least}" if most is None else f"between {least} and {most}"
        raise refusal(f"'{param}' is {value}; it must be {bounds}.", param)
    return value
