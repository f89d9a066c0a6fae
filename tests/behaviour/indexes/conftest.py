from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from tests.support.search_indexes import BOOKS
from tests.support.server import Server, running_server

VERSION = "2024-07-01"
JSON = dict[str, Any]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server for a module; which database it has is nothing to an index."""
    with running_server(tmp_path_factory.mktemp("server")) as running:
        yield running


@pytest.fixture(scope="module")
def rest(server: Server) -> Iterator[httpx.Client]:
    """A program without an SDK, and the index `books` with three documents in it."""
    with server.client(params={"api-version": VERSION}) as client:
        assert client.post("/indexes", json=BOOKS).status_code == 201
        documents = [
            {"id": f"k{number}", "title": f"Book {number}", "content": "words", "year": number}
            for number in range(3)
        ]
        assert (
            client.post("/indexes/books/docs/index", json={"value": documents}).status_code == 200
        )
        yield client
