"""Training files: the chats, completions and preferences that their lines hold.

Reads JSON Lines and judges each line for the method that is to learn from it; what is at fault is
told with its line number. Knows no tokens.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from linarite.training.faults import TrainingFailure

LEAST_EXAMPLES = 10
_FAULTS_SHOWN = 5
_FAULTS_SOUGHT = 100
_FAULT_CHARACTERS = 300
"""Of what is shown of one fault: it may quote the line, and a line may be long."""
_BOM = b"\xef\xbb\xbf"
_ROLES = {"developer": "system", "function": "tool"}
_KNOWN_ROLES = ("system", "developer", "user", "assistant", "tool", "function")

Message = dict[str, Any]


@dataclass(frozen=True)
class Chat:
    """A chat, and which of its messages are to be learned."""

    messages: Sequence[Message]
    learned: Sequence[bool]
    tools: Sequence[Mapping[str, Any]] = ()


@dataclass(frozen=True)
class Completion:
    """A text and how it is to go on."""

    prompt: str
    completion: str


@dataclass(frozen=True)
class Preference:
    """Two ends of one chat, of which the first is the better one."""

    preferred: Chat
    rejected: Chat


Supervised = Chat | Completion
_Example = TypeVar("_Example")


class BadLine(ValueError):
    """A line that is at fault."""


class NothingToLearn(Exception):
    """A line that is well made but of which nothing is to be learned."""


@dataclass(frozen=True)
class DataFile:
    """A file of examples and the role it plays for its job."""

    path: Path
    is_validation: bool = False

    @property
    def name(self) -> str:
        """What the file is called in the job."""
        return "validation" if self.is_validation else "training"

    def failure(self, what: str, code: str | None = None) -> TrainingFailure:
        """The job's end because of this file."""
        return TrainingFailure(
            code or f"invalid_{self.name}_file",
            f"{self.name.capitalize()} data validation failed. {what}",
            f"{self.name}_file",
        )

    def refuse(self, faults: Sequence[tuple[int, str]]) -> None:
        """Raise TrainingFailure when there are faults (line number, what is wrong)."""
        if not faults:
            return
        shown = " ".join(f"Line {number}: {fault}" for number, fault in faults[:_FAULTS_SHOWN])
        if (more := len(faults) - _FAULTS_SHOWN) > 0:
            shown += f" {more} more {'lines are' if more > 1 else 'line is'} at fault."
        raise self.failure(shown)


def read_examples(
    file: DataFile, learn_from: Callable[[Message], _Example]
) -> tuple[list[_Example], int]:
    """Go through a file's lines once, and keep of each what `learn_from` makes of its object.

    Args:
        file: the file and its role.
        learn_from: makes an example of an object; raises BadLine or NothingToLearn.

    Returns:
        The examples, and the number of those of which nothing is to be learned.

    Raises:
        TrainingFailure: lines are at fault or too few.
    """
    examples: list[_Example] = []
    left_out = 0
    faults: list[tuple[int, str]] = []
    for number, text in _texts(file.path):
        try:
            examples.append(learn_from(_object(text)))
        except NothingToLearn:
            left_out += 1
        except BadLine as fault:
            faults.append((number, _shown(str(fault))))
        except RecursionError:  # a tool or a call may be of any depth
            faults.append((number, "it is nested too deeply."))
        if len(faults) == _FAULTS_SOUGHT:
            break
    file.refuse(faults)
    least = 1 if file.is_validation else LEAST_EXAMPLES
    if (count := len(examples) + left_out) < least:
        raise file.failure(
            f"{file.name.capitalize()} file has {count} example(s), "
            f"but must have at least {least} examples",
            "invalid_n_examples",
        )
    return examples, left_out


def _shown(fault: str) -> str:
    return fault if len(fault) <= _FAULT_CHARACTERS else f"{fault[:_FAULT_CHARACTERS]}…"


def _texts(path: Path) -> Iterator[tuple[int, bytes]]:
    with path.open("rb") as stream:
        for number, line in enumerate(stream, 1):
            text = line.removeprefix(_BOM) if number == 1 else line
            if text.strip():
                yield number, text


def _object(text: bytes) -> Message:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise BadLine(f"it is not valid JSON ({error}).") from None
    if not isinstance(value, dict):
        raise BadLine("it is not a JSON object.")
    return value


def supervised(example: Message) -> Supervised:
    """What the method "supervised" learns from a line; raises BadLine."""
    if "messages" in example:
        messages, learned = _messages(example["messages"], "messages")
        if "assistant" not in {message["role"] for message in messages}:
            raise BadLine('"messages" has no assistant message, so there is nothing to learn.')
        return Chat(messages, learned, _tools(example))
    if "completion" in example:
        prompt, completion = example.get("prompt", example.get("context")), example["completion"]
        if not isinstance(prompt, str) or not isinstance(completion, str):
            raise BadLine('"prompt" and "completion" must be strings.')
        return Completion(prompt, completion)
    if "preferred_output" in example:
        raise BadLine('it is a preference, which only the method "dpo" learns from.')
    raise BadLine('it has no "messages".')


def preference(example: Message) -> Preference:
    """What the method "dpo" learns from a line; raises BadLine."""
    asked = example.get("input")
    if not isinstance(asked, dict) or "messages" not in asked:
        if "messages" in example or "completion" in example:
            raise BadLine(
                'the method "dpo" learns from "input", "preferred_output" and '
                '"non_preferred_output"; this line is for the method "supervised".'
            )
        raise BadLine('"input" must be an object with "messages".')
    begin, _ = _messages(asked["messages"], "input.messages")
    tools = _tools(asked)
    return Preference(
        _ending(example, "preferred_output", begin, tools),
        _ending(example, "non_preferred_output", begin, tools),
    )


def _ending(
    example: Message, key: str, begin: list[Message], tools: Sequence[Mapping[str, Any]]
) -> Chat:
    messages, _ = _messages(example.get(key), key)
    roles = [message["role"] for message in messages]
    if "assistant" not in roles or set(roles) - {"assistant", "tool"}:
        raise BadLine(f'"{key}" must be assistant messages, with tool messages between at most.')
    learned = [False] * len(begin) + [role == "assistant" for role in roles]
    return Chat([*begin, *messages], learned, tools)


def _messages(given: object, path: str) -> tuple[list[Message], list[bool]]:
    """The messages as templates know them, and which are learned."""
    if not isinstance(given, list) or not given:
        raise BadLine(f'"{path}" must be a list of messages that is not empty.')
    messages, learned = [], []
    for number, message in enumerate(given):
        if not isinstance(message, dict) or message.get("role") not in _KNOWN_ROLES:
            raise BadLine(f"{path}[{number}] must be an object with a known role.")
        messages.append(_message(message, f"{path}[{number}]"))
        learned.append(message["role"] == "assistant" and _weight(message, path, number) == 1)
    return messages, learned


def _weight(message: Message, path: str, number: int) -> float:
    weight = message.get("weight")
    if weight is None:
        return 1
    if isinstance(weight, bool) or weight not in (0, 1):
        raise BadLine(f"{path}[{number}].weight is {weight!r}; it must be 0 or 1.")
    return float(weight)


def _message(message: Message, path: str) -> Message:
    role = _ROLES.get(message["role"], message["role"])
    plain: Message = {"role": role, "content": _text(message, path)}
    calls = message.get("tool_calls") or _legacy_call(message.get("function_call"))
    if calls:
        plain["tool_calls"] = [_call(call, path) for call in calls]
    for key in ("name", "tool_call_id"):
        if isinstance(message.get(key), str):
            plain[key] = message[key]
    return plain


def _text(message: Message, path: str) -> str:
    content = message.get("content")
    if content is None:
        refusal = message.get("refusal")
        if isinstance(refusal, str):
            return refusal
        if message.get("tool_calls") or message.get("function_call"):
            return ""
        raise BadLine(f'{path} has no "content".')
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise BadLine(f"{path}.content must be a string or a list of parts.")
    return "".join(_part(part, f"{path}.content[{n}]") for n, part in enumerate(content))


def _part(part: object, path: str) -> str:
    kind = part.get("type") if isinstance(part, dict) else None
    if kind == "image_url":
        raise BadLine(f"{path} is an image; models are tuned on text only.")
    said = part.get(kind) if isinstance(part, dict) and kind in ("text", "refusal") else None
    if not isinstance(said, str):
        raise BadLine(f"{path} must be a part of the type text, or how an assistant refused.")
    return said


def _legacy_call(call: object) -> list[Message]:
    return [{"function": call}] if isinstance(call, dict) else []


def _call(call: object, path: str) -> Message:
    """A tool call with its arguments as an object, which is how templates want them."""
    function = call.get("function") if isinstance(call, dict) else None
    if not isinstance(call, dict) or not isinstance(function, dict) or "name" not in function:
        raise BadLine(f'{path}.tool_calls must have a "function" with a "name".')
    arguments = function.get("arguments") or "{}"
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments)
        except ValueError:
            raise BadLine(
                f"{path} calls {function['name']} with arguments that are no JSON."
            ) from None
    named = {"name": function["name"], "arguments": arguments}
    return {"type": "function", "function": named} | ({"id": call["id"]} if "id" in call else {})


def _tools(owner: Message) -> Sequence[Mapping[str, Any]]:
    key = "functions" if owner.get("tools") is None else "tools"
    given = owner.get(key)
    if given is None:
        return ()
    if not isinstance(given, list) or not all(isinstance(one, dict) for one in given):
        raise BadLine(f'"{key}" must be a list of objects.')
    return given if key == "tools" else [{"type": "function", "function": one} for one in given]
