"""Ingestion jobs as callers send them, and a server on which they name what the operator named."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from tests.support.server import Server, running_server

from linarite.resources.ingestion.service import Ingestion

JOBS = "/openai/ingestion/jobs"
AWAY = "http://127.0.0.1:9/v1"
ARM = "/subscriptions/s/resourceGroups/g/providers/Microsoft.MachineLearningServices/workspaces/w"
DATA = "azureml://locations/l/workspaces/w/data/handbook/versions/1"

NAMED: dict[str, Any] = {
    "connections": {
        "search": {"kind": "azure_search", "endpoint": "https://a.search.test", "key": "sk"},
        "own-index": {"kind": "embedded"},
        "blobs": {"kind": "azure_blob", "endpoint": "https://a.blob.test/", "key": "bk"},
        "strung": {"kind": "azure_blob", "connection_string": "AccountName=a;AccountKey=YQ=="},
        "files": {"kind": "folder", "path": "/srv/files"},
        "cosmos": {"kind": "cosmos_mongo_vcore", "connection_string": "mongodb://u:p@c.test"},
        "pine": {"kind": "pinecone", "host": "https://i.pinecone.test/", "key": "pk"},
        "pine-by-name": {
            "kind": "pinecone",
            "index": "docs",
            "key": "pk",
            "create": {"cloud": "aws", "region": "us-east-1"},
        },
        "embedder": {"kind": "openai", "endpoint": "https://a.openai.test", "key": "ok"},
        "plain-embedder": {"kind": "openai", "endpoint": "http://e.test/v1", "key": "ok"},
        "keyless": {"kind": "azure_search", "endpoint": "https://b.search.test"},
        "unset": {"kind": "azure_search", "endpoint": "https://c.test", "key_env": "NOT_SET_HERE"},
    },
    "datasets": {
        "handbook": {"type": "uri_folder", "path": "/srv/handbook"},
        "sheet": {"type": "uri_file", "path": "/srv/sheet.pdf"},
        "far": {"type": "uri_folder", "connection": "blobs", "container": "docs", "prefix": "en/"},
        "far-file": {
            "type": "uri_file",
            "connection": "strung",
            "container": "docs",
            "prefix": "a.md",
        },
    },
    "computes": {"big": {"parallel": 8}},
    "outbound": {"identity_hosts": ["*.search.windows.net", "a.blob.core.windows.net"]},
    "models": [
        {"id": "embeds", "kind": "embedding", "upstream": {"base_url": AWAY}},
        {"id": "chats", "upstream": {"base_url": AWAY}},
    ],
    "aliases": {"ada": "embeds"},
}
"""Settings that name one of each."""

KEY: dict[str, Any] = {
    "kind": "EndpointWithKey",
    "endpoint": "https://x.blob.test",
    "key": "the-secret",
}
STRING: dict[str, Any] = {
    "kind": "ConnectionString",
    "connectionString": "DefaultEndpointsProtocol=https;AccountName=x;AccountKey=dGhlLXNlY3JldA==",
}
IDENTITY: dict[str, Any] = {
    "kind": "EndpointWithManagedIdentity",
    "endpoint": "https://a.blob.core.windows.net",
    "resourceId": "/subscriptions/s/a",
}
RELATIVE: dict[str, Any] = {"kind": "RelativeConnection"}
EMBEDS: dict[str, Any] = {"deploymentName": "embeds"}


def workspace(name: str) -> dict[str, Any]:
    """A connection by the full id of a resource."""
    return {"kind": "WorkspaceConnection", "connectionId": f"{ARM}/connections/{name}"}


def storage(connection: dict[str, Any] = RELATIVE, **more: Any) -> dict[str, Any]:
    """A SystemCompute job over a container, into this server's own index."""
    source = {
        "kind": "Storage",
        "connection": connection,
        "containerName": "docs",
        "embeddings": [],
    }
    return _job({"kind": "SystemCompute", "datasource": source}, more)


def pages(**more: Any) -> dict[str, Any]:
    """A SystemCompute job over web pages."""
    source = {
        "kind": "Urls",
        "urls": ["https://site.test/a"],
        "connection": RELATIVE,
        "containerName": "pages",
        "embeddings": [],
    }
    return _job({"kind": "SystemCompute", "datasource": source}, more)


def dataset(**more: Any) -> dict[str, Any]:
    """A UserCompute job over a named dataset."""
    source = {"kind": "Dataset", "datasetId": DATA, "datasetType": "uri_folder"}
    return _job({"kind": "UserCompute", "workspaceId": ARM, "datasource": source}, more)


def user_pages(**more: Any) -> dict[str, Any]:
    """A UserCompute job over web pages."""
    source = {"kind": "Urls", "urls": ["https://site.test/a"], "embeddings": []}
    return _job({"kind": "UserCompute", "workspaceId": ARM, "datasource": source}, more)


def _job(job: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    """`job` changed; what is not one of its own members goes into its datasource."""
    job = copy.deepcopy(job)
    of_job = {
        "searchServiceConnection",
        "completionAction",
        "dataRefreshIntervalInHours",
        "compute",
        "target",
        "jobId",
        "workspaceId",
    }
    for name, value in more.items():
        (job if name in of_job else job["datasource"])[name] = copy.deepcopy(value)
    return job


@contextmanager
def ingesting_server(folder: Path, **settings: Any) -> Iterator[Server]:
    """A server with one of each named; nobody performs its tasks."""
    with running_server(folder, **NAMED | settings) as server:
        yield server


def service(server: Server) -> Ingestion:
    """The jobs of a server, as its workers reach them."""
    found: Ingestion = server.built.parts[Ingestion]
    return found


def put(client: httpx.Client, job_id: str, job: dict[str, Any]) -> str:
    """Make a job; the id of its run."""
    answer = client.put(f"{JOBS}/{job_id}", json=job)
    assert answer.status_code == 200, answer.text
    return answer.headers["operation-location"].partition("?")[0].rpartition("/")[2]


def begin(server: Server, run_id: str) -> None:
    """Have a worker take the run."""
    with server.built.database.transaction() as tx:
        assert service(server).begin(tx, run_id) is not None


def finish(server: Server, run_id: str) -> None:
    """Have a worker do the run's work."""
    begin(server, run_id)
    with server.built.database.transaction() as tx:
        service(server).finish(tx, run_id)
