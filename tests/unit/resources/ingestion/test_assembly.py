"""The parts that jobs come to, each doing one thing."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from tests.support.chunks import a_chunk
from tests.support.ingestion_jobs import dataset, pages, workspace
from tests.support.pinecone_service import KEY, data_plane

from linarite.bootstrap import build
from linarite.clock import SystemClock
from linarite.indexing.containers.container import Page
from linarite.resources.deployments.service import Deployments
from linarite.resources.files.service import Files
from linarite.resources.indexes.service import Indexes
from linarite.resources.inference.service import Inference
from linarite.resources.ingestion.assembly import Assembly
from linarite.resources.ingestion.parts import Parts
from linarite.settings import Settings
from linarite.wire.ingestion import IngestionJob

Open = Callable[[str, dict[str, Any]], AbstractContextManager[Parts]]


def assembling(folder: Path, **named: Any) -> Open:
    """Opens the parts of a resource's job on a server with those settings."""
    built = build(Settings(data=folder / "data", **named))
    assembly = Assembly(
        built.settings,
        built.database,
        built.parts[Files].blobs,
        SystemClock(),
        built.parts[Deployments],
        built.parts[Inference],
        built.parts[Indexes],
        folder / "engines.sock",
    )

    def opened(resource: str, job: dict[str, Any]) -> AbstractContextManager[Parts]:
        return assembly.open(resource, IngestionJob.model_validate(job | {"jobId": "docs"}))

    return opened


def test_a_crawl_makes_the_folder_that_its_pages_go_into(tmp_path):
    files = {"kind": "folder", "path": str(tmp_path / "files")}
    opened = assembling(tmp_path, connections={"files": files})
    page = Page("a.html", b"a", "text/html", "https://a.test/", None, {"job": "default/docs"})

    with opened("default", pages(connection=workspace("files"))) as parts:
        assert list(parts.container.list()) == []
        parts.container.write(page)
        assert [item.key for item in parts.container.list()] == ["a.html"]


def test_jobs_of_one_id_of_two_resources_have_a_namespace_each(tmp_path):
    target = {"kind": "Pinecone", "connectionId": "pine"}
    (tmp_path / "handbook").mkdir()
    with data_plane(tmp_path) as plane:
        pine = {"kind": "pinecone", "host": plane.make_index("docs", 3), "key": KEY}
        opened = assembling(
            tmp_path,
            connections={"pine": pine},
            datasets={"handbook": {"type": "uri_folder", "path": str(tmp_path / "handbook")}},
        )
        with opened("sales", dataset(target=target)) as one:
            one.target.upsert([a_chunk(0)])
            with opened("legal", dataset(target=target)) as other:
                assert other.target.count() == 0
                other.target.drop()
            assert one.target.count() == 1


def test_only_an_index_of_this_server_is_its_own(tmp_path):
    search = {"kind": "azure_search", "endpoint": "https://a.search.test", "key": "sk"}
    (tmp_path / "handbook").mkdir()
    opened = assembling(
        tmp_path,
        connections={"search": search},
        datasets={"handbook": {"type": "uri_folder", "path": str(tmp_path / "handbook")}},
    )
    elsewhere = {"kind": "AzureAISearch", "connectionId": "search"}

    with opened("default", dataset()) as own, opened("default", dataset(target=elsewhere)) as far:
        assert (own.is_own, far.is_own) == (True, False)
