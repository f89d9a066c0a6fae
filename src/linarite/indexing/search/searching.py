"""Answering a search: words, neighbours of vectors, both joined by their ranks, in some order."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import pyarrow as pa
from lancedb.query import ColumnOrdering, FullTextQuery
from lancedb.table import Table

from linarite.indexing.search.definition import IndexDefinition
from linarite.indexing.search.filters import is_one_of
from linarite.indexing.search.matching import full_text
from linarite.indexing.search.query import SCORE, Neighbours, Order, Query
from linarite.indexing.search.schema import Document, documents

_RRF_K = 60
_RECALL = 1000
"""How many documents words bring to be joined with those of vectors, as in the service."""
_DISTANCES = {"cosine": "cosine", "euclidean": "l2", "dotProduct": "dot"}
_NPROBES = 40
_SCORE, _DISTANCE = "_score", "_distance"


@dataclass(frozen=True)
class Hit:
    """A document that was found, with how well it fits."""

    score: float
    document: Document


@dataclass(frozen=True)
class Found:
    """A page of what a search found.

    Args:
        hits: the documents.
        count: how many there are in all; None where nobody asked.
        has_more: whether more follow the page.
    """

    hits: Sequence[Hit]
    count: int | None
    has_more: bool


Ranked = list[tuple[str, float]]
"""Keys with their scores, best first."""


def search(table: Table, definition: IndexDefinition, query: Query) -> Found:
    """What `query` finds."""
    return _Search(table, definition, query).run()


class _Search:
    def __init__(self, table: Table, definition: IndexDefinition, query: Query) -> None:
        self._table, self._definition, self._query = table, definition, query
        self._end = query.skip + query.page

    def run(self) -> Found:
        query = self._query
        if query.is_for_all and not query.neighbours:
            return self._all()
        ranked = self._ranked()
        if query.order:
            ranked = self._ordered(ranked)
        page = ranked[query.skip : self._end]
        return Found(self._fetched(page), self._count(ranked), len(ranked) > self._end)

    def _count(self, ranked: Ranked) -> int | None:
        query = self._query
        if not query.counts:
            return None
        wanted = None if query.neighbours or query.order else self._wanted()
        if wanted is None:  # all are there
            return len(ranked)
        return int(self._found_by(wanted, self._table.count_rows()).num_rows)

    def _all(self) -> Found:
        """Every document that the filter lets pass; the store itself orders and cuts them."""
        query, key = self._query, self._definition.key
        terms = [term for term in query.order if term.name != SCORE]  # all have the same score
        # Lance fails where it is to order by a column that it does not answer
        ordered = [term.name for term in terms]
        columns = dict.fromkeys([*(field.name for field in query.select), *ordered, key])
        scan = self._table.search().select(list(columns))
        if query.where:
            scan = scan.where(query.where)
        if terms:
            if key not in ordered:  # of equals the key decides, so that pages fit each other
                terms.append(Order(key, descending=False))
            scan = scan.order_by(
                [
                    ColumnOrdering(
                        column_name=term.name,
                        ascending=not term.descending,
                        nulls_first=not term.descending,
                    )
                    for term in terms
                ]
            )
        found = scan.limit(query.page + 1).offset(query.skip).to_arrow()
        count = self._table.count_rows(query.where) if query.counts else None
        hits = [Hit(1.0, each) for each in documents(found, query.select)]
        return Found(hits[: query.page], count, len(hits) > query.page)

    def _ranked(self) -> Ranked:
        query = self._query
        lists = [(each.weight, self._nearest(each)) for each in query.neighbours]
        if not query.is_for_all:
            lists.append((1.0, self._matching()))
        if len(lists) == 1:
            return lists[0][1]
        scores: dict[str, float] = {}
        for weight, ranked in lists:
            for rank, (key, _) in enumerate(ranked):
                scores[key] = scores.get(key, 0.0) + weight / (_RRF_K + rank)
        return _by_score(scores.items())

    def _matching(self) -> Ranked:
        query, wanted = self._query, self._wanted()
        if wanted is None:
            return []
        if query.neighbours:
            return self._scored(wanted, _RECALL)
        if query.order:
            return self._scored(wanted, self._table.count_rows())
        limit = self._end + 1
        while len(found := self._scored(wanted, limit)) == limit and _is_torn(found, self._end):
            limit *= 4
        return found

    def _wanted(self) -> FullTextQuery | None:
        query = self._query
        if query.words is None:
            return None
        return full_text(query.words, query.columns, query.mode, self._has_tokens)

    def _scored(self, wanted: FullTextQuery, limit: int) -> Ranked:
        found = self._found_by(wanted, limit)
        keys = found.column(self._definition.key).to_pylist()
        return _by_score(zip(keys, found.column(_SCORE).to_pylist(), strict=True))

    def _found_by(self, wanted: FullTextQuery, limit: int) -> pa.Table:
        key = self._definition.key
        search = self._table.search(wanted, query_type="fts").select([key, _SCORE])
        if self._query.where:
            search = search.where(self._query.where)
        return search.limit(max(limit, 1)).to_arrow()

    def _nearest(self, wanted: Neighbours) -> Ranked:
        query, key = self._query, self._definition.key
        metric: Any = self._definition.metric(wanted.field)
        near: Any = self._table.search(
            list(wanted.vector), query_type="vector", vector_column_name=wanted.field.name
        )
        search = near.distance_type(_DISTANCES[metric]).select([key, _DISTANCE])
        search = search.bypass_vector_index() if wanted.is_exact else search.nprobes(_NPROBES)
        if query.where:
            search = search.where(query.where, prefilter=query.filters_first)
        found = search.limit(wanted.k).to_arrow()
        distances = found.column(_DISTANCE).to_pylist()
        scores = [_nearness(metric, distance) for distance in distances]
        return _by_score(zip(found.column(key).to_pylist(), scores, strict=True))

    def _has_tokens(self, text: str, column: str) -> bool:
        return bool(self._table.tokenize(text, column=column))

    def _ordered(self, ranked: Ranked) -> Ranked:
        """`ranked` in the order that was asked for; the score decides what that leaves open."""
        names = [term.name for term in self._query.order if term.name != SCORE]
        values: dict[str, Document] = {key: {SCORE: score} for key, score in ranked}
        for some in self._rows(list(values), names) if names else ():
            for row in some.to_pylist():
                values[row[self._definition.key]] |= row
        keys = [key for key, known in values.items() if len(known) > len(names)]
        for term in reversed(self._query.order):
            keys.sort(key=partial(_sortable, values, term.name), reverse=term.descending)
        return [(key, values[key][SCORE]) for key in keys]

    def _fetched(self, page: Ranked) -> list[Hit]:
        names = [field.name for field in self._query.select]
        rows: dict[str, Document] = {}
        for some in self._rows([key for key, _ in page], names):
            keys = some.column(self._definition.key).to_pylist()
            rows |= zip(keys, documents(some, self._query.select), strict=True)
        return [Hit(score, rows[key]) for key, score in page if key in rows]  # else just deleted

    def _rows(self, keys: Sequence[str], names: Sequence[str]) -> Iterator[pa.Table]:
        """The columns `names` and the key of some documents, in any order."""
        key = self._definition.key
        columns = list(dict.fromkeys([key, *names]))
        for start in range(0, len(keys), _RECALL):
            some = keys[start : start + _RECALL]
            query = self._table.search().where(is_one_of(key, some)).select(columns)
            yield query.limit(len(some)).to_arrow()


def _by_score(scores: Any) -> Ranked:
    """Best first; of equals the key decides, so that pages fit each other."""
    return sorted(scores, key=lambda each: (-each[1], each[0]))


def _is_torn(ranked: Ranked, end: int) -> bool:
    """Whether equals of the last of a page were cut off, so that another page may miss some."""
    return end > 0 and ranked[end - 1][1] == ranked[-1][1]


def _nearness(metric: str, distance: float | None) -> float:
    if distance is None or math.isnan(distance):  # a vector of zeros has no direction
        return 0.0
    if metric == "dotProduct":
        return 1 - distance
    return 1 / (1 + (math.sqrt(max(distance, 0.0)) if metric == "euclidean" else distance))


def _sortable(values: dict[str, Document], name: str, key: str) -> tuple[bool, Any]:
    """What the document `key` is sorted by; null is lowest."""
    value = values[key][name]
    return (value is not None, 0 if value is None else value)
