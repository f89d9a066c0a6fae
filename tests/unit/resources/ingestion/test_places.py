"""Names in ids, and what the names of a job come to."""

from pathlib import Path

import pytest
from tests.support.ingestion_jobs import (
    EMBEDS,
    IDENTITY,
    KEY,
    NAMED,
    RELATIVE,
    STRING,
    dataset,
    pages,
    storage,
    user_pages,
    workspace,
)

from linarite.errors import InvalidPayload
from linarite.resources.ingestion.definition import resolve
from linarite.resources.ingestion.places import last_segment
from linarite.resources.ingestion.specs import (
    BlobContainerSpec,
    ByIdentity,
    ByKey,
    ByString,
    CosmosIndexSpec,
    CrawlSpec,
    DeploymentEmbeddingSpec,
    EmbeddedIndexSpec,
    EndpointEmbeddingSpec,
    FolderSpec,
    OwnContainerSpec,
    PineconeIndexSpec,
    SearchIndexSpec,
)
from linarite.settings import Settings
from linarite.wire.ingestion import IngestionJob

SETTINGS = Settings(**NAMED)


def resolved(job):
    return resolve(SETTINGS, IngestionJob.model_validate(job | {"jobId": "A-job"}))


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("handbook", "handbook"),
        ("azureml://locations/l/workspaces/w/data/handbook/versions/1", "handbook"),
        ("azureml://subscriptions/s/data/handbook/versions/latest/", "handbook"),
        ("/subscriptions/s/workspaces/w/connections/search-connection", "search-connection"),
        ("/connections/a/", "a"),
        ("", ""),
    ],
)
def test_the_last_segment_of_an_id_is_the_name(given, name):
    assert last_segment(given) == name


CONTAINERS = {
    "own": (storage(RELATIVE), OwnContainerSpec("docs")),
    "key": (
        storage(KEY),
        BlobContainerSpec(ByKey("https://x.blob.test", "the-secret", is_named=False), "docs"),
    ),
    "string": (
        storage(STRING),
        BlobContainerSpec(ByString(STRING["connectionString"], is_named=False), "docs"),
    ),
    "identity": (
        storage(IDENTITY),
        BlobContainerSpec(ByIdentity("https://a.blob.core.windows.net", is_named=True), "docs"),
    ),
    "named": (
        storage(workspace("blobs")),
        BlobContainerSpec(ByKey("https://a.blob.test", "bk", is_named=True), "docs"),
    ),
    "folder": (storage(workspace("files")), FolderSpec(Path("/srv/files/docs"))),
    "dataset": (dataset(), FolderSpec(Path("/srv/handbook"))),
    "file": (
        dataset(datasetId="sheet", datasetType="uri_file"),
        FolderSpec(Path("/srv/sheet.pdf"), is_single=True),
    ),
    "blobs of a prefix": (
        dataset(datasetId="far"),
        BlobContainerSpec(ByKey("https://a.blob.test", "bk", is_named=True), "docs", "en/"),
    ),
    "one blob": (
        dataset(datasetId="far-file", datasetType="uri_file"),
        BlobContainerSpec(
            ByString("AccountName=a;AccountKey=YQ==", is_named=True),
            "docs",
            "a.md",
            is_single=True,
        ),
    ),
    "a user's pages": (user_pages(), OwnContainerSpec("webpage-a-job-index")),
}


@pytest.mark.parametrize(("job", "container"), CONTAINERS.values(), ids=CONTAINERS)
def test_where_the_documents_are(job, container):
    assert resolved(job).container == container


def target(kind, name, **more):
    return dataset(target={"kind": kind, "connectionId": name, **more})


TARGETS = {
    "none": (storage(), EmbeddedIndexSpec("a-job-index")),
    "none of a user": (dataset(), EmbeddedIndexSpec("a-job-index")),
    "relative": (storage(searchServiceConnection=RELATIVE), EmbeddedIndexSpec("a-job-index")),
    "embedded": (target("AzureAISearch", "embedded"), EmbeddedIndexSpec("a-job-index")),
    "an entry": (target("AzureAISearch", "own-index"), EmbeddedIndexSpec("a-job-index")),
    "key": (
        storage(searchServiceConnection=KEY),
        SearchIndexSpec(ByKey("https://x.blob.test", "the-secret", is_named=False), "a-job-index"),
    ),
    "named": (
        target("AzureAISearch", "keyless"),
        SearchIndexSpec(ByIdentity("https://b.search.test", is_named=True), "a-job-index"),
    ),
    "cosmos": (
        target("CosmosDB", "cosmos"),
        CosmosIndexSpec("mongodb://u:p@c.test", "a-job-index", "a-job-index"),
    ),
    "cosmos by names": (
        target("CosmosDB", "cosmos", databaseName="d", collectionName="c"),
        CosmosIndexSpec("mongodb://u:p@c.test", "d", "c"),
    ),
    "pinecone": (
        target("Pinecone", "pine"),
        PineconeIndexSpec("https://i.pinecone.test", "pk", "a-job-index"),
    ),
    "pinecone by name": (
        target("Pinecone", "pine-by-name"),
        PineconeIndexSpec(None, "pk", "a-job-index", "docs", ("aws", "us-east-1")),
    ),
}


@pytest.mark.parametrize(("job", "where"), TARGETS.values(), ids=TARGETS)
def test_where_the_chunks_go(job, where):
    found = resolved(job).target

    assert found == where
    assert "secret" not in repr(found)
    assert "u:p" not in repr(found)


AWAY = ByKey("https://a.openai.test", "ok", is_named=True)
PLAIN = ByKey("http://e.test/v1", "ok", is_named=True)
EMBEDDINGS = {
    "none": (storage(embeddings=[]), None),
    "none of a user": (dataset(), None),
    "deployment": (storage(embeddings=[EMBEDS]), DeploymentEmbeddingSpec("embeds", None)),
    "model": (
        dataset(embeddings=[{"modelName": "ada"}]),
        DeploymentEmbeddingSpec("ada", "ada"),
    ),
    "azure": (
        dataset(embeddings=[{"connectionId": "embedder", "deploymentName": "d"}]),
        EndpointEmbeddingSpec(AWAY, "d", None),
    ),
    "openai": (
        dataset(embeddings=[{"connectionId": "plain-embedder", "modelName": "m"}]),
        EndpointEmbeddingSpec(PLAIN, None, "m"),
    ),
    "openai by deployment": (
        dataset(embeddings=[{"connectionId": "plain-embedder", "deploymentName": "m"}]),
        EndpointEmbeddingSpec(PLAIN, None, "m"),
    ),
}


@pytest.mark.parametrize(("job", "model"), EMBEDDINGS.values(), ids=EMBEDDINGS)
def test_what_embeds(job, model):
    assert resolved(job).embedding == model


def test_how_far_a_crawl_goes():
    usual = CrawlSpec(("https://site.test/a",), 1, 3600, 60, 5_000_000, 3, 1000)
    crawling = {
        "maxCrawlDepth": 0,
        "maxCrawlTimeInMins": 2,
        "maxDownloadTimeInMins": 3,
        "maxFileSize": 4,
        "maxRedirects": 5,
        "maxFiles": 6,
    }
    urls = ["https://b.test", "https://a.test", "https://b.test"]

    assert resolved(pages()).crawl == usual
    assert resolved(storage()).crawl is None
    assert resolved(user_pages(crawling=crawling, urls=urls)).crawl == CrawlSpec(
        ("https://b.test", "https://a.test"), 0, 120, 180, 4, 5, 6
    )


def test_the_emulator_is_named_by_its_own_word():
    emulator = {"kind": "ConnectionString", "connectionString": "UseDevelopmentStorage=true"}

    assert isinstance(resolved(storage(emulator)).container.access, ByString)


def test_a_page_that_no_crawl_takes_is_refused_when_the_job_is_put():
    resolved(pages(crawling={"maxFileSize": 100_000_000}))

    with pytest.raises(InvalidPayload, match="maxFileSize"):
        resolved(pages(crawling={"maxFileSize": 100_000_001}))


@pytest.mark.parametrize(
    ("job", "chunk_tokens", "parallel", "clean_up"),
    [
        (storage(), 1024, 2, False),
        (storage(chunking={"maxChunkSizeInTokens": 256}), 256, 2, False),
        (storage(completionAction="cleanUpTempAssets"), 1024, 2, True),
        (dataset(compute={"kind": "ServerlessCompute"}), 1024, 2, False),
        (dataset(compute={"kind": "ServerlessCompute", "instanceCount": 5}), 1024, 5, False),
        (dataset(compute={"kind": "CustomCompute", "computeId": "/computes/big"}), 1024, 8, False),
    ],
)
def test_how_it_is_worked_on(job, chunk_tokens, parallel, clean_up):
    found = resolved(job)

    assert (found.chunk_tokens, found.parallel, found.clean_up) == (
        chunk_tokens,
        parallel,
        clean_up,
    )
