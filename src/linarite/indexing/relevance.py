"""Whether a passage has to do with a question, told from words and vectors.

Scores of searches only order what was found; the best passage of an index that knows nothing of a
question still has the best score. So each passage is given an *evidence* between 0 and 1 that means
the same whatever the index and the embedding model.
"""

import math
import re
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

BACKGROUND = (
    "The train to the coast leaves from platform four.",
    "She planted three rows of beans behind the shed.",
    "The committee adjourned without electing a treasurer.",
    "Fold the dough twice and let it rest overnight.",
    "A low pressure area is moving in from the north.",
    "He tuned the violin before the second movement.",
    "The enzyme breaks the bond between the two sugars.",
    "Our goalkeeper saved a penalty in the last minute.",
)
"""Texts that have nothing to do with most questions, nor with each other."""


@dataclass(frozen=True)
class Threshold:
    """What evidence a passage must have to be shown to a model.

    Args:
        meaning: of its vectors, which alone is enough.
        words: of its words: enough where no vectors were asked, and else with half of the meaning.
    """

    meaning: float
    words: float

    def lets_by(self, words: float, meaning: float | None) -> bool:
        """Whether a passage may be shown.

        Args:
            words: the evidence of its words; 0 where only vectors were asked.
            meaning: the evidence of its vectors; None where none were asked.
        """
        if meaning is None:
            return words >= self.words
        return meaning >= self.meaning or (words >= self.words and meaning >= self.meaning / 2)


STRICTNESS: Mapping[int, Threshold] = {
    1: Threshold(0.05, 0.34),
    2: Threshold(0.10, 0.50),
    3: Threshold(0.15, 0.60),
    4: Threshold(0.22, 0.75),
    5: Threshold(0.30, 0.90),
}
"""Set by one half of the questions in `tests/retrieval/unseen_questions.json`, and measured by the
other: `docs/benchmarks.md` tells what each finds, and what it shows where nothing answers."""
RERANKED: Mapping[int, float] = {1: 0.5, 2: 1.0, 3: 1.5, 4: 2.0, 5: 2.5}
"""Of the semantic ranker's scores, which go from 0 to 4."""

FEWEST_WEIGHED = 5
"""So many of the first found, and as many of the nearest, are looked at sentence by sentence."""

_WORD = re.compile(r"\w+")
_SENTENCE = re.compile(r"(?<=[.!?;])\s+|\n(?!\s*[a-z])")
"""A line that goes on in lower case was only broken."""
_MOST_PIECES, _LONGEST_PIECE, _LONGEST_TEXT = 12, 2_000, 20_000
_FEWEST_WORDS = 3
_SHORTEST_STEM = 4
_SAY_NOTHING = """
    a about all an and any are as at be been between but by can could did do does every find for
    from get give had has have how i if in into is it its list long make many may me might more most
    much must my name need no not of on one only or our out people say shall should show so some
    tell than that the their them then there these they this those through to under up us use used
    was we were what when where which while who whom whose why will with within would you
    your
"""
_IGNORED = frozenset(_SAY_NOTHING.split())


def cosine(first: Sequence[float], second: Sequence[float]) -> float:
    """How alike two vectors are, between -1 and 1; 0 where one is nothing."""
    length = math.hypot(*first) * math.hypot(*second)
    return sum(a * b for a, b in zip(first, second, strict=True)) / length if length else 0.0


def of_meaning(likeness: float, background: float) -> float:
    """The evidence of a likeness, above the index's and the model's background."""
    return max(0.0, (likeness - background) / max(1 - background, 1e-6))


def background(likest: Sequence[float]) -> float:
    """What an index has for anything, from what it has that is most like each of `BACKGROUND`.

    Models find 0.05 alike in anything, or 0.7; and the more an index has, the more alike is the
    best of it.
    """
    return statistics.median(likest) if likest else 0.0


def likeness(
    question: Sequence[float], similarity: float, pieces: Sequence[Sequence[float]]
) -> float:
    """How alike a question and a passage are: as a whole, and in the sentence that is most so.

    Args:
        question: its vector.
        similarity: of the whole passage's vector.
        pieces: vectors of what `pieces` makes of the passage; where there are none, the whole
            alone counts.
    """
    likest = max((cosine(question, piece) for piece in pieces), default=similarity)
    return (similarity + likest) / 2


def pieces(passage: str) -> list[str]:
    """The sentences and lines of a passage, or neighbours together, so that they are twelve."""
    parts = [" ".join(part.split()) for part in _SENTENCE.split(passage[:_LONGEST_TEXT])]
    sentences = [part for part in parts if len(part.split()) >= _FEWEST_WORDS]
    sentences = sentences or [part for part in parts if part]
    size = math.ceil(len(sentences) / _MOST_PIECES) or 1
    together = [" ".join(sentences[at : at + size]) for at in range(0, len(sentences), size)]
    return [piece[:_LONGEST_PIECE] for piece in together]


def of_words(question: str, passage: str) -> float:
    """The part of the question's telling words that the passage has, endings apart."""
    wanted = {word for word in _words(question) if word not in _IGNORED}
    if not wanted:
        return 0.0
    there = {_stem(word) for word in _words(passage)}
    return sum(_stem(word) in there for word in wanted) / len(wanted)


def _words(text: str) -> list[str]:
    return _WORD.findall(text.casefold())


def _stem(word: str) -> str:
    """The word without an English ending; of the same words always the same."""
    for ending in ("ing", "edly", "ed", "es", "ly", "s", "e"):
        if word.endswith(ending) and len(word) - len(ending) >= _SHORTEST_STEM - 1:
            return word[: -len(ending)]
    return word
