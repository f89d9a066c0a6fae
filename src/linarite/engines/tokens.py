"""How many tokens a prompt has: by the model's own tokenizer and template, or an honest guess."""

import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from linarite.engines.messages import offered_tools, read_message
from linarite.engines.place import ModelPlace
from linarite.engines.refusals import ExtraMissing
from linarite.errors import InferenceRefused

_LETTERS_PER_TOKEN = 4
_TOKENS_PER_MESSAGE = 4
_USUAL_MARKS = (
    r"<\|[^|<>\s]{1,40}\|>|<\uff5c[^\uff5c<>]{1,40}\uff5c>|</?s>|<</?SYS>>|"
    r"\[/?(?:INST|SYSTEM_PROMPT|TOOL_CALLS)\]|<(?:start|end)_of_turn>"
)
_MOST_COUNTERS = 32
"""Tokenizers that are kept: each takes some ten megabytes, and every tuned model has its own."""


@dataclass(frozen=True)
class Count:
    """A number of tokens, and whether it was counted or guessed."""

    tokens: int
    is_exact: bool


def encoded(tokenizer: Any, text: str, *, adds_special: bool = True) -> list[int]:
    """The tokens of a text; other threads run meanwhile, which `encode` does not let them."""
    ids: list[int] = tokenizer.encode_batch_fast([text], add_special_tokens=adds_special)[0].ids
    return ids


class Tokens:
    """Counts for every model; tokenizers are loaded when first needed. Safe in threads."""

    def __init__(self) -> None:
        self._counters: dict[Path, _Counter] = {}  # the one that was asked last at the end
        self._lock = threading.Lock()

    def count_chat(self, place: ModelPlace, body: Mapping[str, Any]) -> Count:
        """Tokens of a chat as its model is asked it, up to where the assistant speaks.

        Guessed where there is no template, or it refuses the chat: another engine may not.

        Args:
            place: where the model is.
            body: the request, well made; its messages and the tools on offer are counted.
        """
        counter, asked = self._counter(place), body["messages"]
        if counter is not None and counter.template is not None:
            try:
                messages = [read_message(item, at) for at, item in enumerate(asked)]
                text = counter.template.render(messages, offered_tools(body))
            except InferenceRefused:
                pass
            else:
                ids = encoded(counter.tokenizer, text, adds_special=False)
                return Count(len(ids), is_exact=True)
        whole = sum(self._of_text(counter, text) for text in _texts(body))
        return Count(whole + _TOKENS_PER_MESSAGE * len(asked), is_exact=False)

    def count_text(self, place: ModelPlace, given: str | Sequence[Any]) -> Count:
        """Tokens of a prompt or an input: text, token ids, or a list of either."""
        counter = self._counter(place)
        if isinstance(given, str):
            return Count(self._of_text(counter, given), is_exact=counter is not None)
        if all(isinstance(one, int) for one in given):
            return Count(len(given), is_exact=True)
        counts = [self.count_text(place, one) for one in given]
        total = sum(count.tokens for count in counts)
        return Count(total, all(count.is_exact for count in counts))

    def without_marks(self, place: ModelPlace, text: str) -> str:
        """A text in which nothing is read as a mark of the model's, such as one of a role's end.

        In a chat's template a mark that is written out is as good as the template's own; here it
        gets a space. Where nobody knows the tokenizer, and with it, the usual ones do.
        """
        counter = self._counter(place)
        marks = re.compile(_USUAL_MARKS) if counter is None else counter.marks
        return marks.sub(lambda mark: f"{mark[0][0]} {mark[0][1:]}", text)

    def _of_text(self, counter: "_Counter | None", text: str) -> int:
        if counter is None:
            return -(-len(text) // _LETTERS_PER_TOKEN)
        return len(encoded(counter.tokenizer, text))

    def _counter(self, place: ModelPlace) -> "_Counter | None":
        folder = place.tokenizer_folder()
        if folder is None:
            return None
        with self._lock:
            counter = self._counters.pop(folder, None) or _Counter.load(folder)
            if counter is not None:  # else it may still come
                self._counters[folder] = counter
            while len(self._counters) > _MOST_COUNTERS:
                del self._counters[next(iter(self._counters))]
            return counter


class _Counter:
    """A tokenizer and, where there is one, the template of chats."""

    def __init__(self, tokenizer: Any, template: Any) -> None:
        self.tokenizer = tokenizer
        self.template = template
        added = tokenizer.get_added_tokens_decoder().values()
        own = sorted((it.content for it in added if it.special), key=len, reverse=True)
        self.marks = re.compile("|".join([*map(re.escape, filter(None, own)), _USUAL_MARKS]))
        """What the tokenizer takes for more than text."""

    @classmethod
    def load(cls, folder: Path) -> "_Counter | None":
        try:
            from tokenizers import Tokenizer
        except ImportError as error:
            raise ExtraMissing(
                "Counting tokens needs the package `tokenizers`: pip install 'linarite[local]'."
            ) from error
        from linarite.engines.templates import ChatTemplate

        if not (folder / "tokenizer.json").exists():
            return None
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        tokenizer.no_truncation()
        tokenizer.no_padding()
        has_config = (folder / "tokenizer_config.json").exists()
        return cls(tokenizer, ChatTemplate.find(folder) if has_config else None)


def _texts(body: Mapping[str, Any]) -> Iterator[str]:
    """What there is to read in a chat, whatever form it is shown in."""
    for message in body["messages"]:
        yield _text_of(message.get("content") or message.get("refusal"))
        for key in ("tool_calls", "function_call"):
            if message.get(key):
                yield orjson.dumps(message[key]).decode()
    if tools := offered_tools(body):
        yield orjson.dumps(tools).decode()


def _text_of(content: Any) -> str:
    if isinstance(content, list):
        parts = [part.get(str(part.get("type"))) for part in content if isinstance(part, dict)]
        return "".join(part for part in parts if isinstance(part, str))
    return content if isinstance(content, str) else ""
