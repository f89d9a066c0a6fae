"""What a job comes to once every name in it is looked up: plain facts, secrets in the clear.

`definition.resolve` makes them, the pipeline makes working parts of them. None of them is stored.
"""

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class ByKey:
    """Reached at an address, with a key.

    Args:
        endpoint: the address, without a slash at its end.
        key: the secret.
        is_named: whether the operator named the address, which then need not be a public one.
    """

    endpoint: str
    key: str = field(repr=False)
    is_named: bool


@dataclass(frozen=True)
class ByIdentity:
    """Reached at an address that the operator trusts with this server's own identity."""

    endpoint: str
    is_named: bool


@dataclass(frozen=True)
class ByString:
    """Reached as a connection string of Azure Storage says."""

    connection_string: str = field(repr=False)
    is_named: bool


@dataclass(frozen=True)
class BlobContainerSpec:
    """A container of Azure Blob Storage: all below `prefix`, or the one blob of that name."""

    access: ByKey | ByIdentity | ByString
    container: str
    prefix: str = ""
    is_single: bool = False


@dataclass(frozen=True)
class FolderSpec:
    """A folder of this machine with all below it, or a file; a crawl writes into it."""

    path: Path
    is_single: bool = False


@dataclass(frozen=True)
class OwnContainerSpec:
    """A container of that name in this server's own store, of the job's resource."""

    container: str


ContainerSpec = BlobContainerSpec | FolderSpec | OwnContainerSpec


@dataclass(frozen=True)
class CrawlSpec:
    """Where a crawl begins and how far it goes."""

    urls: tuple[str, ...]
    max_depth: int
    max_seconds: int
    max_download_seconds: int
    max_file_bytes: int
    max_redirects: int
    max_files: int


@dataclass(frozen=True)
class DeploymentEmbeddingSpec:
    """A deployment of this server that the job's resource can use.

    Args:
        deployment: its name, or an alias's.
        model: the model that it must have; None: any that embeds.
    """

    deployment: str
    model: str | None


@dataclass(frozen=True)
class EndpointEmbeddingSpec:
    """An endpoint that embeds.

    Args:
        access: where it is; an endpoint that ends in ``/v1`` speaks OpenAI's dialect, which knows
            no deployments, any other Azure's.
        deployment: the deployment in the path, in Azure's dialect; else None.
        model: what `model` says in the body; None: nothing.
    """

    access: ByKey | ByIdentity
    deployment: str | None
    model: str | None


EmbeddingSpec = DeploymentEmbeddingSpec | EndpointEmbeddingSpec


@dataclass(frozen=True)
class EmbeddedIndexSpec:
    """An index that this server keeps, of the job's resource."""

    index: str


@dataclass(frozen=True)
class SearchIndexSpec:
    """An index of Azure AI Search."""

    access: ByKey | ByIdentity
    index: str


@dataclass(frozen=True)
class CosmosIndexSpec:
    """A collection of Azure Cosmos DB for MongoDB; the operator named the cluster."""

    connection_string: str = field(repr=False)
    database: str
    collection: str


@dataclass(frozen=True)
class PineconeIndexSpec:
    """A namespace of an index of Pinecone; the operator named the index's host, or its name.

    Args:
        host: the index's address; None: it is looked up by the name.
        key: of the project.
        namespace: the job's own.
        index: the index's name.
        create: cloud and region where an index of that name is made if there is none.
    """

    host: str | None
    key: str = field(repr=False)
    namespace: str
    index: str | None = None
    create: tuple[str, str] | None = None


TargetSpec = EmbeddedIndexSpec | SearchIndexSpec | CosmosIndexSpec | PineconeIndexSpec


@dataclass(frozen=True)
class Resolved:
    """A whole job.

    Args:
        container: where the documents are; of a crawl, where its pages are saved.
        crawl: what is fetched into the container first; None where it is full already.
        embedding: what gives the vectors; None: an index of keywords alone.
        target: where the chunks go.
        chunk_tokens: the longest chunk; the embedding model may want shorter ones.
        parallel: how many lanes of work there are side by side at most.
        clean_up: whether what a crawl saved is removed at the end of a run.
    """

    container: ContainerSpec
    crawl: CrawlSpec | None
    embedding: EmbeddingSpec | None
    target: TargetSpec
    chunk_tokens: int
    parallel: int
    clean_up: bool
