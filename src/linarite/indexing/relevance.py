"""Whether a passage has to do with a question, told from words and vectors.

Scores of searches only order what was found; the best passage of an index that knows nothing of a
question still has the best score. So each passage is given an *evidence* between 0 and 1 that means
the same whatever the index and the embedding model.
"""

import math
import re
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
        vector: of its vector.
        words: of its words.
    """

    vector: float
    words: float


STRICTNESS: Mapping[int, Threshold] = {
    1: Threshold(0.10, 0.20),
    2: Threshold(0.20, 0.34),
    3: Threshold(0.30, 0.50),
    4: Threshold(0.40, 0.67),
    5: Threshold(0.50, 0.80),
}
RERANKED: Mapping[int, float] = {1: 0.5, 2: 1.0, 3: 1.5, 4: 2.0, 5: 2.5}
"""Of the semantic ranker's scores, which go from 0 to 4."""

_WORD = re.compile(r"\w+")
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


def background(question: Sequence[float], others: Sequence[Sequence[float]]) -> float:
    """How alike the model finds the question and what has nothing to do with it.

    Models differ much in that: 0.05 with some, 0.7 with others.
    """
    alike = sorted(cosine(question, other) for other in others)
    return alike[len(alike) // 2]


def of_vector(similarity: float, background: float) -> float:
    """The evidence of a similarity, above what the model finds in anything."""
    return max(0.0, (similarity - background) / max(1 - background, 1e-6))


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
