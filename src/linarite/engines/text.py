"""From token ids to text as they come: no broken letters, and nothing beyond a stop string."""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

from tokenizers import Tokenizer

_BROKEN = "\N{REPLACEMENT CHARACTER}"
_CONTEXT_TOKENS = 6
_MOST_TOKENS = 64
"""Looked at of an answer whose bytes are no letters: more of them would take ever longer."""


@dataclass(frozen=True)
class Shield:
    """From where on nothing ends a text, not even a stop string within these signs."""

    signs: Sequence[str]
    at_start: bool = False
    """Whether it is only there if the text begins with one of them."""

    def begins(self, text: str, *, is_whole: bool, is_last: bool) -> int:
        """Where in `text` it begins or, if it may still come, may begin; else the end.

        Args:
            text: what the shield is looked for in.
            is_whole: whether nothing of the text comes before.
            is_last: whether nothing comes after.
        """
        if self.at_start:
            may_come = not is_last and any(sign.startswith(text) for sign in self.signs)
            is_here = is_whole and (may_come or text.startswith(tuple(self.signs)))
            return 0 if is_here else len(text)
        places = [place for sign in self.signs if (place := text.find(sign)) >= 0]
        if places or is_last:
            return min(places, default=len(text))
        return len(text) - max(beginning_of(sign, text) for sign in self.signs)


class TextStream:
    """The text of one answer as its tokens come.

    Args:
        tokenizer: the model's.
        stops: strings that end the text and are not part of it.
        shield: from where on none of them ends it.
    """

    def __init__(
        self, tokenizer: Tokenizer, stops: Sequence[str] = (), shield: Shield | None = None
    ) -> None:
        self._tokenizer = tokenizer
        self._stops = tuple(stops)
        self._shield = shield
        self.tokens: list[int] = []
        self._start = 0  # decoding begins here, so that the first new token has its neighbours
        self._shown = 0  # tokens whose text is given out
        self._held = ""  # text that may be the beginning of a stop string
        self._starts: list[int] = []  # where in the text that of each decoded token begins
        self._letters = 0  # how long the decoded text is
        self._given = 0  # how much of it is given out
        self._is_ended = False
        self.is_stopped = False

    @property
    def count(self) -> int:
        """How many tokens it took in."""
        return len(self.tokens)

    @property
    def told(self) -> int:
        """How many tokens, from the first on, have had text of theirs given out."""
        if self._is_ended and not self.is_stopped:
            return len(self.tokens)
        return bisect_left(self._starts, self._given)

    def add(self, tokens: Sequence[int]) -> str:
        """Take tokens in; the text that is certain now."""
        fresh = []
        for token in tokens:
            if self.is_stopped:
                break
            self.tokens.append(token)
            fresh.append(self._past_stops(self._decode(is_last=False), is_last=False))
        return "".join(fresh)

    def end(self) -> str:
        """The rest of the text, when no token will follow."""
        if self.is_stopped:
            return ""
        self._is_ended = True
        return self._past_stops(self._decode(is_last=True), is_last=True)

    def _decode(self, *, is_last: bool) -> str:
        before = self._tokenizer.decode(self.tokens[self._start : self._shown])
        after = self._tokenizer.decode(self.tokens[self._start :])
        may_go_on = after.endswith(_BROKEN) or len(after) <= len(before)
        if may_go_on and not is_last and len(self.tokens) - self._shown < _MOST_TOKENS:
            return ""
        self._start = max(self._start, self._shown - _CONTEXT_TOKENS)
        while self._start > max(0, self._shown - _MOST_TOKENS) and self._is_inside_letter():
            self._start -= 1
        self._starts += [self._letters] * (len(self.tokens) - self._shown)
        self._shown = len(self.tokens)
        self._letters += len(after) - len(before)
        return after[len(before) :]

    def _is_inside_letter(self) -> bool:
        first = self._tokenizer.decode(self.tokens[self._start : self._shown])
        return first.startswith(_BROKEN)

    def _past_stops(self, fresh: str, *, is_last: bool) -> str:
        text = self._before_stops(fresh, is_last=is_last)
        self._given += len(text)
        return text

    def _before_stops(self, fresh: str, *, is_last: bool) -> str:
        if not self._stops:
            return fresh
        text = self._held + fresh
        self._held = ""
        found = [place for stop in self._stops if (place := text.find(stop)) >= 0]
        shielded = len(text)
        if self._shield is not None:
            shielded = self._shield.begins(text, is_whole=not self._given, is_last=is_last)
        if found and min(found) < shielded:
            self.is_stopped = True
            return text[: min(found)]
        if self._shield is not None and text.startswith(tuple(self._shield.signs), shielded):
            self._stops = ()
            return text
        keep = 0 if is_last else max(beginning_of(stop, text) for stop in self._stops)
        kept_from = min(len(text) - keep, shielded)
        self._held = text[kept_from:]
        return text[:kept_from]


def beginning_of(word: str, text: str) -> int:
    """How many letters at the end of `text` may be the beginning of `word`."""
    longest = min(len(word) - 1, len(text))
    return next((size for size in range(longest, 0, -1) if word.startswith(text[-size:])), 0)
