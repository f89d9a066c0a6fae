"""Retrieved documents in a chat's prompt, as many as its model's window takes."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from linarite.engines.place import ModelPlace
from linarite.engines.tokens import Tokens
from linarite.errors import InferenceRefused

_UNKNOWN_WINDOW = 8192
_ANSWER_TOKENS = 1024
"""Left for the answer where the chat does not say, but no more than a quarter of the window."""
_WORTH_SHOWING_TOKENS = 48
_BETWEEN_TOKENS, _AROUND_TOKENS = 4, 16
_CUT = 0.95
_FROM_DOCUMENTS_ALONE = (
    "Answer the question from the documents that stand before it, and from nothing else. After "
    "what you take from one put its mark, such as [doc1]."
)
"""It names no words for not knowing: small models say them whatever they have read."""
_WITH_DOCUMENTS = (
    "Use the documents that stand before the question where they help to answer it. After what "
    "you take from one put its mark, such as [doc1]."
)


@dataclass(frozen=True)
class Room:
    """What a model can read.

    Args:
        tokens: counts.
        place: where the model is.
        window: tokens of prompt and answer together; None where nobody knows.
    """

    tokens: Tokens
    place: ModelPlace
    window: int | None

    def cut(self, text: str, most: int) -> str:
        """The beginning of `text` that has at most so many tokens."""
        while text and (there := self.tokens.count_text(self.place, text).tokens) > most:
            text = text[: min(len(text) - 1, int(len(text) * _CUT * most / there))]
        return text


def with_documents(
    asked: Mapping[str, Any],
    documents: Sequence[tuple[str | None, str]],
    room: Room,
    *,
    role_information: str | None,
    in_scope: bool,
) -> tuple[dict[str, Any], int]:
    """The chat with documents before its last question, and how many there was room for.

    The best stands last, next to the question: what is far from it is read less, and by a small
    model hardly at all.

    Args:
        asked: the chat, which was found valid.
        documents: titles and texts, best first.
        room: what the model can read.
        role_information: what the model is to be told of its role.
        in_scope: whether it may answer from them alone.

    Raises:
        InferenceRefused: the chat leaves no room for any.
    """
    rules = _FROM_DOCUMENTS_ALONE if in_scope else _WITH_DOCUMENTS
    system = "\n\n".join(filter(None, [role_information, rules if documents else None]))
    bare = _told(asked, system) if system else dict(asked)
    if not documents:
        return bare, 0
    window = room.window or _UNKNOWN_WINDOW
    said = asked.get("max_completion_tokens") or asked.get("max_tokens")
    answer = said or min(_ANSWER_TOKENS, window // 4)
    left = window - answer - room.tokens.count_chat(room.place, bare).tokens - _AROUND_TOKENS
    shown: list[str] = []
    for number, (title, text) in enumerate(documents, start=1):
        head = f"[doc{number}] {title or ''}".rstrip() + "\n"
        cost = room.tokens.count_text(room.place, head + text).tokens + _BETWEEN_TOKENS
        if cost > left and left < _WORTH_SHOWING_TOKENS:
            break
        whole = head + text if cost <= left else room.cut(head + text, left - _BETWEEN_TOKENS)
        shown.append(whole)
        left -= cost
    if not shown:
        raise InferenceRefused(
            f"This model's maximum context length is {window} tokens, and the messages leave no "
            "room in it for retrieved documents. Please reduce the length of the messages.",
            param="messages",
            code="context_length_exceeded",
        )
    return _asking(bare, "\n\n".join(reversed(shown))), len(shown)


def question_of(asked: Mapping[str, Any]) -> str:
    """What is looked for: the last question, with the one before it where it is short.

    Raises:
        InferenceRefused: no user has said anything.
    """
    said = [_text(message) for message in asked["messages"] if message["role"] == "user"]
    if not said or not said[-1].strip():
        raise InferenceRefused(
            "A chat with 'data_sources' needs a message of the user, which is looked for.",
            param="messages",
        )
    last = said[-1].strip()
    is_short = len(last.split()) < 4
    return f"{said[-2].strip()} {last}" if is_short and len(said) > 1 else last


def _told(asked: Mapping[str, Any], system: str) -> dict[str, Any]:
    """The chat whose first message ends with `system`."""
    first, *others = asked["messages"]
    if first["role"] not in {"system", "developer"}:
        return {**asked, "messages": [{"role": "system", "content": system}, first, *others]}
    told = _changed(first, lambda text: f"{text}\n\n{system}")
    return {**asked, "messages": [told, *others]}


def _asking(asked: Mapping[str, Any], documents: str) -> dict[str, Any]:
    """The chat whose last question stands below the documents."""
    messages = list(asked["messages"])
    at = max(n for n, message in enumerate(messages) if message["role"] == "user")
    messages[at] = _changed(
        messages[at], lambda text: f"Documents:\n\n{documents}\n\nQuestion: {text}"
    )
    return {**asked, "messages": messages}


def _changed(message: Mapping[str, Any], change: Callable[[str], str]) -> dict[str, Any]:
    return {**message, "content": change(_text(message))}


def _text(message: Mapping[str, Any]) -> str:
    content = message.get("content") or ""
    if isinstance(content, str):
        return content
    return "\n".join(part.get("text") or "" for part in content)
