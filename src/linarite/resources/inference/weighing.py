"""How much what was found has to do with the question, by the vectors of both."""

import asyncio
import math
import sys
import threading
from array import array
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Generic, TypeVar
from weakref import WeakValueDictionary

import structlog
from starlette.concurrency import run_in_threadpool

from linarite.errors import InferenceRefused, LinariteError
from linarite.indexing import relevance
from linarite.resources.inference.data_sources import NAME
from linarite.resources.inference.embedding import Embedding, Vectors
from linarite.settings import MB

if TYPE_CHECKING:
    from linarite.indexing.retrieval import Passage

_REMEMBERED_SECONDS = 600
_MODELS_BYTES, _INDEXES_BYTES, _PIECES_BYTES = 8 * MB, 1 * MB, 48 * MB
"""Remembered at most."""
_ENTRY_BYTES = 200
"""What keeping something takes beside it and its key, about."""
_TEXTS_AT_ONCE = 64
"""After each so many, what is made is remembered."""

log = structlog.get_logger()

T = TypeVar("T")
Vector = Sequence[float]


class _Memory(Generic[T]):
    """Forgets all when it is full, and after ten minutes."""

    def __init__(self, most_bytes: int, now: Callable[[], int]) -> None:
        self._most, self._now = most_bytes, now
        self._kept: dict[tuple[str, ...], T] = {}
        self._size, self._begun = 0, now()
        self._lock = threading.Lock()

    def get(self, key: tuple[str, ...]) -> T | None:
        if self._now() - self._begun >= _REMEMBERED_SECONDS:
            self._forget()
        return self._kept.get(key)

    def keep(self, key: tuple[str, ...], value: T, size_bytes: int = 0) -> None:
        """Remember a value of so many bytes, unless it alone is too large."""
        size = size_bytes + sum(map(sys.getsizeof, key)) + _ENTRY_BYTES
        if size > self._most:
            return
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
    def _others(self) -> "_Memory[list[array[float]]]":
        return _Memory(_MODELS_BYTES, self.now)

    @cached_property
    def _backgrounds(self) -> _Memory[float]:
        return _Memory(_INDEXES_BYTES, self.now)

    @cached_property
    def _pieces(self) -> "_Memory[array[float]]":
        return _Memory(_PIECES_BYTES, self.now)

    @cached_property
    def _turns(self) -> "WeakValueDictionary[tuple[int, tuple[str, ...]], asyncio.Lock]":
        return WeakValueDictionary()

    async def vectors(self, embedding: Embedding, text: str) -> tuple[Vector, Sequence[Vector]]:
        """The question's vector, and those of `relevance.BACKGROUND` by the same model."""
        others = self._others.get((embedding.name,))
        if others is not None:
            [vector] = await embedding.embed([text])
            if len(vector) == len(others[0]):
                return vector, others  # else another model answers now
        vector, *made = await embedding.embed([text, *relevance.BACKGROUND])
        others = [array("f", other) for other in made]
        self._others.keep((embedding.name,), others, sum(map(sys.getsizeof, others)))
        return vector, others

    def background(self, index: tuple[str, ...]) -> float | None:
        """What an index has for anything; None where that is to be measured, first or anew."""
        return self._backgrounds.get(index)

    @asynccontextmanager
    async def turn(self, index: tuple[str, ...], until: float) -> AsyncIterator[None]:
        """Be the only one of this loop who measures an index; waits no longer than `until`."""
        whose = (id(asyncio.get_running_loop()), index)
        lock = self._turns.setdefault(whose, asyncio.Lock())
        is_mine = False
        with suppress(TimeoutError):
            async with asyncio.timeout_at(until):
                is_mine = await lock.acquire()
        try:
            yield
        finally:
            if is_mine:
                lock.release()

    async def measure(
        self,
        embedding: Embedding,
        vector: Vector,
        others: Sequence[Vector],
        likest: "Sequence[Sequence[Passage]]",
        index: tuple[str, ...],
        until: float = math.inf,
    ) -> float:
        """The background of an index; without what it has, that of the model with this question.

        Args:
            embedding: the model that embedded the others.
            vector: the question's.
            others: vectors of `relevance.BACKGROUND`.
            likest: what the index has that is most like each of them; empty: that is not known.
            index: tells it from others.
            until: when to do with what is embedded by then, by the event loop's clock.
        """
        if not likest:
            return relevance.background([relevance.cosine(vector, other) for other in others])
        asked = [
            (other, passage)
            for other, passages in zip(others, likest, strict=True)
            for passage in passages
        ]
        likenesses, is_whole = await self._likenesses(embedding, asked, 0.0, until)
        best: dict[int, float] = {}
        for (other, _), likeness in zip(asked, likenesses, strict=True):
            best[id(other)] = max(likeness, best.get(id(other), -1.0))
        background = relevance.background(list(best.values()))
        if is_whole and asked:
            self._backgrounds.keep(index, background)
        return background

    async def weigh(
        self,
        embedding: Embedding,
        vector: Vector,
        found: "Sequence[Passage]",
        documents: int,
        background: float,
        until: float = math.inf,
    ) -> None:
        """Tell passages their evidence, in place: the first, and those whose vectors are nearest.

        Args:
            embedding: the model that embedded the question.
            vector: the question's.
            found: what was found for it.
            documents: how many are to be shown.
            background: of the index.
            until: when to do with what is embedded by then, by the event loop's clock.
        """
        near = [passage for passage in found if passage.similarity is not None]
        if not near:
            return
        near.sort(key=lambda passage: passage.similarity or 0.0, reverse=True)
        count = max(relevance.FEWEST_WEIGHED, documents)
        weighed = list({id(it): it for it in (*found[:count], *near[:count])}.values())
        asked = [(vector, passage) for passage in weighed]
        least = near[-1].similarity or 0.0
        likenesses, _ = await self._likenesses(embedding, asked, least, until)
        for passage in found:
            passage.meaning = 0.0
        for passage, likeness in zip(weighed, likenesses, strict=True):
            passage.meaning = relevance.of_meaning(likeness, background)

    async def _likenesses(
        self,
        embedding: Embedding,
        asked: "Sequence[tuple[Vector, Passage]]",
        least: float,
        until: float,
    ) -> tuple[list[float], bool]:
        """How alike each passage is to the vector beside it, and whether by all its sentences."""
        parts = [relevance.pieces(passage.content) for _, passage in asked]
        texts = dict.fromkeys(piece for pieces in parts for piece in pieces)
        length = len(asked[0][0]) if asked else 0
        made = await self._embedded(embedding, list(texts), length, until)

        def likenesses() -> list[float]:
            return [
                relevance.likeness(
                    vector,
                    least if passage.similarity is None else passage.similarity,
                    [made[piece] for piece in pieces if piece in made],
                )
                for (vector, passage), pieces in zip(asked, parts, strict=True)
            ]

        return await run_in_threadpool(likenesses), len(made) == len(texts)

    async def _embedded(
        self, embedding: Embedding, texts: Sequence[str], length: int, until: float
    ) -> dict[str, Vector]:
        """Vectors of `length` numbers, made only where none is remembered.

        Some are missing where the model fails, or takes longer than `until`: what was found is
        worth an answer without them.
        """
        known: dict[str, Vector] = {}
        for text in texts:
            kept = self._pieces.get((embedding.name, text))
            if kept is not None and len(kept) == length:
                known[text] = kept
        missing = [text for text in texts if text not in known]
        for at in range(0, len(missing), _TEXTS_AT_ONCE):
            batch = missing[at : at + _TEXTS_AT_ONCE]
            try:
                async with asyncio.timeout_at(until if math.isfinite(until) else None):
                    vectors = await embedding.embed(batch)
            except (LinariteError, TimeoutError) as error:
                log.warning("sentences_not_embedded", count=len(missing) - at, error=str(error))
                break
            known |= self._remembered(embedding, batch, vectors, length)
        return known

    def _remembered(
        self, embedding: Embedding, texts: Sequence[str], vectors: Vectors, length: int
    ) -> dict[str, Vector]:
        made: dict[str, Vector] = {}
        for text, vector in zip(texts, vectors, strict=True):
            if len(vector) != length:
                raise InferenceRefused(
                    "The vectors of the embedding dependency differ in length; it must be one "
                    "model that answers there.",
                    param=NAME,
                )
            made[text] = kept = array("f", vector)
            self._pieces.keep((embedding.name, text), kept, sys.getsizeof(kept))
        return made
