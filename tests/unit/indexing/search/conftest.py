from pathlib import Path

import pytest
from azure.search.documents import SearchClient
from azure.search.documents.indexes import SearchIndexClient
from tests.support import search_indexes
from tests.support.search_indexes import BOOKS

from linarite.indexing.search.rules import parsed
from linarite.indexing.search.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A store of this test's own, without an index."""
    return search_indexes.store(tmp_path)


@pytest.fixture
def books(store: Store) -> SearchClient:
    """The documents of an empty index that has a field of every type."""
    store.create("default", parsed(BOOKS), "")
    return search_indexes.clients(store, "books")[1]


@pytest.fixture
def indexes(store: Store) -> SearchIndexClient:
    return search_indexes.clients(store, "books")[0]


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> SearchClient:
    """An index with documents that tests only read."""
    shared = search_indexes.store(tmp_path_factory.mktemp("library"))
    shared.create("default", parsed(BOOKS), "")
    client = search_indexes.clients(shared, "books")[1]
    client.upload_documents(
        [
            {
                "id": "fox",
                "title": "The Running Fox",
                "content": "A quick brown fox jumps over the lazy dog.",
                "tags": ["animals", "short"],
                "year": 2001,
                "price": 3.5,
                "near": [1, 0, 0],
                "added": "2024-01-02T03:04:05Z",
            },
            {
                "id": "dog",
                "title": "Dogs, and how they run",
                "content": "The dog sleeps. A fox passes by, and the dog barks.",
                "tags": ["animals"],
                "year": 1999,
                "price": 12,
                "near": [0.8, 0.6, 0],
                "added": "2024-01-02T03:04:05.5Z",
            },
            {
                "id": "sea",
                "title": "The sea",
                "content": "Water, salt and wind; no animals but fish.",
                "tags": [],
                "year": None,
                "near": [0, 0, 1],
            },
            {"id": "void", "title": None, "content": "dog-eared pages", "year": 2001},
        ]
    )
    return client
