"""Chat templates: how a model wants a chat written down, run in a sandbox with a time limit.

A template comes with a model and is code: it sees only what it is given.
"""

import ctypes
import json
import threading
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, NoReturn

import jinja2
from jinja2.sandbox import ImmutableSandboxedEnvironment

from linarite import tool_words
from linarite.errors import InferenceRefused

_LIMIT_SECONDS = 2.0
_LOOK_SECONDS = 0.5
_TEMPLATE_FAULTS = (
    jinja2.TemplateError,
    TypeError,
    ValueError,
    AttributeError,
    LookupError,
    ArithmeticError,
    RecursionError,
)


class ChatTemplate:
    """A model's chat template, compiled."""

    def __init__(
        self, source: str, special: Mapping[str, str], limit_seconds: float = _LIMIT_SECONDS
    ) -> None:
        environment = ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
        )
        environment.filters["tojson"] = _to_json
        environment.globals["raise_exception"] = _refuse
        environment.globals["strftime_now"] = _now
        self._template = environment.from_string(source)
        self.form = tool_words.form_of(source)
        self._special = dict(special)
        self._limit_seconds = limit_seconds

    @classmethod
    def find(cls, hf_folder: Path) -> "ChatTemplate | None":
        """The template of a Hugging Face folder: ``chat_template.jinja`` or the tokenizer's."""
        source = template_source(hf_folder)
        if not source:
            return None
        config: dict[str, Any] = json.loads((hf_folder / "tokenizer_config.json").read_text())
        words = {name: _word(config.get(name)) for name in ("bos_token", "eos_token", "unk_token")}
        return cls(source, {name: word for name, word in words.items() if word is not None})

    def render(
        self, messages: Sequence[dict[str, Any]], tools: Sequence[Mapping[str, Any]] = ()
    ) -> str:
        """Write a chat down, up to where the assistant is to speak.

        Args:
            messages: with their content as text and the arguments of calls as objects.
            tools: that the assistant may call, in OpenAI's form.

        Raises:
            InferenceRefused: the template refuses these messages or takes too long (400).
        """
        if any(message.get("name") for message in messages) and not self._writes_names:
            messages = tool_words.with_names(messages)
        try:
            if self.form == tool_words.WORDS:
                messages, tools = tool_words.in_words(messages, tools), ()
            return self._written(messages, tools)
        except _TEMPLATE_FAULTS as error:
            raise InferenceRefused(
                f"This model's chat template refuses these messages: {error}", param="messages"
            ) from error
        except TimeoutError as error:
            raise InferenceRefused(
                f"This model's chat template took longer than {self._limit_seconds:g} seconds.",
                param="messages",
            ) from error

    @cached_property
    def _writes_names(self) -> bool:
        try:
            return tool_words.writes_names(self._written)
        except (*_TEMPLATE_FAULTS, TimeoutError):
            return False

    def _written(
        self, messages: Sequence[dict[str, Any]], tools: Sequence[Mapping[str, Any]] = ()
    ) -> str:
        with _Deadline(self._limit_seconds):
            return self._template.render(
                messages=list(messages),
                add_generation_prompt=True,
                tools=list(tools) or None,
                **self._special,
            )


def template_source(hf_folder: Path) -> str | None:
    """What a Hugging Face folder's chat template says, if it has one."""
    alone = hf_folder / "chat_template.jinja"
    if alone.exists():
        return alone.read_text()
    config: dict[str, Any] = json.loads((hf_folder / "tokenizer_config.json").read_text())
    source: str | list[dict[str, str]] | None = config.get("chat_template")
    if isinstance(source, list):
        named = {entry["name"]: entry["template"] for entry in source}
        return named.get("default")
    return source


class _Deadline:
    """Ends a block of this thread with TimeoutError when it takes longer than allowed.

    One watching thread looks at all open blocks twice a second and ends itself when there are
    none; a block costs a dictionary entry, not a thread.
    """

    _lock = threading.Lock()
    _open: ClassVar[dict[int, float]] = {}
    _fired: ClassVar[set[int]] = set()
    _watching = False

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._thread = threading.get_ident()

    def __enter__(self) -> None:
        with _Deadline._lock:
            _Deadline._open[self._thread] = time.monotonic() + self._seconds
            if not _Deadline._watching:
                _Deadline._watching = True
                threading.Thread(target=_Deadline._watch, daemon=True).start()

    def __exit__(self, *exc: object) -> None:
        with _Deadline._lock:
            _Deadline._open.pop(self._thread, None)
            if self._thread in _Deadline._fired:
                _Deadline._fired.discard(self._thread)
                _raise_in(self._thread, None)  # in case it has not arrived yet

    @staticmethod
    def _watch() -> None:
        while True:
            time.sleep(_LOOK_SECONDS)
            with _Deadline._lock:
                if not _Deadline._open:
                    _Deadline._watching = False
                    return
                now = time.monotonic()
                for thread, ends in list(_Deadline._open.items()):
                    if now > ends:
                        del _Deadline._open[thread]
                        _Deadline._fired.add(thread)
                        _raise_in(thread, TimeoutError)


def _raise_in(thread: int, error: type[BaseException] | None) -> None:
    """Make another thread raise at its next line of Python; None takes that back."""
    wanted = None if error is None else ctypes.py_object(error)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), wanted)


def _word(value: Any) -> str | None:
    return value.get("content") if isinstance(value, dict) else value


def _refuse(message: str) -> NoReturn:
    raise jinja2.TemplateError(message)


def _now(form: str) -> str:
    return datetime.now().astimezone().strftime(form)


def _to_json(value: Any, indent: int | None = None) -> str:
    return json.dumps(value, ensure_ascii=False, indent=indent)
