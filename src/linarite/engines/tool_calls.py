"""Calls of tools: what holds an answer to them, and how they are read out of its text.

From where a call begins an answer is held to the form that the model's template writes calls in, to
the names of the tools and to the schemas of their arguments; so whatever is read is well made, and
at most cut short.
"""

import secrets
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from linarite.engines.json_grammar import Rules, SchemaRefused, literal
from linarite.engines.text import Shield, beginning_of
from linarite.tool_words import CallForm

CONTENT = "content"
"""What the place of a fault begins with that is not in a tool."""
_NO_PARAMETERS = {"type": "object", "properties": {}, "additionalProperties": False}


@dataclass(frozen=True)
class Calling:
    """What tools a chat offers, and which of them its answer calls."""

    tools: Sequence[Mapping[str, Any]] = ()
    """In OpenAI's form."""
    is_forced: bool = False
    """Whether an answer is a call and nothing else."""
    named: str | None = None
    """The one tool that may be called; None for any."""
    is_parallel: bool = True
    """Whether several may be called."""
    is_legacy: bool = False
    """Whether it was asked with `functions`, and is to be answered so."""

    @property
    def finish_reason(self) -> str:
        """Why an answer that calls ended; a call of the named tool is an answer like any other."""
        if self.named is not None:
            return "stop"
        return "function_call" if self.is_legacy else "tool_calls"


@dataclass(frozen=True)
class CallPiece:
    """What is new of one call."""

    index: int
    """Which call of its answer."""
    arguments: str
    """JSON, or the next piece of it."""
    id: str | None = None
    """With the first piece alone, as is the name."""
    name: str | None = None
    is_legacy: bool = False


def asked(
    calling: Calling, form: CallForm, content: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """What an engine's structures are asked for: plain data, of which `grammar_of_calls` is made.

    Args:
        calling: whose tools are offered.
        form: how the model writes calls.
        content: what the structures are asked for an answer that calls nothing, where it is not
            any text; then an answer makes one call at most.
    """
    return {"calls": {"calling": asdict(calling), "form": asdict(form), "content": content}}


def grammar_of_calls(stated: Mapping[str, Any], writable: Collection[int] = range(256)) -> str:
    """The grammar of an answer that may call tools.

    Args:
        stated: what `asked` gave.
        writable: as `Rules` takes it.

    Raises:
        SchemaRefused: a strict tool's parameters, or the schema of an answer that calls nothing,
            cannot be followed; the first key of the place is the tool's number or `CONTENT`.
    """
    calling, form, content = (
        Calling(**stated["calling"]),
        CallForm(**stated["form"]),
        stated["content"],
    )
    rules = Rules(writable)
    begun = [
        f"{_written(tool['function']['name'] + form.middle)} {_arguments(rules, tool, at)}"
        for at, tool in enumerate(calling.tools)
        if calling.named in (None, tool["function"]["name"])
    ]
    end = _written(form.closing)
    call = rules.add(" | ".join(f"{_written(form.opening)} {one} {end}" for one in begun))
    is_single = not calling.is_parallel or form.separator is None or content is not None
    if calling.is_forced:
        again = "" if is_single or calling.named else f" ({_written(form.separator or '')} {call})*"
        return rules.text(call + again)
    if content is not None:
        is_json = form.opening.startswith("{")
        return rules.text(f"{call} | {_content(rules, content, is_unlike_calls=is_json)}")
    rest = _written(form.opening.removeprefix(form.trigger))
    triggered = rules.add(" | ".join(f"{rest} {one} {end}" for one in begun))
    loops = "false" if is_single else "true"
    return rules.text(
        f"TagDispatch(({_written(form.trigger)}, {triggered}), stop_eos=true, stop_str=(), "
        f"loop_after_dispatch={loops})"
    )


def _arguments(rules: Rules, tool: Mapping[str, Any], at: int) -> str:
    """The rule of a tool's arguments.

    A schema that cannot be followed is only what a tool that is not strict would like to have.
    """
    function = tool["function"]
    try:
        return rules.add_schema(function.get("parameters") or _NO_PARAMETERS)
    except SchemaRefused as refused:
        if function.get("strict"):
            raise SchemaRefused((str(at), *refused.context), refused.why) from None
        return "object"


def _content(rules: Rules, content: Mapping[str, Any], *, is_unlike_calls: bool) -> str:
    """The rule of an answer that calls nothing.

    Where calls are JSON themselves, it is written so that none can begin like one: those have a
    blank between the name and what follows it.
    """
    if "schema" not in content:
        return rules.add_tight_object() if is_unlike_calls else "object"
    try:
        return rules.add_schema(content["schema"], is_tight=is_unlike_calls)
    except SchemaRefused as refused:
        raise SchemaRefused((CONTENT, *refused.context), refused.why) from None


class CallReader:
    """Reads the calls out of one answer's text as it comes.

    The text was held to `grammar_of_calls`. Blanks around calls are nobody's; a call that is cut
    short before its arguments is dropped, and so is what may have become one.

    Args:
        form: how the model writes calls.
        calling: what may be called.
        has_form: whether an answer that calls nothing has a form: then only its very beginning
            tells a call, for what it says may hold the signs of one.
    """

    def __init__(self, form: CallForm, calling: Calling, *, has_form: bool = False) -> None:
        names = [tool["function"]["name"] for tool in calling.tools]
        self._begun = [form.opening + name + form.middle for name in names]
        self.shield = Shield(self._begun, at_start=True) if has_form else Shield([form.trigger])
        self._form = form
        self._calling = calling
        self._held = ""  # what may become part of a call, or blanks before one
        self._state = self._opening if has_form else self._outside
        self._json = _JsonEnd()
        self._pieces: list[CallPiece] = []
        self._count = 0
        self._follows_call = False

    def read(self, text: str, reason: str | None) -> tuple[str, list[CallPiece], str | None]:
        """Take text in, with the reason of its end if it is the last.

        Returns:
            What is certain to be no call, the new pieces of calls, the reason as it is to be told.
        """
        self._held += text
        content = []
        state = None
        while state is not self._state:
            state = self._state
            content.append(state())
        if reason is not None and self._state == self._outside:
            cut = beginning_of(self._form.trigger, self._held) if reason == "length" else 0
            content.append(self._held[: len(self._held) - cut])
        if reason == "stop" and self._state == self._opening:
            content.append(self._held)
        pieces, self._pieces = self._pieces, []
        calls_and_stops = reason == "stop" and self._count > 0
        return "".join(content), pieces, self._calling.finish_reason if calls_and_stops else reason

    def _outside(self) -> str:
        if self._follows_call:
            self._held = self._held.lstrip()
        before, found, after = self._held.partition(self._form.trigger)
        if found:
            self._held = found + after
            self._state = self._opening
            return before.rstrip()
        certain = before[: len(before) - beginning_of(self._form.trigger, before)].rstrip()
        self._held = before[len(certain) :]
        self._follows_call = self._follows_call and not certain
        return certain

    def _opening(self) -> str:
        begun = next((one for one in self._begun if self._held.startswith(one)), None)
        if begun is not None:
            name = begun.removeprefix(self._form.opening).removesuffix(self._form.middle)
            self._held = self._held.removeprefix(begun)
            self._state = self._arguments
            self._json = _JsonEnd()
            self._count += 1
            self._add("", f"call_{secrets.token_hex(12)}", name)
        elif not any(one.startswith(self._held) for one in self._begun):
            self._state = self._content
        return ""

    def _content(self) -> str:
        said, self._held = self._held, ""
        return said

    def _arguments(self) -> str:
        length = self._json.look(self._held)
        if length:
            self._add(self._held[:length])
            self._held = self._held[length:]
        if self._json.is_reached:
            self._state = self._closing
        return ""

    def _closing(self) -> str:
        if len(self._held) >= len(self._form.closing):
            self._held = self._held[len(self._form.closing) :]
            self._follows_call = True
            self._state = self._outside
        return ""

    def _add(self, arguments: str, call_id: str | None = None, name: str | None = None) -> None:
        legacy = self._calling.is_legacy
        self._pieces.append(CallPiece(self._count - 1, arguments, call_id, name, legacy))


def joined(pieces: Sequence[CallPiece]) -> list[CallPiece]:
    """The calls that an answer's pieces come to."""
    whole: list[CallPiece] = []
    for piece in pieces:
        if piece.name is not None:
            whole.append(piece)
        else:
            whole[-1] = replace(whole[-1], arguments=whole[-1].arguments + piece.arguments)
    return whole


class _JsonEnd:
    """Looks for the end of a JSON object whose text comes in pieces."""

    def __init__(self) -> None:
        self._depth = 0
        self._is_in_string = False
        self._is_escaped = False
        self.is_reached = False

    def look(self, text: str) -> int:
        """How many letters of `text` belong to the object."""
        for place, letter in enumerate(text):
            if self._is_in_string:
                self._is_in_string = self._is_escaped or letter != '"'
                self._is_escaped = letter == "\\" and not self._is_escaped
            elif letter == '"':
                self._is_in_string = True
            elif letter in "{[":
                self._depth += 1
            elif letter in "}]":
                self._depth -= 1
                if not self._depth:
                    self.is_reached = True
                    return place + 1
        return len(text)


def _written(text: str) -> str:
    """An expression that writes this text, which may have several lines."""
    return literal(text).replace("\n", "\\n")
