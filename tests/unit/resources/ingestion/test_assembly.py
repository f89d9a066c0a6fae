"""The parts that jobs' settings come to, at services that several resources share."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from tests.support.chunks import a_chunk
from tests.support.ingestion_jobs import dataset
from tests.support.pinecone_service import data_plane
from tests.support.search_service import KEY, SearchService, search_service

from linarite.indexing.failures import IngestionFailed
from linarite.indexing.targets.target import Target
from linarite.resources.ingestion.assembly import Assembly
from linarite.settings import Settings
from linarite.wire.ingestion import IngestionJob


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as opened:
        yield opened


def target(stack: ExitStack, folder: Path, resource: str, kind: str, connection: Any) -> Target:
    """Where the job `handbook` of a resource puts its chunks."""
    settings = Settings(
        data=folder,
        connections={"there": connection},
        datasets={"handbook": {"type": "uri_folder", "path": folder}},
    )
    nothing: Any = None
    assembly = Assembly(settings, *[nothing] * 6, folder / "host")
    asked = dataset(target={"kind": kind, "connectionId": "there"})
    job = IngestionJob.model_validate(asked | {"jobId": "handbook"})
    return stack.enter_context(assembly.open(resource, job)).target


def test_a_search_index_is_one_jobs_of_one_resource(stack: ExitStack, tmp_path: Path):
    service: SearchService = stack.enter_context(search_service())
    there = {"kind": "azure_search", "endpoint": service.url, "key": KEY}
    ours = target(stack, tmp_path, "ours", "AzureAISearch", there)
    theirs = target(stack, tmp_path, "theirs", "AzureAISearch", there)
    ours.ensure(3)
    ours.upsert([a_chunk(0)])

    with pytest.raises(IngestionFailed, match="is another ingestion job's"):
        theirs.ensure(3)
    theirs.drop()

    assert ours.count() == 1
    ours.drop()
    assert service.indexes == {}


def test_a_pinecone_namespace_is_one_jobs_of_one_resource(stack: ExitStack, tmp_path: Path):
    plane = stack.enter_context(data_plane(tmp_path))
    there = {"kind": "pinecone", "host": plane.make_index("docs", 3), "key": "any"}
    ours = target(stack, tmp_path, "ours", "Pinecone", there)
    theirs = target(stack, tmp_path, "theirs", "Pinecone", there)
    ours.upsert([a_chunk(0)])
    theirs.upsert([a_chunk(0), a_chunk(1)])

    theirs.drop()

    assert (ours.count(), theirs.count()) == (1, 0)
