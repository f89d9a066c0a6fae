"""Chunks in Pinecone, against a server that answers its official client."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from tests.support.chunks import a_chunk
from tests.support.pinecone_service import (
    KEY,
    ControlPlane,
    DataPlane,
    control_plane,
    data_plane,
)

from linarite.indexing.failures import DocumentFailed, IngestionFailed, TryLater
from linarite.indexing.targets.pinecone import PineconeTarget, Serverless, pinecone_target

HERE = Serverless("aws", "us-east-1")


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DataPlane]:
    with data_plane(tmp_path_factory.mktemp("needledb")) as running:
        running.make_index("docs", 3)
        yield running


@pytest.fixture
def control(plane: DataPlane) -> Iterator[ControlPlane]:
    with control_plane(plane) as running:
        yield running


@pytest.fixture
def target(plane: DataPlane) -> Iterator[PineconeTarget]:
    with pinecone_target(KEY, "handbook", host=plane.host("docs"), backoff_seconds=0.001) as opened:
        yield opened
        opened.drop()


def by_name(control: ControlPlane, name: str, **changes: Any) -> Any:
    options = {"api_key": KEY, "controller": control.url, "backoff_seconds": 0.001, **changes}
    return pinecone_target(namespace="handbook", index=name, **options)


def test_chunks_are_stored_replaced_counted_and_deleted(target: PineconeTarget, plane: DataPlane):
    target.ensure(3)
    target.upsert([a_chunk(0), a_chunk(1)])
    target.upsert([a_chunk(1, content="another"), a_chunk(2)])

    target.delete([a_chunk(0).id, "never-there"])

    assert target.count() == 2
    assert {one.id for one in target.stored()} == {a_chunk(1).id, a_chunk(2).id}
    [one] = target.stored(1)
    assert (one.filepath, one.meta_json_string) == ("handbook.md", "{}")
    ids = {"ids": a_chunk(1).id, "namespace": "handbook"}
    found = httpx.get(f"{plane.host('docs')}/vectors/fetch", params=ids).json()["vectors"]
    assert found[a_chunk(1).id]["values"] == pytest.approx([0.1, 0.2, 0.3])
    assert found[a_chunk(1).id]["metadata"] == {
        "parent_id": a_chunk(1).parent_id,
        "content": "another",
        "title": "Handbook",
        "filepath": "handbook.md",
        "url": "https://example.org/handbook.md",
        "chunk_id": "1",
        "last_updated": "2026-01-02T03:04:05Z",
        "meta_json_string": "{}",
    }


def test_jobs_in_one_index_mind_their_own_namespace(target: PineconeTarget, plane: DataPlane):
    with pinecone_target(KEY, "another", host=plane.host("docs")) as other:
        other.upsert([a_chunk(0)])
        target.upsert([a_chunk(0), a_chunk(1)])

        target.drop()
        target.drop()

        assert (target.count(), other.count()) == (0, 1)
        other.drop()


def test_nothing_to_delete_is_no_fault(target: PineconeTarget):
    target.delete(["never-there"])
    target.drop()

    assert target.count() == 0


def test_batches_keep_to_pinecones_limits(target: PineconeTarget):
    target.upsert([a_chunk(n, content="x" * 30_000) for n in range(100)])

    assert target.count() == 100


def test_a_chunk_that_is_too_long_fails_its_document_before_anything_is_stored(
    target: PineconeTarget,
):
    with pytest.raises(DocumentFailed, match=r"chunk 1 has 4\d+ bytes .* at most 40000"):
        target.upsert([a_chunk(0), a_chunk(1, content="é" * 20_000)])

    assert target.count() == 0


def test_an_index_of_other_dimensions_is_refused(target: PineconeTarget):
    with pytest.raises(IngestionFailed, match="has 3 dimensions, and the embeddings have 384"):
        target.ensure(384)


def test_a_job_without_embeddings_is_refused(target: PineconeTarget):
    with pytest.raises(IngestionFailed, match="the job has no embeddings"):
        target.ensure(None)


def test_a_chunk_that_is_refused_fails_with_its_reason(target: PineconeTarget):
    with pytest.raises(IngestionFailed, match="took no chunks: vectors must have dimension 3"):
        target.upsert([a_chunk(0, vector=[0.5])])


def test_an_index_that_is_not_there_is_made_as_the_client_of_today_makes_it(control: ControlPlane):
    with by_name(control, "made", create=HERE) as target:
        target.ensure(3)
        target.ensure(3)
        target.upsert([a_chunk(0)])

        assert target.count() == 1
    assert control.made == [
        {
            "name": "made",
            "schema": {
                "fields": {"_values": {"type": "dense_vector", "dimension": 3, "metric": "cosine"}}
            },
            "deployment": {
                "deployment_type": "managed",
                "cloud": "aws",
                "region": "us-east-1",
            },
        }
    ]


def test_an_index_that_is_not_there_is_not_made_unasked(control: ControlPlane):
    with (
        by_name(control, "missing") as target,
        pytest.raises(IngestionFailed, match="missing is not there; make it with 3 dimensions"),
    ):
        target.ensure(3)


def test_a_wrong_key_fails_and_is_not_told(control: ControlPlane):
    with (
        by_name(control, "any", api_key="hunter2") as target,
        pytest.raises(IngestionFailed, match="refused the key") as raised,
    ):
        target.ensure(3)
    assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_service_asks_for_another_time(control: ControlPlane, status: int):
    control.status = status
    with by_name(control, "any") as target, pytest.raises(TryLater, match=str(status)):
        target.ensure(3)


def test_a_service_that_is_away_asks_for_another_time():
    with (
        pinecone_target(KEY, "any", host="http://127.0.0.1:9", backoff_seconds=0.001) as target,
        pytest.raises(TryLater, match="could not be reached"),
    ):
        target.count()
