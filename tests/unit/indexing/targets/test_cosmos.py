"""Chunks in Cosmos DB for MongoDB vCore, against a real server of MongoDB's wire."""

from collections.abc import Iterator
from typing import Any

import pytest
from pymongo import MongoClient
from tests.support.chunks import a_chunk
from tests.support.cosmos import Cosmos, running_cosmos

from linarite.indexing.failures import DocumentFailed, IngestionFailed, TryLater
from linarite.indexing.targets.cosmos import CosmosTarget, cosmos_target
from linarite.indexing.targets.target import Stored

DONE_NOT = {"ok": 1.0, "n": 0, "nModified": 0}
BUSY = DONE_NOT | {"writeErrors": [{"index": 0, "code": 16500, "errmsg": "too large"}]}


@pytest.fixture(scope="module")
def cosmos(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cosmos]:
    with running_cosmos(tmp_path_factory.mktemp("cosmos")) as running:
        yield running


@pytest.fixture
def target(cosmos: Cosmos) -> Iterator[CosmosTarget]:
    with a_target(cosmos) as opened:
        yield opened
        opened.drop()


def a_target(cosmos: Cosmos, job: str = "handbook", **changes: Any) -> Any:
    options = {"collection": "handbook_index", "backoff_seconds": 0.001, **changes}
    return cosmos_target(cosmos.url, "docs", job=job, **options)


def stored(cosmos: Cosmos) -> list[dict[str, Any]]:
    with MongoClient(cosmos.url) as client:
        return list(client["docs"]["handbook_index"].find().sort("_id"))


@pytest.mark.parametrize(
    ("kind", "own"),
    [("vector-ivf", {"numLists": 100}), ("vector-hnsw", {"m": 16, "efConstruction": 64})],
)
def test_the_collection_gets_a_vector_index_as_documented(
    cosmos: Cosmos, kind: str, own: dict[str, int]
):
    with a_target(cosmos, index_kind=kind) as target:
        target.ensure(3)
        target.ensure(3)

        assert cosmos.indexes["docs", "handbook_index"] == {
            "name": "contentVector_cosmosSearch",
            "key": {"contentVector": "cosmosSearch"},
            "cosmosSearchOptions": {"kind": kind, **own, "similarity": "COS", "dimensions": 3},
        }
        target.drop()


def test_chunks_are_stored_replaced_counted_and_deleted(target: CosmosTarget, cosmos: Cosmos):
    target.ensure(3)
    target.upsert([a_chunk(0), a_chunk(1)])
    target.upsert([a_chunk(1, content="another"), a_chunk(2)])

    target.delete([a_chunk(0).id, "never-there"])

    assert target.count() == 2
    assert [one.id for one in target.stored()] == [a_chunk(1).id, a_chunk(2).id]
    assert list(target.stored(1)) == [Stored(a_chunk(1).id, "handbook.md", "{}")]
    assert stored(cosmos)[0] == {
        "_id": a_chunk(1).id,
        "ingestion_job": "handbook",
        "parent_id": a_chunk(1).parent_id,
        "content": "another",
        "title": "Handbook",
        "filepath": "handbook.md",
        "url": "https://example.org/handbook.md",
        "chunk_id": "1",
        "last_updated": "2026-01-02T03:04:05Z",
        "meta_json_string": "{}",
        "contentVector": [0.1, 0.2, 0.3],
    }


def test_a_job_without_embeddings_stores_no_vectors(target: CosmosTarget, cosmos: Cosmos):
    target.ensure(None)
    target.upsert([a_chunk(0, vector=None)])

    assert "contentVector" not in stored(cosmos)[0]
    assert ("docs", "handbook_index") not in cosmos.indexes


def test_a_collection_of_other_dimensions_is_refused(target: CosmosTarget):
    target.ensure(384)

    with pytest.raises(IngestionFailed, match=r"docs\.handbook_index has vectors of 384 dim.*1536"):
        target.ensure(1536)


def test_more_dimensions_than_cosmos_indexes_are_refused(target: CosmosTarget):
    with pytest.raises(IngestionFailed, match="at most 2000 dimensions, and the embeddings have"):
        target.ensure(3072)


def test_jobs_in_one_collection_mind_their_own_documents(target: CosmosTarget, cosmos: Cosmos):
    theirs = a_chunk(0, id="their-0")
    with a_target(cosmos, job="another") as other:
        other.ensure(3)
        target.ensure(3)
        other.upsert([theirs])
        target.upsert([a_chunk(0)])

        target.delete([theirs.id])
        target.drop()

        assert (target.count(), other.count()) == (0, 1)
        other.drop()
    with MongoClient(cosmos.url) as client:
        assert "handbook_index" not in client["docs"].list_collection_names()


def test_what_the_cluster_was_too_busy_for_is_written_again(target: CosmosTarget, cosmos: Cosmos):
    target.ensure(3)
    cosmos.refusals += [BUSY, BUSY]

    target.upsert([a_chunk(0)])

    assert target.count() == 1


def test_a_cluster_that_stays_busy_asks_for_another_time(target: CosmosTarget, cosmos: Cosmos):
    target.ensure(3)
    cosmos.refusals += [BUSY] * 6

    with pytest.raises(TryLater, match="1 writes were not taken after 6 tries"):
        target.upsert([a_chunk(0)])


def test_a_document_that_is_refused_fails_with_its_reason(target: CosmosTarget, cosmos: Cosmos):
    target.ensure(3)
    refusal = {"index": 0, "code": 2, "errmsg": "dimensions do not match"}
    cosmos.refusals.append(DONE_NOT | {"writeErrors": [refusal]})

    with pytest.raises(DocumentFailed, match="refused a chunk: dimensions do not match"):
        target.upsert([a_chunk(0)])


def test_refused_credentials_are_told_without_them(target: CosmosTarget, cosmos: Cosmos):
    target.ensure(3)
    cosmos.refusals.append({"ok": 0.0, "code": 18, "errmsg": "the password hunter2 is wrong"})

    with pytest.raises(IngestionFailed, match="refused the credentials") as raised:
        target.upsert([a_chunk(0)])
    assert "hunter2" not in str(raised.value)


def test_a_cluster_that_is_away_asks_for_another_time():
    url = "mongodb://user:hunter2@127.0.0.1:9/?serverSelectionTimeoutMS=100"
    with (
        cosmos_target(url, "docs", "handbook_index", "handbook") as target,
        pytest.raises(TryLater, match="could not be reached") as raised,
    ):
        target.count()
    assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize("url", ["https://user:hunter2@example.org", "mongodb://u:p@hunter2@x"])
def test_an_address_that_cannot_be_read_is_not_told(url: str):
    with (
        pytest.raises(IngestionFailed, match="cannot be read") as raised,
        cosmos_target(url, "docs", "handbook_index", "handbook"),
    ):
        raise AssertionError("it was opened")
    assert "hunter2" not in str(raised.value)
