"""Long texts to pieces that an embedding model takes whole.

Cut where Markdown has its joints (headings, blocks, rows, sentences, words), by the tokens of the
model. What has no joints, such as a line of base64, is cut by length alone.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.metadata import version

from semantic_text_splitter import MarkdownSplitter
from tokenizers import Tokenizer

from linarite.indexing.counting import TokenCounter, guessed_tokens

DEFAULT_MAX_TOKENS = 1024
DEFAULT_OVERLAP_TOKENS = 128
LEAST_TOKENS = 16
_RULES = 2
"""Raised by whoever changes where texts are cut."""
_RUN = re.compile(r"\S{500,}")
"""What the splitter would take a time for that grows with the square of its length."""
_SECTION_CHARACTERS_PER_TOKEN = 32
"""Of what the splitter is given at once: in hostile nesting, too, its time grows like a square."""
_WINDOW_CHARACTERS_PER_TOKEN = 4
_MOST_CHARACTERS_PER_TOKEN = 16
"""Of a piece: a tokenizer of words knows an endless one as one unknown token."""
_FILLED = 0.92
"""How full of tokens pieces are meant to be when they are cut by characters."""
_GOOD_END = re.compile(r"[\s!?;,.|>)\]}\u3001\u3002\uff01\uff0c\uff0e\uff1b\uff1f]")
_JOINED = re.compile(r"[\u0300-\u036f\u200d\ufe00-\ufe0f\U0001f3fb-\U0001f3ff]")
"""What belongs to the character before it: accents, joiners, variants, tones of skin."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of a text: `text[start:start + len(piece.text)]`, in characters."""

    start: int
    text: str

    @property
    def end(self) -> int:
        return self.start + len(self.text)


@dataclass(frozen=True, slots=True)
class Cutting:
    """How texts are cut.

    Args:
        tokenizer: the model's, as JSON; None: tokens are guessed, rather too many than too few.
        max_tokens: of a piece, the model's special tokens included; at least 16.
        overlap_tokens: how much of a piece the next one may repeat; at most a quarter of
            `max_tokens` is taken.

    Raises:
        ValueError: `max_tokens` is too small.
    """

    tokenizer: str | None = field(default=None, repr=False)
    max_tokens: int = DEFAULT_MAX_TOKENS
    overlap_tokens: int = DEFAULT_OVERLAP_TOKENS

    def __post_init__(self) -> None:
        if self.max_tokens < LEAST_TOKENS:
            raise ValueError(
                f"A chunk of {self.max_tokens} tokens is too small: {LEAST_TOKENS} at least."
            )

    @property
    def repeated_tokens(self) -> int:
        """The overlap that is taken."""
        return max(0, min(self.overlap_tokens, self.max_tokens // 4))

    @property
    def fingerprint(self) -> str:
        """Changes with whatever may change where texts are cut, but for the model."""
        library = f"semantic-text-splitter-{version('semantic-text-splitter')}"
        guess = "" if self.tokenizer is not None else " guessed"
        return f"{_RULES} {self.max_tokens}/{self.repeated_tokens}{guess} {library}"


class Chunker:
    """Cuts texts; never a piece over the most tokens.

    Args:
        cutting: how.
    """

    def __init__(self, cutting: Cutting) -> None:
        self._max_tokens = cutting.max_tokens
        self._overlap_tokens = cutting.repeated_tokens
        self._tokenizer = None if cutting.tokenizer is None else _unbounded(cutting.tokenizer)
        self._tokens = (
            guessed_tokens if self._tokenizer is None else TokenCounter(self._tokenizer).count
        )
        self._splitter = self._new_splitter()

    def chunk(self, text: str) -> list[Piece]:
        """The pieces of a text, in order; only whitespace is in none of them.

        Takes a time in proportion to the text. A blank text has no pieces.
        """
        pieces: list[Piece] = []
        done = 0
        for run in _RUN.finditer(text):
            self._append_sections(pieces, text, done, run.start())
            start = run.start()
            if pieces and done < start and self._tokens(pieces[-1].text) < self._max_tokens // 4:
                start = pieces.pop().start  # a heading stays with what it is of
            pieces.extend(self._cut(text, start, run.end()))
            done = run.end()
        self._append_sections(pieces, text, done, len(text))
        return pieces

    def _append_sections(self, pieces: list[Piece], text: str, start: int, end: int) -> None:
        """Cut what has joints, a section at a time, each to the end of a paragraph or line."""
        length = self._max_tokens * _SECTION_CHARACTERS_PER_TOKEN
        while end - start > length:
            half, stop = start + length // 2, start + length
            ends = (text.rfind(joint, half, stop) for joint in ("\n\n", "\n", " "))
            stop = next((found + 1 for found in ends if found >= 0), stop)
            self._append_prose(pieces, text, start, stop)
            start = stop
        self._append_prose(pieces, text, start, end)

    def _append_prose(self, pieces: list[Piece], text: str, start: int, end: int) -> None:
        """Cut a section; its first piece joins the last one where they fit into one."""
        found = self._pieces(text, start, end)
        if pieces and found:
            both = text[pieces[-1].start : found[0].end]
            if self._fits(both):
                found[0] = Piece(pieces.pop().start, both)
        pieces.extend(found)

    def _pieces(self, text: str, start: int, end: int) -> list[Piece]:
        """The pieces of a section.

        Cut first by characters, as many as the section has for its tokens: the splitter counts
        those at no cost, and tokens many times over. What is still too long is cut by tokens.
        """
        section = text[start:end]
        if not section.strip():
            return []
        length = len(section)
        tokens = self._tokens(section)
        if tokens <= self._max_tokens and length <= self._max_tokens * _MOST_CHARACTERS_PER_TOKEN:
            left = length - len(section.lstrip())
            return [Piece(start + left, section.strip())]
        per_token = min(length / tokens, _MOST_CHARACTERS_PER_TOKEN)
        capacity = max(1, int(self._max_tokens * per_token * _FILLED))
        overlap = min(int(self._overlap_tokens * per_token * _FILLED), capacity // 4)
        pieces: list[Piece] = []
        for offset, content in MarkdownSplitter(capacity, overlap).chunk_indices(section):
            for piece in self._fitting(text, start + offset, content):
                _append(pieces, piece)
        return pieces

    def _fitting(self, text: str, start: int, content: str) -> Iterator[Piece]:
        if self._fits(content):
            yield Piece(start, content)
            return
        for offset, part in self._splitter.chunk_indices(content):
            if self._fits(part):
                yield Piece(start + offset, part)
            else:
                yield from self._cut(text, start + offset, start + offset + len(part))

    def _cut(self, text: str, start: int, end: int) -> Iterator[Piece]:
        """Cut by length, at the end of a sentence or of a word where there is one near."""
        while start < end:
            stop = min(end, start + self._max_tokens * _WINDOW_CHARACTERS_PER_TOKEN)
            while (tokens := self._tokens(text[start:stop])) > self._max_tokens:
                stop = start + max(1, (stop - start) * self._max_tokens // (tokens + 1))
            if stop < end:
                stop = _good_end(text, start, stop)
            if text[start:stop].strip():
                yield Piece(start, text[start:stop])
            if stop == end:
                return
            repeated = (stop - start) * self._overlap_tokens // max(tokens, self._max_tokens)
            start = _whole_from(text, max(start + 1, stop - repeated), stop)

    def _fits(self, text: str) -> bool:
        return (
            len(text) <= self._max_tokens * _MOST_CHARACTERS_PER_TOKEN
            and self._tokens(text) <= self._max_tokens
        )

    def _new_splitter(self) -> MarkdownSplitter:
        if self._tokenizer is None:
            return MarkdownSplitter.from_callback(
                guessed_tokens, self._max_tokens, self._overlap_tokens
            )
        own = self._max_tokens - self._tokenizer.num_special_tokens_to_add(is_pair=False)
        return MarkdownSplitter.from_huggingface_tokenizer(
            self._tokenizer, own, self._overlap_tokens
        )


def _append(pieces: list[Piece], piece: Piece) -> None:
    """Add a piece, unless others hold it; those that it holds go, as those that begin with it do.

    What is cut once more overlaps its successor twice: by what that repeats, and within itself.
    """
    if pieces and piece.end <= pieces[-1].end:
        return
    while pieces and pieces[-1].start >= piece.start:
        pieces.pop()
    pieces.append(piece)


def _unbounded(tokenizer: str) -> Tokenizer:
    """The tokenizer without cutting or filling up, which would make all texts equally long."""
    own: Tokenizer = Tokenizer.from_str(tokenizer)
    own.no_truncation()
    own.no_padding()
    return own


def _good_end(text: str, start: int, stop: int) -> int:
    """The last joint in the last quarter of a piece, else its end, between whole characters."""
    quarter = stop - (stop - start) // 4
    joints = [found.end() for found in _GOOD_END.finditer(text, quarter, stop)]
    best = joints[-1] if joints else stop
    while best > start + 1 and _is_within_character(text, best):
        best -= 1
    return best if best > start + 1 else stop


def _whole_from(text: str, start: int, stop: int) -> int:
    while start < stop and _is_within_character(text, start):
        start += 1
    return start


def _is_within_character(text: str, place: int) -> bool:
    return bool(_JOINED.match(text, place)) or text[place - 1] == "\u200d"
