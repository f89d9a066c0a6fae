"""What a job may be made of, and every refusal with the place it is about."""

import json
import sys
from pathlib import Path

import pytest
from tests.support.files import error_of
from tests.support.ingestion_jobs import (
    ARM,
    EMBEDS,
    IDENTITY,
    JOBS,
    KEY,
    RELATIVE,
    STRING,
    dataset,
    ingesting_server,
    pages,
    put,
    storage,
    user_pages,
    workspace,
)

from linarite.indexing import extra

EXAMPLES = Path(__file__).parents[2] / "contract" / "examples"
CRAWLING = {
    "maxCrawlDepth": 2,
    "maxCrawlTimeInMins": 5,
    "maxDownloadTimeInMins": 2,
    "maxFileSize": 1000,
    "maxRedirects": 0,
    "maxFiles": 7,
}

TAKEN = {
    "own store, own index": storage(),
    "key": storage(KEY, searchServiceConnection=KEY | {"endpoint": "https://s.test:8443/base/"}),
    "string": storage(STRING, searchServiceConnection=RELATIVE),
    "identity": storage(
        IDENTITY,
        searchServiceConnection=IDENTITY | {"endpoint": "https://any.search.windows.net"},
        completionAction="cleanUpTempAssets",
    ),
    "names": storage(workspace("blobs"), searchServiceConnection=workspace("search")),
    "names of others": storage(workspace("strung"), searchServiceConnection=workspace("embedded")),
    "folder": storage(workspace("files"), searchServiceConnection=workspace("own-index")),
    "refreshed": storage(
        dataRefreshIntervalInHours=24,
        completionAction="keepAllAssets",
        chunking={"maxChunkSizeInTokens": 512},
        embeddings=[{"connection": RELATIVE, "deploymentName": "embeds", "modelName": "ada"}],
    ),
    "once": storage(dataRefreshIntervalInHours=0, embeddings=[{"modelName": "ada"}]),
    "embedder by key": storage(
        embeddings=[{"connection": KEY, "deploymentName": "d", "modelName": "m"}]
    ),
    "embedder by name": storage(
        embeddings=[{"connection": workspace("plain-embedder"), "modelName": "m"}]
    ),
    "pages": pages(crawling=CRAWLING, embeddings=[EMBEDS]),
    "dataset": dataset(),
    "dataset into search": dataset(
        compute={"kind": "ServerlessCompute", "sku": "Standard_E4s_v3", "instanceCount": 3},
        target={"kind": "AzureAISearch", "connectionId": f"{ARM}/connections/search"},
        embeddings=[{"connectionId": f"{ARM}/connections/embedder", "deploymentName": "d"}],
    ),
    "dataset into cosmos": dataset(
        datasetId="far",
        compute={"kind": "CustomCompute", "computeId": f"{ARM}/computes/big"},
        target={
            "kind": "CosmosDB",
            "connectionId": "cosmos",
            "databaseName": "d",
            "collectionName": "c",
        },
        dataRefreshIntervalInHours=1,
    ),
    "file into pinecone": dataset(
        datasetId="azureml://a/data/far-file/versions/7",
        datasetType="uri_file",
        target={"kind": "Pinecone", "connectionId": "pine"},
    ),
    "user's pages": user_pages(
        crawling={},
        chunking={},
        target={"kind": "AzureAISearch", "connectionId": "embedded"},
        embeddings=[EMBEDS],
    ),
}


def hidden(value):
    """What is answered of it: no secret."""
    if isinstance(value, list):
        return [hidden(one) for one in value]
    if isinstance(value, dict):
        return {
            name: "***" if name in {"key", "connectionString"} else hidden(one)
            for name, one in value.items()
        }
    return value


@pytest.mark.parametrize("job", TAKEN.values(), ids=TAKEN)
def test_a_job_is_answered_as_it_was_given_but_for_its_secrets(caller, job):
    answer = caller.put(f"{JOBS}/a-job", json=job)

    assert answer.status_code == 200, answer.text
    assert answer.json() == hidden(job) | {"jobId": "a-job"}
    assert caller.get(f"{JOBS}/a-job").json() == answer.json()


@pytest.mark.parametrize("name", ["put_ingestion_job_sc", "put_ingestion_job_uc"])
def test_the_vendors_example_is_taken(tmp_path, name):
    example = json.loads((EXAMPLES / f"{name}.json").read_text())
    search = {"kind": "azure_search", "endpoint": "https://a.search.test", "key": "k"}
    named = {
        "outbound": {"identity_hosts": ["*.search.windows.net", "*.blob.core.windows.net"]},
        "aliases": {"Ada": "embeds"},
        "connections": {"search-connection": search},
        "datasets": {"PlainText": {"type": "uri_folder", "path": "docs"}},
    }
    with ingesting_server(tmp_path, **named) as server, server.client() as client:
        answer = client.put(f"{JOBS}/ingestion-job", json=example["parameters"]["ingestionJob"])

    assert answer.json() == example["responses"]["200"]["body"]


def test_the_address_of_the_run_is_told(named, caller):
    answer = caller.put(f"{JOBS}/a-job", json=storage())

    address = answer.headers["operation-location"]
    run = caller.get(address).json()
    path, _, query = address.partition("?")
    assert path == f"{named.url}{JOBS}/a-job/runs/{run['runId']}"
    assert query == "api-version=2025-02-01-preview"
    assert (run["jobId"], run["status"]) == ("a-job", "notRunning")


def test_the_plain_base_needs_no_version(named):
    with named.client(params={}) as client:
        path = JOBS.replace("/openai/", "/openai/v1/")
        answer = client.put(f"{path}/plain", json=storage(), params={"api-version": None})

    address = answer.headers["operation-location"]
    assert address.startswith(f"{named.url}{path}/plain/runs/")


REFUSED = {
    "no kind": ({"datasource": {}}, "$.kind"),
    "another kind": ({"kind": "Compute"}, "$.kind"),
    "no object": ([], ""),
    "unknown member": (storage() | {"extra": 1}, "$.extra"),
    "snake case": (storage() | {"completion_action": "keepAllAssets"}, "$.completion_action"),
    "unknown member of a part": (storage(chunk=1), "$.datasource.chunk"),
    "of the other kind": (dataset() | {"completionAction": "keepAllAssets"}, "$.completionAction"),
    "no datasource": ({"kind": "SystemCompute"}, "$.datasource"),
    "no datasource of a user": ({"kind": "UserCompute", "workspaceId": "w"}, "$.datasource"),
    "datasource without kind": (
        {"kind": "SystemCompute", "datasource": {}},
        "$.datasource.kind",
    ),
    "datasource of the other kind": (storage(kind="Dataset"), "$.datasource.kind"),
    "connection without kind": (storage({}), "$.datasource.connection.kind"),
    "connection of no kind": (storage({"kind": "Key"}), "$.datasource.connection.kind"),
    "key without endpoint": (
        storage({"kind": "EndpointWithKey", "key": "k"}),
        "$.datasource.connection.endpoint",
    ),
    "no embeddings": (
        {
            "kind": "SystemCompute",
            "datasource": {"kind": "Storage", "connection": RELATIVE, "containerName": "docs"},
        },
        "$.datasource.embeddings",
    ),
    "another job's id": (storage(jobId="b"), "$.jobId"),
    "completion": (storage(completionAction="keep"), "$.completionAction"),
    "negative refresh": (storage(dataRefreshIntervalInHours=-1), "$.dataRefreshIntervalInHours"),
    "refresh as text": (storage(dataRefreshIntervalInHours="1"), "$.dataRefreshIntervalInHours"),
    "container": (storage(containerName="../a"), "$.datasource.containerName"),
    "container of capitals": (storage(containerName="Docs"), "$.datasource.containerName"),
    "endpoint of no scheme": (
        storage(KEY | {"endpoint": "x.blob.test"}),
        "$.datasource.connection.endpoint",
    ),
    "endpoint with user": (
        storage(KEY | {"endpoint": "https://u:p@x.test"}),
        "$.datasource.connection.endpoint",
    ),
    "endpoint with query": (
        storage(KEY | {"endpoint": "https://x.test/?sig=a"}),
        "$.datasource.connection.endpoint",
    ),
    "empty key": (storage(KEY | {"key": ""}), "$.datasource.connection.key"),
    "no connection string": (
        storage(STRING | {"connectionString": "AccountName=x"}),
        "$.datasource.connection.connectionString",
    ),
    "identity elsewhere": (
        storage(IDENTITY | {"endpoint": "https://evil.test"}),
        "$.datasource.connection.endpoint",
    ),
    "identity at a look-alike": (
        storage(IDENTITY | {"endpoint": "https://a.blob.core.windows.net.evil.test"}),
        "$.datasource.connection.endpoint",
    ),
    "identity in the clear": (
        storage(IDENTITY | {"endpoint": "http://a.blob.core.windows.net"}),
        "$.datasource.connection.endpoint",
    ),
    "unknown connection": (
        storage(workspace("none")),
        "$.datasource.connection.connectionId",
    ),
    "connection to something else": (
        storage(workspace("search")),
        "$.datasource.connection.connectionId",
    ),
    "search by a string": (
        storage(searchServiceConnection=STRING),
        "$.searchServiceConnection.kind",
    ),
    "search that is a store": (
        storage(searchServiceConnection=workspace("blobs")),
        "$.searchServiceConnection.connectionId",
    ),
    "secret that is not set": (
        storage(searchServiceConnection=workspace("unset")),
        "$.searchServiceConnection.connectionId",
    ),
    "two embeddings": (storage(embeddings=[EMBEDS, EMBEDS]), "$.datasource.embeddings"),
    "embedding of no name": (storage(embeddings=[{}]), "$.datasource.embeddings[0].deploymentName"),
    "unknown deployment": (
        storage(embeddings=[{"deploymentName": "none"}]),
        "$.datasource.embeddings[0].deploymentName",
    ),
    "deployment that chats": (
        storage(embeddings=[{"deploymentName": "chats"}]),
        "$.datasource.embeddings[0].deploymentName",
    ),
    "deployment of another model": (
        storage(embeddings=[EMBEDS | {"modelName": "chats"}]),
        "$.datasource.embeddings[0].modelName",
    ),
    "embedding by a string": (
        storage(embeddings=[EMBEDS | {"connection": STRING}]),
        "$.datasource.embeddings[0].connection.kind",
    ),
    "endpoint without deployment": (
        storage(embeddings=[{"connection": KEY, "modelName": "m"}]),
        "$.datasource.embeddings[0].deploymentName",
    ),
    "v1 without model": (
        dataset(embeddings=[{"connectionId": "plain-embedder"}]),
        "$.datasource.embeddings[0].modelName",
    ),
    "v1 with deployment": (
        dataset(
            embeddings=[{"connectionId": "plain-embedder", "deploymentName": "d", "modelName": "m"}]
        ),
        "$.datasource.embeddings[0].deploymentName",
    ),
    "embedder that is a store": (
        dataset(embeddings=[EMBEDS | {"connectionId": "blobs"}]),
        "$.datasource.embeddings[0].connectionId",
    ),
    "chunks too small": (
        storage(chunking={"maxChunkSizeInTokens": 1}),
        "$.datasource.chunking.maxChunkSizeInTokens",
    ),
    "chunks too large": (
        storage(chunking={"maxChunkSizeInTokens": 100_000}),
        "$.datasource.chunking.maxChunkSizeInTokens",
    ),
    "no pages": (pages(urls=[]), "$.datasource.urls"),
    "too many pages": (pages(urls=["https://a.test"] * 1001), "$.datasource.urls"),
    "no page": (pages(urls=["https://a.test", "ftp://a.test"]), "$.datasource.urls[1]"),
    "page with user": (user_pages(urls=["https://u:p@a.test"]), "$.datasource.urls[0]"),
    "files": (pages(crawling={"maxFiles": 0}), "$.datasource.crawling.maxFiles"),
    "redirects": (
        user_pages(crawling={"maxRedirects": -1}),
        "$.datasource.crawling.maxRedirects",
    ),
    "depth": (pages(crawling={"maxDepth": 1}), "$.datasource.crawling.maxDepth"),
    "unknown dataset": (dataset(datasetId="none"), "$.datasource.datasetId"),
    "type of a dataset": (dataset(datasetType="uri_file"), "$.datasource.datasetType"),
    "unknown compute": (
        dataset(compute={"kind": "CustomCompute", "computeId": "none"}),
        "$.compute.computeId",
    ),
    "too many instances": (
        dataset(compute={"kind": "ServerlessCompute", "instanceCount": 17}),
        "$.compute.instanceCount",
    ),
    "compute of the other kind": (
        dataset(compute={"kind": "CustomCompute", "instanceCount": 1}),
        "$.compute.computeId",
    ),
    "unknown target": (
        dataset(target={"kind": "Pinecone", "connectionId": "none"}),
        "$.target.connectionId",
    ),
    "target that is another": (
        dataset(target={"kind": "CosmosDB", "connectionId": "pine"}),
        "$.target.connectionId",
    ),
    "database": (
        dataset(target={"kind": "CosmosDB", "connectionId": "cosmos", "databaseName": "a.b"}),
        "$.target.databaseName",
    ),
    "collection": (
        dataset(target={"kind": "CosmosDB", "connectionId": "cosmos", "collectionName": "a$"}),
        "$.target.collectionName",
    ),
}


@pytest.mark.parametrize(("job", "place"), REFUSED.values(), ids=REFUSED)
def test_a_job_that_cannot_be_is_refused_with_its_place(caller, job, place):
    answer = caller.put(f"{JOBS}/a-job", json=job)

    assert answer.status_code == 400, answer.text
    error = answer.json()["error"]
    assert error["code"] == "invalidPayload"
    assert error.get("target", "") == (place or "$")
    assert caller.get(JOBS).json() == {"value": []}


@pytest.mark.parametrize("job_id", ["-a", "_a", "a.b", "a b", "ä", "a" * 101, "a%00b"])
def test_an_id_that_no_job_may_have_is_refused(caller, job_id):
    answer = caller.put(f"{JOBS}/{job_id}", json=storage())

    assert answer.status_code == 400
    assert "job" in answer.json()["error"]["message"] or "NUL" in answer.text


def test_an_id_may_be_a_hundred_characters_of_both_cases(caller):
    put(caller, "0" + "aB_c-D" * 16 + "abc", storage())


@pytest.mark.parametrize("job_id", ["a--b", "a__b", "a-"])
def test_an_index_that_no_service_takes_is_refused(caller, job_id):
    for job in (storage(), dataset(), storage(searchServiceConnection=KEY)):
        answer = caller.put(f"{JOBS}/{job_id}", json=job)

        assert answer.status_code == 400
        assert answer.json()["error"]["target"] == "job-id"
    put(caller, job_id, dataset(target={"kind": "CosmosDB", "connectionId": "cosmos"}))


def test_another_resources_deployment_does_not_embed(named, caller):
    body = {"id": "mine-alone", "model": "embeds"}
    with named.client() as other:
        other.post("/openai/deployments", json=body)

    answer = caller.put(f"{JOBS}/a", json=storage(embeddings=[{"deploymentName": "mine-alone"}]))

    assert "There is no deployment 'mine-alone'" in answer.json()["error"]["message"]


def test_the_embedded_index_does_not_embed(caller):
    embeddings = [{"connectionId": "embedded", "deploymentName": "embeds"}]

    answer = caller.put(f"{JOBS}/a", json=dataset(embeddings=embeddings))

    assert answer.status_code == 400
    assert "leave `connectionId` out" in answer.json()["error"]["message"]


def test_without_what_ingestion_needs_nothing_is_taken(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "lancedb", None)  # as Python notes what is not there
    with ingesting_server(tmp_path) as server, server.client() as client:
        refused = client.put(f"{JOBS}/a-job", json=storage())

        assert error_of(refused) == (503, "serviceUnavailable", extra.MESSAGE)
        assert "pip install 'linarite[ingest]'" in refused.text
        assert client.get(JOBS).json() == {"value": []}


def test_a_resource_has_as_many_jobs_as_it_may(tmp_path):
    with ingesting_server(tmp_path, ingestion={"jobs": 1}) as server, server.client() as client:
        put(client, "a", storage())
        refused = client.put(f"{JOBS}/b", json=storage())

    assert refused.status_code == 403
    assert refused.json()["error"]["code"] == "quotaExceeded"
