"""The same target over the embedded index: its dialect in this process, without HTTP."""

from pathlib import Path
from typing import Any

import pytest
from azure.core.credentials import AzureKeyCredential
from tests.support.chunks import a_chunk

from linarite.indexing.failures import IngestionFailed
from linarite.indexing.search.in_process import ENDPOINT
from linarite.indexing.targets.azure_search import AzureSearchTarget
from linarite.indexing.targets.target import Stored
from linarite.resources.indexes.service import Indexes
from linarite.settings import LimitSettings

NAME = "handbook-index"


@pytest.fixture
def indexes(tmp_path: Path) -> Indexes:
    return Indexes(tmp_path, LimitSettings())


@pytest.fixture
def target(indexes: Indexes) -> AzureSearchTarget:
    return a_target(indexes, "tenant")


def a_target(indexes: Indexes, resource: str) -> AzureSearchTarget:
    transport = indexes.transport(resource, "the job")
    return AzureSearchTarget(ENDPOINT, AzureKeyCredential("any"), transport, NAME, "the job")


def found(indexes: Indexes, **asked: Any) -> list[str]:
    return [str(hit.document["id"]) for hit in indexes.search("tenant", NAME, **asked)]


def test_chunks_are_stored_found_replaced_counted_and_deleted(
    target: AzureSearchTarget, indexes: Indexes
):
    target.ensure(3)
    target.ensure(3)
    target.upsert([a_chunk(n, vector=[1.0, n, 0.0]) for n in range(3)])
    target.upsert([a_chunk(1, content="celadon")])

    target.delete([a_chunk(0).id, "never-there"])

    assert target.count() == 2
    assert found(indexes, text="celadon") == [a_chunk(1).id]
    assert found(indexes, vector=[1.0, 2.0, 0.0])[0] == a_chunk(2).id
    assert found(indexes, filter="last_updated gt 2025-01-01T00:00:00Z and chunk_id eq '1'") == [
        a_chunk(1).id
    ]


def test_what_is_stored_is_told_of(target: AzureSearchTarget):
    assert list(target.stored()) == []
    target.ensure(None)
    target.upsert([a_chunk(n, vector=None) for n in range(1_100)])

    told = {one.id: one for one in target.stored()}

    assert len(told) == 1_100
    assert told[a_chunk(7).id] == Stored(a_chunk(7).id, "handbook.md", "{}")
    assert len(list(target.stored(1))) == 1


def test_an_index_of_other_dimensions_is_refused(target: AzureSearchTarget):
    target.ensure(3)

    with pytest.raises(IngestionFailed, match="has 3 dimensions, and the embeddings have 384"):
        target.ensure(384)


def test_an_index_without_embeddings_has_no_vectors(target: AzureSearchTarget, indexes: Indexes):
    target.ensure(None)
    target.upsert([a_chunk(0, vector=None)])

    assert found(indexes, text="chunk") == [a_chunk(0).id]


def test_dropping_deletes_the_index_and_no_other_resource_s(
    target: AzureSearchTarget, indexes: Indexes
):
    other = a_target(indexes, "another")
    for one in (target, other):
        one.ensure(3)
        one.upsert([a_chunk(0)])

    target.drop()
    target.drop()

    assert other.count() == 1
    with pytest.raises(IngestionFailed, match="404"):
        target.count()
