"""Passages for a question, from an index that is searched by the official client.

Words and vectors are asked apart and joined by their ranks here, as the service would join them,
so that of each passage both scores are known and its evidence can be told.
"""

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
from azure.search.documents import SearchClient
from azure.search.documents.models import VectorizedQuery

from linarite.indexing import relevance
from linarite.indexing.failures import IngestionFailed
from linarite.indexing.targets.search_calls import search_failures

_RRF_K = 60
_SYNTAX = re.compile(r'[+|"()*~\\]|(?<!\w)-')
"""What the simple query language would read as more than a word."""
_FAILED = "The data source could not be searched."

Hit = Mapping[str, Any]


@dataclass(frozen=True)
class Fields:
    """What the fields of the index are called."""

    content: Sequence[str] = ("content",)
    separator: str = "\n"
    title: str = "title"
    url: str = "url"
    filepath: str = "filepath"
    vectors: Sequence[str] = ("contentVector",)


@dataclass(frozen=True)
class Question:
    """What is looked for.

    Args:
        text: the words; also what evidence is told by where only vectors are asked.
        asks_words: whether the index is asked for the words.
        vector: what it is asked for, too; None: for words alone.
        semantic_configuration: by which the service ranks anew what it found; None: it does not.
        filter: of the index, in OData.
        strictness: from 1 to 5.
        documents: how many are to be shown.
        allow_partial: whether one failed search of two is passed over.
        least: so many are fetched, where no more are to be shown.
    """

    text: str
    asks_words: bool = True
    vector: Sequence[float] | None = None
    semantic_configuration: str | None = None
    filter: str | None = None
    strictness: int = 3
    documents: int = 5
    allow_partial: bool = False
    least: int = 50


@dataclass
class Passage:
    """Something that was found, best first in a list."""

    content: str
    title: str | None
    url: str | None
    filepath: str | None
    chunk_id: str
    score: float = 0.0
    reranked: float | None = None
    similarity: float | None = None
    meaning: float | None = None
    """Its vectors' evidence; None where there is none, 0 where it was not looked at either."""
    filter_reason: str | None = field(default=None)
    """``score`` where it has too little to do with the question, ``rerank`` where better ones
    were found; None where it is to be shown."""


def find(
    client: SearchClient, question: Question, fields: Fields, select: Sequence[str] | None = None
) -> list[Passage]:
    """What the index has for a question, in the order of its searches.

    Args:
        client: of the index.
        question: what is looked for.
        fields: what the index's fields are called.
        select: the fields to fetch; None: all that there are.

    Raises:
        IngestionFailed: the service refuses, or is away (TryLater).
    """
    search = _Search(client, question, fields, select)
    if question.semantic_configuration is not None:
        return search.by_meaning()
    asked: list[Callable[[], list[Passage]]] = []
    if question.asks_words:
        asked.append(search.by_words)
    if question.vector is not None:
        asked.append(search.by_vector)
    return _joined(list(_answered(asked, question.allow_partial)))


def judged(found: Sequence[Passage], question: Question) -> list[Passage]:
    """What was found, best first; what is not to be shown tells why.

    Those with evidence of their vectors come first, the most of it at the top; others, and those
    of equal evidence, stay in their order.
    """
    ranked = sorted(found, key=lambda passage: passage.meaning or 0.0, reverse=True)
    shown = 0
    for passage in ranked:
        if not _is_relevant(passage, question):
            passage.filter_reason = "score"
        elif shown == question.documents:
            passage.filter_reason = "rerank"
        else:
            shown += 1
    return ranked


def _answered(
    asked: Sequence[Callable[[], list[Passage]]], allow_partial: bool
) -> Iterator[list[Passage]]:
    failure: IngestionFailed | None = None
    answered = 0
    for ask in asked:
        try:
            yield ask()
            answered += 1
        except IngestionFailed as error:
            if not allow_partial:
                raise
            failure = error
    if failure is not None and not answered:
        raise failure


def _joined(lists: Sequence[list[Passage]]) -> list[Passage]:
    """One list by reciprocal ranks; a single one stays as it is."""
    if len(lists) == 1:
        return lists[0]
    joined: dict[tuple[str, str, str, str], Passage] = {}
    scores: dict[tuple[str, str, str, str], float] = {}
    for ranked in lists:
        for rank, passage in enumerate(ranked):
            key = (passage.content, passage.filepath or "", passage.url or "", passage.chunk_id)
            known = joined.setdefault(key, passage)
            known.similarity = passage.similarity if known.similarity is None else known.similarity
            scores[key] = scores.get(key, 0.0) + 1 / (_RRF_K + rank)
    for key, passage in joined.items():
        passage.score = scores[key]
    return sorted(joined.values(), key=lambda passage: -passage.score)


def _is_relevant(passage: Passage, question: Question) -> bool:
    if passage.reranked is not None:
        return passage.reranked >= relevance.RERANKED[question.strictness]
    by_words = 0.0
    if question.asks_words:
        by_words = relevance.of_words(question.text, f"{passage.title or ''} {passage.content}")
    return relevance.STRICTNESS[question.strictness].lets_by(by_words, passage.meaning)


class _Search:
    """The searches of one question."""

    def __init__(
        self,
        client: SearchClient,
        question: Question,
        fields: Fields,
        select: Sequence[str] | None,
    ) -> None:
        self._client, self._question, self._fields = client, question, fields
        self._count = max(question.least, 2 * question.documents)
        self._common: dict[str, Any] = {
            "filter": question.filter,
            "select": None if select is None else list(select),
            "top": self._count,
        }

    def by_words(self) -> list[Passage]:
        text = _SYNTAX.sub(" ", self._question.text).strip()
        if not text:
            return []
        return self._passages(search_text=text, query_type="simple", search_mode="any")

    def by_vector(self) -> list[Passage]:
        found = self._passages(vector_queries=self._vector_queries())
        for passage in found:
            passage.similarity = 2 - 1 / passage.score if passage.score else None
        return found

    def by_meaning(self) -> list[Passage]:
        """What the service's semantic ranker makes of words, and of vectors where there are any."""
        return self._passages(
            search_text=self._question.text,
            query_type="semantic",
            semantic_configuration_name=self._question.semantic_configuration,
            vector_queries=self._vector_queries() if self._question.vector is not None else None,
        )

    def _vector_queries(self) -> list[VectorizedQuery]:
        return [
            VectorizedQuery(
                vector=list(self._question.vector or ()),
                k_nearest_neighbors=self._count,
                fields=",".join(self._fields.vectors),
            )
        ]

    def _passages(self, search_text: str | None = None, **how: Any) -> list[Passage]:
        with search_failures(_FAILED):
            hits = self._client.search(search_text, **self._common, **how)
            first = [hit for _, hit in zip(range(self._count), hits, strict=False)]
        return [self._passage(hit) for hit in first]

    def _passage(self, hit: Hit) -> Passage:
        fields = self._fields
        texts = [hit[name] for name in fields.content if isinstance(hit.get(name), str)]
        if not texts:
            raise IngestionFailed(
                f"{_FAILED} What it finds has no field {' or '.join(fields.content)}; name the "
                "fields of the index in `fields_mapping.content_fields`."
            )
        return Passage(
            content=fields.separator.join(texts),
            title=_text(hit.get(fields.title)),
            url=_text(hit.get(fields.url)),
            filepath=_text(hit.get(fields.filepath)),
            chunk_id=_chunk_id(hit),
            score=_number(hit.get("@search.score")) or 0.0,
            reranked=_number(hit.get("@search.reranker_score")),
        )


def _number(value: Any) -> float | None:
    """A score, of a service that may send anything."""
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def _text(value: Any) -> str | None:
    return None if value in (None, "") else str(value)


def _chunk_id(hit: Hit) -> str:
    """The chunk's place: its own field, or in the `metadata` that Microsoft's scripts write."""
    if (own := _text(hit.get("chunk_id"))) is not None:
        return own
    try:
        return str(orjson.loads(hit.get("metadata") or "{}").get("chunk_id", "0"))
    except (orjson.JSONDecodeError, AttributeError):
        return "0"
