"""From a folder to an index that answers, through HTTP, in a server as users run it."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from tests.support.ingestion_runs import ended, found
from tests.support.running_engine import scripted_engine
from tests.support.server import API_VERSION
from tests.support.serving import Serving, serving

JOB, INDEX = "/openai/ingestion/jobs/handbook", "handbook-index"
DEFINITION = {
    "kind": "UserCompute",
    "workspaceId": "here",
    "datasource": {
        "kind": "Dataset",
        "datasetId": "handbook",
        "datasetType": "uri_folder",
        "chunking": {"maxChunkSizeInTokens": 64},
        "embeddings": [{"deploymentName": "embed"}],
    },
}


@contextmanager
def a_server(folder: Path, documents: Path, **environment: str) -> Iterator[Serving]:
    """A server with a dataset, and a deployment that a scripted engine embeds for."""
    with scripted_engine(folder / "engine") as engine:
        config = folder / "linarite.toml"
        config.write_text(
            f"""
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
        with serving(folder / "serving", "--config", str(config), **environment) as running:
            yield running


@pytest.mark.timeout(180)
@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_a_folder_becomes_an_index_that_follows_it(kind, request, tmp_path):
    environment = {}
    if kind == "postgres":
        environment["LINARITE_DATABASE_URL"] = request.getfixturevalue("postgres_url")
    documents = tmp_path / "documents"
    documents.mkdir()
    (documents / "whales.md").write_text("# Whales\n\nWhales breathe air.")
    (documents / "bees.html").write_text("<title>Bees</title><p>Bees make honey.</p>")
    (documents / "broken.pdf").write_bytes(b"%PDF-1.7 and nothing")

    with (
        a_server(tmp_path, documents, **environment) as server,
        httpx.Client(
            base_url=server.endpoint,
            headers={"api-key": server.ready["api_key"]},
            params={"api-version": API_VERSION},
            timeout=30,
        ) as client,
    ):
        first = ended(client, client.put(JOB, json=DEFINITION))
        assert first["status"] == "succeeded", first
        assert [warning.partition(":")[0] for warning in first["warnings"]] == ["broken.pdf"]
        assert found(client, INDEX, "honey") == ["bees.html"]

        (documents / "bees.html").unlink()
        (documents / "whales.md").write_text("# Whales\n\nWhales sing.")
        second = ended(client, client.put(JOB, json=DEFINITION))
        assert second["status"] == "succeeded", second
        assert found(client, INDEX, "honey") == found(client, INDEX, "breathe") == []
        assert found(client, INDEX, "sing") == ["whales.md"]

        listed = client.get(f"{JOB}/documents", params={"state": "failed"}).json()["value"]
        assert [one["key"] for one in listed] == ["broken.pdf"]
        assert listed[0]["reason"]
        assert client.delete(JOB).status_code == 204
        deadline = time.monotonic() + 20
        while client.get("/indexes('handbook-index')").status_code != 404:
            assert time.monotonic() < deadline
            time.sleep(0.1)
