"""From Azure's storage and from the web to each kind of index, in a server as users run it."""

from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from pymongo import MongoClient
from tests.support import search_service
from tests.support.azurite import KEY as STORAGE_KEY
from tests.support.azurite import Azurite
from tests.support.files import until
from tests.support.hostile_site import html, links
from tests.support.ingestion_runs import found
from tests.support.ingestion_world import EMBEDDER_KEY, World, running_world

pytestmark = pytest.mark.timeout(180)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with running_world(tmp_path_factory.mktemp("places")) as running:
        yield running


def by_string(azurite: Azurite) -> dict[str, str]:
    return {"kind": "ConnectionString", "connectionString": azurite.connection_string}


def by_key(azurite: Azurite) -> dict[str, str]:
    return with_key(azurite.endpoint, STORAGE_KEY)


def by_identity(azurite: Azurite) -> dict[str, str]:
    return {"kind": "EndpointWithManagedIdentity", "endpoint": azurite.endpoint}


def with_key(endpoint: str, key: str) -> dict[str, str]:
    return {"kind": "EndpointWithKey", "endpoint": endpoint, "key": key}


@pytest.mark.parametrize("connection", [by_string, by_key, by_identity])
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


@pytest.mark.parametrize(
    ("dataset", "kind", "keys"),
    [
        ("contracts", "uri_folder", ["contracts/1998/sale.md", "contracts/lease.md"]),
        ("lease", "uri_file", ["contracts/lease.md"]),
    ],
)
def test_a_dataset_may_be_a_part_of_a_container(
    dataset: str, kind: str, keys: list[str], world: World
):
    with world.azurite.service() as storage:
        container = storage.get_container_client("legal")
        if not container.exists():
            container.create_container()
        for key in ("contracts/lease.md", "contracts/1998/sale.md", "contracts.md", "letters/a.md"):
            container.upload_blob(key, f"Of {key}.", overwrite=True)
    job = {
        "kind": "UserCompute",
        "workspaceId": "here",
        "datasource": {"kind": "Dataset", "datasetId": dataset, "datasetType": kind},
    }

    world.run(f"of-{dataset}", job)

    assert sorted(found(world.client, f"of-{dataset}-index", "*")) == keys


def test_a_users_web_site_becomes_an_index_that_follows_it(world: World):
    pages = world.site.pages
    pages["/users"] = html(links("/lynx", "/owls", title="Woods"))
    pages["/lynx"] = html("<title>Lynx</title><p>The lynx hunts hares.</p>")
    pages["/owls"] = html("<title>Owls</title><p>Owls hunt mice.</p>")
    job = {
        "kind": "UserCompute",
        "workspaceId": "here",
        "compute": {"kind": "ServerlessCompute", "instanceCount": 2},
        "datasource": {
            "kind": "Urls",
            "urls": [world.site.url("/users")],
            "crawling": {"maxCrawlDepth": 1},
            "embeddings": [{"deploymentName": "embed"}],
        },
    }

    world.run("woods", job)

    hit = chunk(world, "woods-index", "hares")
    assert (hit["title"], hit["url"]) == ("Lynx", world.site.url("/lynx"))
    assert "The lynx hunts hares." in hit["content"]
    assert len(found(world.client, "woods-index", "*")) == 3

    pages["/users"] = html(links("/lynx", title="Woods"))
    pages["/lynx"] = html("<title>Lynx</title><p>The lynx sleeps.</p>")
    del pages["/owls"]
    world.engine.forget()
    world.run("woods", job)
    assert len(found(world.client, "woods-index", "*")) == 2
    assert chunk(world, "woods-index", "sleeps")["url"] == world.site.url("/lynx")
    world.delete("woods")
    until(lambda: not world.has_index("woods-index"), "the index is gone")


def chunk(world: World, index: str, text: str) -> dict[str, Any]:
    """The one chunk that a search finds."""
    [hit] = world.client.post(
        f"/indexes/{index}/docs/search",
        params={"api-version": "2024-07-01"},
        json={"search": text},
    ).json()["value"]
    return dict(hit)


def in_search(world: World) -> list[dict[str, Any]]:
    return list(world.search.documents.get("to-search-index", {}).values())


def in_cosmos(world: World) -> list[dict[str, Any]]:
    with MongoClient(world.cosmos.url) as client:
        return list(client["to-cosmos-index"]["animals"].find())


def in_namespace(host: str, job_id: str) -> list[dict[str, Any]]:
    namespace = {"namespace": f"default.{job_id}-index"}
    listed = httpx.get(f"{host}/vectors/list", params=namespace).json()
    ids = [one["id"] for one in listed.get("vectors", [])]
    if not ids:
        return []
    wanted = {"ids": ids, **namespace}
    vectors = httpx.get(f"{host}/vectors/fetch", params=wanted).json()["vectors"]
    return [{**it["metadata"], "contentVector": it["values"]} for it in vectors.values()]


def in_pinecone(world: World) -> list[dict[str, Any]]:
    return in_namespace(world.pinecone.host("docs"), "to-pinecone")


def in_made(world: World) -> list[dict[str, Any]]:
    return in_namespace(world.pinecone.host("made"), "to-pinecone-by-name")


@pytest.mark.parametrize(
    ("target", "stored"),
    [
        ({"kind": "AzureAISearch", "connectionId": "search"}, in_search),
        (
            {"kind": "CosmosDB", "connectionId": "cosmos", "collectionName": "animals"},
            in_cosmos,
        ),
        ({"kind": "Pinecone", "connectionId": "pinecone"}, in_pinecone),
        ({"kind": "Pinecone", "connectionId": "pinecone-by-name"}, in_made),
    ],
    ids=["search", "cosmos", "pinecone", "pinecone by name"],
)
def test_a_dataset_fills_an_index_elsewhere_and_follows_it(
    target: dict[str, str], stored: Callable[[World], list[dict[str, Any]]], world: World
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

    job_id = f"to-{target['connectionId']}"

    def contents() -> dict[str, str]:
        return {one["filepath"]: one["content"] for one in stored(world)}

    (world.documents / "whales.md").write_text("Whales breathe air.")
    (world.documents / "bees.md").write_text("Bees make honey.")
    world.run(job_id, job)
    assert contents() == {"whales.md": "Whales breathe air.", "bees.md": "Bees make honey."}
    for one in stored(world):
        assert one["contentVector"] == pytest.approx(world.embedder.vector(one["content"]))
    _path, headers, _body = world.embedder.seen[-1]
    assert headers["authorization"] == f"Bearer {EMBEDDER_KEY}"

    (world.documents / "whales.md").write_text("Whales sing.")
    (world.documents / "bees.md").unlink()
    world.run(job_id, job)
    assert contents() == {"whales.md": "Whales sing."}

    world.delete(job_id)
    until(lambda: not stored(world), "the target is empty")
