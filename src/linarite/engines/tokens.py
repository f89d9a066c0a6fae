"""How many tokens a prompt has: by the model's own tokenizer and template, or an honest guess."""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from linarite.engines.place import ModelPlace
from linarite.engines.refusals import ExtraMissing

_LETTERS_PER_TOKEN = 4
_TOKENS_PER_MESSAGE = 4


@dataclass(frozen=True)
class Count:
    """A number of tokens, and whether it was counted or guessed."""

    tokens: int
    is_exact: bool


class Tokens:
    """Counts for every model; tokenizers are loaded when first needed. Safe in threads."""

    def __init__(self) -> None:
        self._counters: dict[Path, _Counter | None] = {}
        self._lock = threading.Lock()

    def count_chat(self, place: ModelPlace, messages: Sequence[Mapping[str, Any]]) -> Count:
        """Tokens of a chat as its model is asked it, up to where the assistant speaks.

        Raises:
            InferenceRefused: the model's template refuses these messages.
        """
        counter = self._counter(place)
        if counter is None or counter.template is None:
            texts = [_text_of(message.get("content")) for message in messages]
            whole = sum(self._of_text(counter, text) for text in texts)
            return Count(whole + _TOKENS_PER_MESSAGE * len(messages), is_exact=False)
        plain = [{**message, "content": _text_of(message.get("content"))} for message in messages]
        text = counter.template.render(plain)
        encoded = counter.tokenizer.encode(text, add_special_tokens=False)
        return Count(len(encoded.ids), is_exact=True)

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

    def _of_text(self, counter: "_Counter | None", text: str) -> int:
        if counter is None:
            return -(-len(text) // _LETTERS_PER_TOKEN)
        return len(counter.tokenizer.encode(text).ids)

    def _counter(self, place: ModelPlace) -> "_Counter | None":
        folder = place.tokenizer_folder()
        if folder is None:
            return None
        with self._lock:
            if folder not in self._counters:
                self._counters[folder] = _Counter.load(folder)
            return self._counters[folder]


class _Counter:
    """A tokenizer and, where there is one, the template of chats."""

    def __init__(self, tokenizer: Any, template: Any) -> None:
        self.tokenizer = tokenizer
        self.template = template

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


def _text_of(content: Any) -> str:
    if isinstance(content, list):
        parts = [part.get(str(part.get("type"))) for part in content if isinstance(part, dict)]
        return "".join(part for part in parts if isinstance(part, str))
    return content if isinstance(content, str) else ""
