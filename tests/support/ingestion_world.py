"""A server, and every kind of place that its ingestion jobs take from and bring to."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from tests.support import pinecone_service, search_service
from tests.support.azurite import Azurite, running_azurite
from tests.support.certificates import self_signed
from tests.support.cosmos import Cosmos, running_cosmos
from tests.support.embeddings_service import EmbeddingsService, embeddings_service
from tests.support.identity_service import identity_service
from tests.support.ingestion_jobs import JOBS
from tests.support.ingestion_runs import ended
from tests.support.running_engine import RunningEngine, scripted_engine
from tests.support.server import API_VERSION
from tests.support.serving import serving
from tests.support.web_site import WebSite, web_site

EMBEDDER_KEY = "the-key-of-the-embedder"


@dataclass(frozen=True)
class World:
    """A server, and the places that its jobs take from and bring to.

    `embedder` and `search` the operator named, and they are not in `outbound.allow`; the callers'
    are. The server has an identity, which `azurite` takes.
    """

    client: httpx.Client
    azurite: Azurite
    site: WebSite
    engine: RunningEngine
    embedder: EmbeddingsService
    search: search_service.SearchService
    cosmos: Cosmos
    pinecone: pinecone_service.DataPlane
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


@contextmanager
def running_world(home: Path) -> Iterator[World]:
    """Run them all in a folder until the block ends."""
    for name in ("azurite", "cosmos", "needledb", "documents"):
        (home / name).mkdir()
    with ExitStack() as stack:
        tls = self_signed(home, "localhost")
        azurite = stack.enter_context(running_azurite(home / "azurite", tls))
        plane = stack.enter_context(pinecone_service.data_plane(home / "needledb"))
        docs = plane.make_index("docs", 3)
        control = stack.enter_context(pinecone_service.control_plane(plane))
        identity = stack.enter_context(identity_service())
        parts = (
            azurite,
            stack.enter_context(web_site()),
            stack.enter_context(scripted_engine(home / "engine")),
            stack.enter_context(embeddings_service()),
            stack.enter_context(search_service.search_service()),
            stack.enter_context(running_cosmos(home / "cosmos")),
            plane,
            home / "documents",
            stack.enter_context(embeddings_service()),
            stack.enter_context(search_service.search_service()),
        )
        _, site, engine, embedder, search, cosmos, _, documents, *callers = parts
        allowed = [azurite.allow, site.address, *(one.url.rpartition("/")[2] for one in callers)]
        config = home / "linarite.toml"
        config.write_text(
            f"""
            [outbound]
            allow = {allowed}
            ca_bundle = "{azurite.certificate}"
            identity_hosts = ["localhost"]
            [connections.lake]
            kind = "azure_blob"
            connection_string = "{azurite.connection_string}"
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
            host = "{docs}"
            key = "{pinecone_service.KEY}"
            [connections.pinecone-by-name]
            kind = "pinecone"
            index = "made"
            create = {{ cloud = "aws", region = "us-east-1" }}
            key = "{pinecone_service.KEY}"
            [datasets.handbook]
            type = "uri_folder"
            path = "{documents}"
            [datasets.contracts]
            type = "uri_folder"
            connection = "lake"
            container = "legal"
            prefix = "contracts/"
            [datasets.lease]
            type = "uri_file"
            connection = "lake"
            container = "legal"
            prefix = "contracts/lease.md"
            [[models]]
            id = "tiny"
            kind = "embedding"
            upstream = {{ base_url = "{engine.base_url}" }}
            [[deployments]]
            name = "embed"
            model = "tiny"
            """
        )
        environment = {"PINECONE_CONTROLLER_HOST": control.url, **identity.app_service}
        running = stack.enter_context(
            serving(home / "serving", "--config", str(config), **environment)
        )
        client = stack.enter_context(
            httpx.Client(
                base_url=running.endpoint,
                headers={"api-key": running.ready["api_key"]},
                params={"api-version": API_VERSION},
                timeout=30,
            )
        )
        yield World(client, *parts)
