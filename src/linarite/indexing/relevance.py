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
        vector: of its vector, which alone is enough.
        words: of its words, where its vector has half of what would be enough alone.
    """

    vector: float
    words: float

    def lets_by(self, words: float, vector: float | None, *, has_vectors: bool) -> bool:
        """Whether a passage may be shown.

        Args:
            words: the evidence of its words; 0 where only vectors were asked.
            vector: the evidence of its vector; None where it is not among the nearest.
            has_vectors: whether vectors were asked.
        """
        if not has_vectors:
            return words >= self.words
        if vector is None:  # then nearly all the words must be there
            return words >= (1 + self.words) / 2
        return vector >= self.vector or (words >= self.words and vector >= self.vector / 2)


STRICTNESS: Mapping[int, Threshold] = {
    1: Threshold(0.20, 0.34),
    2: Threshold(0.30, 0.50),
    3: Threshold(0.38, 0.60),
    4: Threshold(0.45, 0.75),
    5: Threshold(0.55, 0.90),
}
"""Set by all-minilm-l6-v2 and chunks of 128 and 256 tokens. Of 24 questions on the documents of a
museum 3 finds all, and of 23 on other matters, some of them museums and prices, hardly any."""
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
