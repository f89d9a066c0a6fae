"""How much what was found has to do with the question, by the vectors of both."""

import threading
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Generic, TypeVar

from starlette.concurrency import run_in_threadpool

from linarite.errors import InferenceRefused
from linarite.indexing import relevance
from linarite.resources.inference.data_sources import NAME
from linarite.resources.inference.embedding import Embedding, Vectors

if TYPE_CHECKING:
    from linarite.indexing.retrieval import Passage

_REMEMBERED_SECONDS = 600
_MODELS, _INDEXES, _PIECE_NUMBERS = 64, 256, 8_000_000
"""Remembered at most; of pieces of texts it is the numbers in their vectors, of four bytes each."""

T = TypeVar("T")
Vector = Sequence[float]


class _Memory(Generic[T]):
    """Forgets all when it is full, and after ten minutes."""

    def __init__(self, most: int, now: Callable[[], int]) -> None:
        self._most, self._now = most, now
        self._kept: dict[tuple[str, ...], T] = {}
        self._size, self._begun = 0, now()
        self._lock = threading.Lock()

    def get(self, key: tuple[str, ...]) -> T | None:
        if self._now() - self._begun >= _REMEMBERED_SECONDS:
            self._forget()
        return self._kept.get(key)

    def keep(self, key: tuple[str, ...], value: T, size: int = 1) -> None:
        if self._size + size > self._most:
            self._forget()
        with self._lock:
            self._kept[key] = value
            self._size += size

    def _forget(self) -> None:
        with self._lock:
            self._kept, self._size, self._begun = {}, 0, self._now()


@dataclass(frozen=True)
class Weighing:
    """Weighs passages, and remembers for a while what models and indexes have for anything.

    Args:
        now: the time, in Unix seconds.
    """

    now: Callable[[], int]

    @cached_property
    def _others(self) -> _Memory[Vectors]:
        return _Memory(_MODELS, self.now)

    @cached_property
    def _backgrounds(self) -> _Memory[float]:
        return _Memory(_INDEXES, self.now)

    @cached_property
    def _pieces(self) -> "_Memory[array[float]]":
        return _Memory(_PIECE_NUMBERS, self.now)

    async def vectors(self, embedding: Embedding, text: str) -> tuple[Vector, Vectors]:
        """The question's vector, and those of `relevance.BACKGROUND` by the same model."""
        others = self._others.get((embedding.name,))
        if others is not None:
            [vector] = await embedding.embed([text])
            if len(vector) == len(others[0]):
                return vector, others  # else another model answers now
        vector, *others = await embedding.embed([text, *relevance.BACKGROUND])
        self._others.keep((embedding.name,), others)
        return vector, others

    def background(self, index: tuple[str, ...]) -> float | None:
        """What an index has for anything; None where that is to be measured, first or anew."""
        return self._backgrounds.get(index)

    async def measure(
        self,
        embedding: Embedding,
        others: Vectors,
        likest: "Sequence[Sequence[Passage]]",
        index: tuple[str, ...],
    ) -> float:
        """The background of an index.

        Args:
            embedding: the model that embedded the others.
            others: vectors of `relevance.BACKGROUND`.
            likest: what the index has that is most like each of them.
            index: tells it from others.
        """
        asked = [
            (other, passage)
            for other, passages in zip(others, likest, strict=True)
            for passage in passages
        ]
        likenesses = await self._likenesses(embedding, asked, 0.0)
        best: dict[int, float] = {}
        for (other, _), likeness in zip(asked, likenesses, strict=True):
            best[id(other)] = max(likeness, best.get(id(other), -1.0))
        background = relevance.background(list(best.values()))
        self._backgrounds.keep(index, background)
        return background

    async def weigh(
        self,
        embedding: Embedding,
        vector: Vector,
        found: "Sequence[Passage]",
        *,
        documents: int,
        background: float,
    ) -> None:
        """Tell passages their evidence, in place: the first, and those whose vectors are nearest.

        Args:
            embedding: the model that embedded the question.
            vector: the question's.
            found: what was found for it.
            documents: how many are to be shown.
            background: of the index.
        """
        near = [passage for passage in found if passage.similarity is not None]
        if not near:
            return
        near.sort(key=lambda passage: passage.similarity or 0.0, reverse=True)
        count = max(relevance.FEWEST_WEIGHED, documents)
        weighed = list({id(it): it for it in (*found[:count], *near[:count])}.values())
        asked = [(vector, passage) for passage in weighed]
        likenesses = await self._likenesses(embedding, asked, near[-1].similarity or 0.0)
        for passage in found:
            passage.meaning = 0.0
        for passage, likeness in zip(weighed, likenesses, strict=True):
            passage.meaning = relevance.of_meaning(likeness, background)

    async def _likenesses(
        self, embedding: Embedding, asked: "Sequence[tuple[Vector, Passage]]", least: float
    ) -> list[float]:
        """How alike each passage is to the vector beside it."""
        parts = [relevance.pieces(passage.content) for _, passage in asked]
        texts = dict.fromkeys(piece for pieces in parts for piece in pieces)
        length = len(asked[0][0]) if asked else 0
        made = await self._embedded(embedding, list(texts), length)

        def likenesses() -> list[float]:
            return [
                relevance.likeness(
                    vector,
                    least if passage.similarity is None else passage.similarity,
                    [made[piece] for piece in pieces],
                )
                for (vector, passage), pieces in zip(asked, parts, strict=True)
            ]

        return await run_in_threadpool(likenesses)

    async def _embedded(
        self, embedding: Embedding, texts: Sequence[str], length: int
    ) -> dict[str, Vector]:
        """Vectors of `length` numbers, made only where none is remembered."""
        known: dict[str, Vector] = {}
        for text in texts:
            kept = self._pieces.get((embedding.name, text))
            if kept is not None and len(kept) == length:
                known[text] = kept
        missing = [text for text in texts if text not in known]
        vectors = await embedding.embed(missing) if missing else []
        for text, vector in zip(missing, vectors, strict=True):
            if len(vector) != length:
                raise InferenceRefused(
                    "The vectors of the embedding dependency differ in length; it must be one "
                    "model that answers there.",
                    param=NAME,
                )
            known[text] = kept = array("f", vector)
            self._pieces.keep((embedding.name, text), kept, length)
        return known
