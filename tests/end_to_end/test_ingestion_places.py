"""From Azure's storage and from the web to each kind of index, in a server as users run it."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from pymongo import MongoClient
from tests.support import pinecone_service, search_service
from tests.support.azurite import KEY as STORAGE_KEY
from tests.support.azurite import Azurite, running_azurite
from tests.support.cosmos import Cosmos, running_cosmos
from tests.support.embeddings_service import EmbeddingsService, embeddings_service
from tests.support.files import until
from tests.support.hostile_site import html, links
from tests.support.ingestion_runs import ended, found
from tests.support.running_engine import RunningEngine, scripted_engine
from tests.support.server import API_VERSION
from tests.support.serving import serving
from tests.support.web_site import WebSite, web_site

JOBS = "/openai/ingestion/jobs"
EMBEDDER_KEY = "the-key-of-the-embedder"
pytestmark = pytest.mark.timeout(180)


@dataclass(frozen=True)
class World:
    """A server, and the places that its jobs take from and bring to.

    `embedder` and `search` the operator named, and they are not in `outbound.allow`; the callers'
    are.
    """

    client: httpx.Client
    azurite: Azurite
    site: WebSite
    engine: RunningEngine
    embedder: EmbeddingsService
    search: search_service.SearchService
    cosmos: Cosmos
    pinecone: str
    documents: Path
    callers_embedder: EmbeddingsService
    callers_search: search_service.SearchService

    def run(self, job_id: str, job: dict[str, Any]) -> None:
        """Put a job; its run succeeds without a warning."""
        run = ended(self.client, self.client.put(f"{JOBS}/{job_id}", json=job))
        assert run["status"] == "succeeded", run
        assert not run.get("warnings"), run

    def delete(self, job_id: str) -> None:
        """Delete a job; what it stored goes soon."""
        assert self.client.delete(f"{JOBS}/{job_id}").status_code == 204

    def has_index(self, name: str) -> bool:
        """Whether the server keeps an index of that name."""
        return self.client.get(f"/indexes('{name}')").status_code != 404


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    home = tmp_path_factory.mktemp("places")
    for name in ("azurite", "cosmos", "needledb", "documents"):
        (home / name).mkdir()
    with ExitStack() as stack:
        azurite = stack.enter_context(running_azurite(home / "azurite"))
        plane = stack.enter_context(pinecone_service.data_plane(home / "needledb"))
        parts = (
            azurite,
            stack.enter_context(web_site()),
            stack.enter_context(scripted_engine(home / "engine")),
            stack.enter_context(embeddings_service()),
            stack.enter_context(search_service.search_service()),
            stack.enter_context(running_cosmos(home / "cosmos")),
            plane.make_index("docs", 3),
            home / "documents",
            stack.enter_context(embeddings_service()),
            stack.enter_context(search_service.search_service()),
        )
        _, site, engine, embedder, search, cosmos, pinecone, documents, *callers = parts
        allowed = [azurite.allow, site.address, *(one.url.rpartition("/")[2] for one in callers)]
        config = home / "linarite.toml"
        config.write_text(
            f"""
            [outbound]
            allow = {allowed}
            [connections.embedder]
            kind = "openai"
            endpoint = "{embedder.url}/v1"
            key = "{EMBEDDER_KEY}"
            [connections.search]
            kind = "azure_search"
            endpoint = "{search.url}"
            key = "{search_service.KEY}"
            [connections.cosmos]
            kind = "cosmos_mongo_vcore"
            connection_string = "{cosmos.url}"
            [connections.pinecone]
            kind = "pinecone"
            host = "{pinecone}"
            key = "{pinecone_service.KEY}"
            [datasets.handbook]
            type = "uri_folder"
            path = "{documents}"
            [[models]]
            id = "tiny"
            kind = "embedding"
            upstream = {{ base_url = "{engine.base_url}" }}
            [[deployments]]
            name = "embed"
            model = "tiny"
            """
        )
        running = stack.enter_context(serving(home / "serving", "--config", str(config)))
        client = stack.enter_context(
            httpx.Client(
                base_url=running.endpoint,
                headers={"api-key": running.ready["api_key"]},
                params={"api-version": API_VERSION},
                timeout=30,
            )
        )
        yield World(client, *parts)


def by_string(azurite: Azurite) -> dict[str, str]:
    return {"kind": "ConnectionString", "connectionString": azurite.connection_string}


def by_key(azurite: Azurite) -> dict[str, str]:
    return with_key(azurite.endpoint, STORAGE_KEY)


def with_key(endpoint: str, key: str) -> dict[str, str]:
    return {"kind": "EndpointWithKey", "endpoint": endpoint, "key": key}


@pytest.mark.parametrize("connection", [by_string, by_key])
def test_blobs_become_an_index_that_follows_them(
    connection: Callable[[Azurite], dict[str, str]], world: World
):
    name = connection.__name__.replace("_", "-")
    job = {
        "kind": "SystemCompute",
        "searchServiceConnection": {"kind": "RelativeConnection"},
        "datasource": {
            "kind": "Storage",
            "connection": connection(world.azurite),
            "containerName": name,
            "embeddings": [
                {"connection": {"kind": "RelativeConnection"}, "deploymentName": "embed"}
            ],
        },
    }
    index = f"{name}-index"
    with world.azurite.service() as storage:
        container = storage.create_container(name)
        container.upload_blob("sea/whales.md", f"# Whales\n\nWhales breathe air, {name}.")
        container.upload_blob("bees.html", f"<title>Bees</title><p>Bees make honey, {name}.</p>")
        container.upload_blob("moss.txt", f"Moss covers stones, {name}.")
        world.run(name, job)
        assert sorted(found(world.client, index, "*")) == [
            "bees.html",
            "moss.txt",
            "sea/whales.md",
        ]
        world.engine.forget()

        container.upload_blob("sea/whales.md", f"# Whales\n\nThey sing, {name}.", overwrite=True)
        container.delete_blob("bees.html")
        world.run(name, job)

        assert world.engine.asked()["total"] == 1, "only what changed is embedded"
        assert found(world.client, index, "honey") == found(world.client, index, "breathe") == []
        assert found(world.client, index, "sing") == ["sea/whales.md"]
        assert found(world.client, index, "moss") == ["moss.txt"]
        world.delete(name)
        until(lambda: not world.has_index(index), "the index is gone")
        assert sorted(container.list_blob_names()) == ["moss.txt", "sea/whales.md"]


def test_a_web_site_is_saved_to_a_container_and_indexed(world: World):
    pages = world.site.pages
    pages["/"] = html(links("/bees", "/whales", title="Animals"))
    pages["/bees"] = html("<title>Bees</title><p>Bees make honey.</p>")
    pages["/whales"] = html("<title>Whales</title><p>Whales breathe air.</p>")
    job = {
        "kind": "SystemCompute",
        "datasource": {
            "kind": "Urls",
            "urls": [world.site.url("/")],
            "connection": by_string(world.azurite),
            "containerName": "pages",
            "embeddings": [],
        },
        "completionAction": "keepAllAssets",
    }

    world.run("site", job)

    with world.azurite.service() as storage:
        container = storage.get_container_client("pages")
        saved = set(container.list_blob_names())
        assert len(saved) == 3
        assert set(found(world.client, "site-index", "*")) == saved
        [bees] = found(world.client, "site-index", "honey")
        assert b"Bees make honey." in container.download_blob(bees).readall()

        pages["/"] = html(links("/whales", title="Animals"))
        del pages["/bees"]
        world.run("site", job)
        assert found(world.client, "site-index", "honey") == []
        assert set(container.list_blob_names()) == saved - {bees}
        world.delete("site")
        until(lambda: not world.has_index("site-index"), "the index is gone")


def test_a_job_that_brings_every_address_and_key_cleans_up_behind_its_crawl(world: World):
    world.site.pages["/only"] = html("<title>Ants</title><p>Ants carry leaves.</p>")
    embedder, search = world.callers_embedder, world.callers_search
    job = {
        "kind": "SystemCompute",
        "searchServiceConnection": with_key(search.url, search_service.KEY),
        "datasource": {
            "kind": "Urls",
            "urls": [world.site.url("/only")],
            "connection": by_key(world.azurite),
            "containerName": "passing",
            "embeddings": [
                {"connection": with_key(embedder.url, EMBEDDER_KEY), "deploymentName": "ada"}
            ],
        },
        "completionAction": "cleanUpTempAssets",
    }

    world.run("ants", job)

    [chunk] = search.documents["ants-index"].values()
    assert "Ants carry leaves." in chunk["content"]
    assert (chunk["title"], chunk["url"]) == ("Ants", world.site.url("/only"))
    assert chunk["contentVector"] == pytest.approx(embedder.vector(chunk["content"]))
    path, headers, _body = embedder.seen[-1]
    assert path.startswith("/openai/deployments/ada/embeddings")
    assert headers["api-key"] == EMBEDDER_KEY
    with world.azurite.service() as storage:
        assert list(storage.get_container_client("passing").list_blob_names()) == []
    world.delete("ants")
    until(lambda: "ants-index" not in search.indexes, "the index is gone")


def in_search(world: World) -> list[dict[str, Any]]:
    return list(world.search.documents.get("search-index", {}).values())


def in_cosmos(world: World) -> list[dict[str, Any]]:
    with MongoClient(world.cosmos.url) as client:
        return list(client["cosmos-index"]["animals"].find())


def in_pinecone(world: World) -> list[dict[str, Any]]:
    namespace = {"namespace": "default.pinecone-index"}
    listed = httpx.get(f"{world.pinecone}/vectors/list", params=namespace).json()
    ids = [one["id"] for one in listed.get("vectors", [])]
    if not ids:
        return []
    wanted = {"ids": ids, **namespace}
    vectors = httpx.get(f"{world.pinecone}/vectors/fetch", params=wanted).json()["vectors"]
    return [{**it["metadata"], "contentVector": it["values"]} for it in vectors.values()]


@pytest.mark.parametrize(
    ("name", "target", "stored"),
    [
        ("search", {"kind": "AzureAISearch", "connectionId": "search"}, in_search),
        (
            "cosmos",
            {"kind": "CosmosDB", "connectionId": "cosmos", "collectionName": "animals"},
            in_cosmos,
        ),
        ("pinecone", {"kind": "Pinecone", "connectionId": "pinecone"}, in_pinecone),
    ],
    ids=["search", "cosmos", "pinecone"],
)
def test_a_dataset_fills_an_index_elsewhere_and_follows_it(
    name: str,
    target: dict[str, str],
    stored: Callable[[World], list[dict[str, Any]]],
    world: World,
):
    job = {
        "kind": "UserCompute",
        "workspaceId": "here",
        "target": target,
        "datasource": {
            "kind": "Dataset",
            "datasetId": "handbook",
            "datasetType": "uri_folder",
            "embeddings": [{"connectionId": "embedder", "modelName": "m"}],
        },
    }

    def contents() -> dict[str, str]:
        return {one["filepath"]: one["content"] for one in stored(world)}

    (world.documents / "whales.md").write_text("Whales breathe air.")
    (world.documents / "bees.md").write_text("Bees make honey.")
    world.run(name, job)
    assert contents() == {"whales.md": "Whales breathe air.", "bees.md": "Bees make honey."}
    for one in stored(world):
        assert one["contentVector"] == pytest.approx(world.embedder.vector(one["content"]))
    _path, headers, _body = world.embedder.seen[-1]
    assert headers["authorization"] == f"Bearer {EMBEDDER_KEY}"

    (world.documents / "whales.md").write_text("Whales sing.")
    (world.documents / "bees.md").unlink()
    world.run(name, job)
    assert contents() == {"whales.md": "Whales sing."}

    world.delete(name)
    until(lambda: not stored(world), "the target is empty")
