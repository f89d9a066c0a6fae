"""What only a large index does."""

import random
from typing import Any

import pytest
from tests.support.search_indexes import definition, vector_field

from linarite.indexing.search.documents import Action, perform
from linarite.indexing.search.query import SearchRequest, VectorQuery, query
from linarite.indexing.search.rules import parsed
from linarite.indexing.search.searching import search
from linarite.indexing.search.store import Store
from linarite.indexing.search.tending import Tail


@pytest.mark.slow
def test_vectors_of_a_large_index_are_found_by_an_index_of_theirs(store: Store):
    """The exact neighbours are among those that the index finds, nearly all of them."""
    wide = parsed(definition("wide", vector_field("near", 8)))
    record = store.create("default", wide, "")
    table: Any = store.table("default", record)
    numbers = random.Random(3)
    for start in range(0, 110_000, 1000):
        rows = [
            {"id": str(key), "near": [numbers.gauss(0, 1) for _ in range(8)]}
            for key in range(start, start + 1000)
        ]
        perform([Action("upload", row["id"], row) for row in rows], table, wide)
        store.tend("default", "wide")

    store.tend("default", "wide", Tail.AT_LEISURE)
    assert "IvfFlat" in {each.index_type for each in table.list_indices()}
    found, wanted = 0, 0
    for _ in range(10):
        vector = [numbers.gauss(0, 1) for _ in range(8)]
        lists = []
        for exhaustive in (False, True):
            near = VectorQuery(vector=vector, k=10, exhaustive=exhaustive)
            asked = query(SearchRequest(vector_queries=[near]), wide)
            lists.append({hit.document["id"] for hit in search(table, wide, asked).hits})
        found, wanted = found + len(lists[0] & lists[1]), wanted + len(lists[1])
    assert found >= 0.9 * wanted
