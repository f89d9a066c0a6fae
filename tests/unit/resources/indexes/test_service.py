"""The service over embedded indexes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from azure.core.credentials import AzureKeyCredential
from azure.search.documents import SearchClient
from azure.search.documents.indexes import SearchIndexClient
from azure.search.documents.indexes.models import SearchIndex
from tests.support.search_indexes import BOOKS

from linarite.indexing.search.in_process import ENDPOINT
from linarite.indexing.search.refusals import SearchRefused
from linarite.resources.indexes.service import Indexes
from linarite.settings import LimitSettings

HELD = """
import json, sys
from pathlib import Path
from linarite.app import create_app
from linarite.bootstrap import build
from linarite.resources.indexes.service import Indexes
from linarite.settings import Settings

LARGE = ("lancedb", "pyarrow", "azure.search", "numpy", "pandas")

def held():
    return [name for name in LARGE if name in sys.modules]

built = build(Settings(data=Path(sys.argv[1])))
create_app(built)
before = held()
asked = {"parameters": {"api-version": "2024-07-01"}, "headers": {}, "body": b"", "base_url": "x"}
answer = built.parts[Indexes].answer("default", "GET", "/indexes", **asked)
print(json.dumps([before, answer.status, "lancedb" in held()]))
"""


@pytest.fixture
def service(tmp_path: Path) -> Indexes:
    """A service with an index that an ingestion made."""
    indexes = Indexes(tmp_path / "indexes", LimitSettings(free_space_bytes=0))
    options = {"transport": indexes.transport("default", "ingestion job books")}
    SearchIndexClient(ENDPOINT, AzureKeyCredential("any"), **options).create_index(
        SearchIndex(BOOKS)
    )
    SearchClient(ENDPOINT, "books", AzureKeyCredential("any"), **options).upload_documents(
        [
            {"id": "a", "content": "What is -not- (wor* really", "year": 1, "near": [1, 0, 0]},
            {"id": "b", "content": "Another matter", "year": 2, "near": [0, 1, 0]},
        ]
    )
    return indexes


def found(service: Indexes, **asked: object) -> list[str]:
    return [hit.document["id"] for hit in service.search("default", "books", **asked)]  # type: ignore[arg-type]


def test_what_a_person_asks_is_words(service: Indexes):
    assert found(service, text="what -matter (wor*? +not AND") == ["a", "b"]


def test_words_and_a_vector_are_joined(service: Indexes):
    """Only `b` has the word; by the vector `a` is first: 1/60 + 1/61 and 1/60."""
    hits = service.search("default", "books", text="matter", vector=[1, 0, 0])

    assert [(hit.document["id"], hit.score) for hit in hits] == [
        ("b", pytest.approx(1 / 60 + 1 / 61)),
        ("a", pytest.approx(1 / 60)),
    ]


def test_a_search_can_be_narrowed(service: Indexes):
    assert found(service, vector=[1, 0, 0], filter="year eq 2") == ["b"]
    assert found(service, vector=[1, 0, 0], top=1, vector_fields=["near"]) == ["a"]
    (hit,) = service.search("default", "books", text="matter", fields=["content", "year"])
    assert hit.document == {"content": "Another matter", "year": 2}


def test_another_resource_finds_nothing(service: Indexes):
    with pytest.raises(SearchRefused, match="was not found"):
        service.search("other", "books", text="matter")


def test_a_server_that_nobody_asks_for_an_index_holds_no_store(tmp_path: Path):
    command = [sys.executable, "-c", HELD, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)

    assert json.loads(done.stdout) == [[], 200, True]
