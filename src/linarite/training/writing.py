"""Examples as tokens: a chat written down by the model's own template, and what of it is learned.

What a model sees here is what the engine shows it later: the same template, the same
``tokenizer.json``, no special tokens added. Loss falls on the assistant's words and on the token
that ends its turn, on nothing else.
"""

import json
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import jinja2
from transformers import PreTrainedTokenizerFast

from linarite import tool_words
from linarite.training.data import BadLine, Chat, Completion, Supervised
from linarite.training.faults import TrainingFailure

_TEMPLATE_FAULTS = (jinja2.TemplateError, TypeError, ValueError, LookupError, AttributeError)

Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Tokens:
    """The tokens of an example, and which of them are learned."""

    ids: "array[int]"
    targets: "array[int]"
    """Places in `ids`, rising, from 1 on; each is predicted from all before it."""
    is_truncated: bool = False
    turns_left_out: int = 0
    """Turns to be learned that the template writes down otherwise once the chat goes on."""

    def __len__(self) -> int:
        return len(self.ids)


class Writer:
    """Writes examples down for one model."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast, longest: int) -> None:
        self._tokenizer = tokenizer
        self.longest = longest
        """Tokens of an example; what is over is cut off."""
        self._eos: str = tokenizer.eos_token or ""
        form = tool_words.form_of(tokenizer.chat_template or "")
        self._knows_tools = form != tool_words.WORDS
        self._special = tuple(tokenizer.all_special_tokens) + tuple(
            str(token) for token in tokenizer.added_tokens_decoder.values() if token.special
        )

    @classmethod
    def of_model(cls, hf_folder: Path, longest: int) -> "Writer":
        """The writer of a Hugging Face folder's model.

        Args:
            hf_folder: has ``tokenizer.json`` and ``tokenizer_config.json``.
            longest: tokens that the model can see at once.

        Raises:
            TrainingFailure: the folder's tokenizer cannot be read.
        """
        try:
            config: dict[str, Any] = json.loads((hf_folder / "tokenizer_config.json").read_text())
            words = {name: _word(config.get(name)) for name in ("bos_token", "eos_token")}
            tokenizer = PreTrainedTokenizerFast(
                tokenizer_file=str(hf_folder / "tokenizer.json"),
                **{name: word for name, word in words.items() if word},
            )
            tokenizer.chat_template = _template(hf_folder, config)
        except Exception as error:  # the Rust tokenizer raises nothing narrower
            raise TrainingFailure(
                "invalid_model",
                f"The tokenizer of this model cannot be read ({error}); add the model again.",
                "model",
            ) from error
        return cls(tokenizer, longest)

    def write(self, example: Supervised) -> Tokens:
        """Write an example down; raises BadLine when the model's template refuses it."""
        if isinstance(example, Completion):
            return self._completion(example)
        return self.write_chat(example)

    def write_chat(self, chat: Chat) -> Tokens:
        """Write a chat down; raises BadLine when the model's template refuses it."""
        if not self._tokenizer.chat_template:
            raise BadLine("it is a chat, but this model has no chat template.")
        if any(message.get("name") for message in chat.messages) and not self._writes_names:
            chat = replace(chat, messages=tool_words.with_names(chat.messages))
        chat = chat if self._knows_tools else _without_tools(chat)
        text, spans, left_out = self._spans(chat)
        encoded = self._tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        targets = _inside(encoded["offset_mapping"], spans)
        return self._cut(encoded["input_ids"], targets, left_out)

    @cached_property
    def _writes_names(self) -> bool:
        try:
            return tool_words.writes_names(
                lambda messages: self._render(Chat(messages, [False]), 1, for_answer=True)
            )
        except BadLine:
            return False

    def _completion(self, example: Completion) -> Tokens:
        prompt = self._tokenizer(example.prompt)["input_ids"]
        answer = self._tokenizer(example.completion + self._eos, add_special_tokens=False)
        ids = [*prompt, *answer["input_ids"]]
        return self._cut(ids, list(range(max(1, len(prompt)), len(ids))), 0)

    def _cut(self, ids: Sequence[int], targets: Sequence[int], left_out: int) -> Tokens:
        kept = [place for place in targets if 0 < place < self.longest]
        return Tokens(
            array("i", ids[: self.longest]),
            array("i", kept),
            is_truncated=len(ids) > self.longest,
            turns_left_out=left_out,
        )

    def _render(self, chat: Chat, count: int, *, for_answer: bool = False) -> str:
        """The first `count` messages, and if wanted what precedes the assistant's answer."""
        try:
            return str(
                self._tokenizer.apply_chat_template(
                    list(chat.messages[:count]),
                    tools=[dict(tool) for tool in chat.tools] or None,
                    add_generation_prompt=for_answer,
                    tokenize=False,
                )
            )
        except _TEMPLATE_FAULTS as error:
            raise BadLine(f"this model's chat template refuses it: {error}") from error

    def _spans(self, chat: Chat) -> tuple[str, list[Span], int]:
        """The text (given an end if it has none), where its learned turns are, how many lost."""
        text = self._render(chat, len(chat.messages))
        found = [
            self._span(text, chat, number) for number, learned in enumerate(chat.learned) if learned
        ]
        spans = [span for span in found if span is not None]
        if chat.learned[-1] and spans and not self._ends_turn(text):
            text = text.rstrip() + self._eos
            spans[-1] = (spans[-1][0], len(text))
        return text, spans, len(found) - len(spans)

    def _span(self, text: str, chat: Chat, number: int) -> Span | None:
        """From where the assistant begins to speak to the end of its turn; None if not there."""
        before = self._render(chat, number, for_answer=True) if number else ""
        after = self._render(chat, number + 1)
        turn = after.rstrip() if self._ends_turn(after) else after
        if number and turn.startswith(before) and text.startswith(turn):
            return len(before), len(turn)
        content = chat.messages[number]["content"].strip()
        start = text.find(content, len(before) if text.startswith(before) else 0)
        if not content or start < 0:
            return None
        end = start + len(content)
        closing = next((word for word in self._special if text.startswith(word, end)), "")
        return start, end + len(closing)

    def _ends_turn(self, text: str) -> bool:
        return text.rstrip().endswith(self._special)


def _inside(offsets: Sequence[Span], spans: Sequence[Span]) -> list[int]:
    """The tokens that begin inside one of the rising spans."""
    inside = []
    waiting = iter(spans)
    start, end = next(waiting, (0, 0))
    for place, (begins, _) in enumerate(offsets):
        while begins >= end and end:
            start, end = next(waiting, (0, 0))
        if start <= begins < end:
            inside.append(place)
    return inside


def _without_tools(chat: Chat) -> Chat:
    """The chat for a template that knows no tools: they and their calls are put in words."""
    has_calls = any("tool_calls" in one or one["role"] == "tool" for one in chat.messages)
    if not chat.tools and not has_calls:
        return chat
    messages = tool_words.in_words(chat.messages, chat.tools)
    # the assistant's turns, which alone are learned, are neither more nor fewer
    turns = zip(chat.messages, chat.learned, strict=True)
    learned = iter([flag for message, flag in turns if message["role"] == "assistant"])
    return Chat(
        messages, [message["role"] == "assistant" and next(learned) for message in messages]
    )


def _template(folder: Path, config: dict[str, Any]) -> str | None:
    alone = folder / "chat_template.jinja"
    if alone.exists():
        return alone.read_text()
    source = config.get("chat_template")
    if isinstance(source, list):
        return {entry["name"]: str(entry["template"]) for entry in source}.get("default")
    return source


def _word(value: Any) -> str | None:
    return value.get("content") if isinstance(value, dict) else value
