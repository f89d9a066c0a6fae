"""Connections of a job, and names for `linarite.toml`, as the places that they lead to.

Where a kind of connection makes no sense, it is refused with the kinds that do. This server's own
identity goes to hosts that the operator listed, or named in an entry.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NoReturn, TypeVar
from urllib.parse import urlsplit

from linarite.errors import InvalidPayload
from linarite.resources.ingestion.specs import (
    BlobContainerSpec,
    ByIdentity,
    ByKey,
    ByString,
    ContainerSpec,
    CosmosIndexSpec,
    DeploymentEmbeddingSpec,
    EmbeddedIndexSpec,
    EmbeddingSpec,
    EndpointEmbeddingSpec,
    FolderSpec,
    OwnContainerSpec,
    PineconeIndexSpec,
    SearchIndexSpec,
    TargetSpec,
)
from linarite.sections import (
    BlobConnection,
    ConnectionEntry,
    CosmosConnection,
    EmbeddedConnection,
    FolderConnection,
    OpenAiConnection,
    PineconeConnection,
    SearchConnection,
    SecretMissing,
    Section,
)
from linarite.settings import Settings
from linarite.wire.ingestion import (
    BaseConnection,
    ConnectionStringConnection,
    CosmosDBIndex,
    DeploymentConnection,
    EndpointKeyConnection,
    EndpointMIConnection,
    GenericEmbeddingSettings,
    PineconeIndex,
    WorkspaceConnection,
    WorkspaceConnectionEmbeddingSettings,
)

EMBEDDED = "embedded"
"""The connection id that means the indexes this server keeps, where no entry has the name."""

E = TypeVar("E")

_ENDPOINT = re.compile(r"https?://[^/\s?#@\\]+(/[^\s?#]*)?", re.IGNORECASE)
_CONTAINER = re.compile(r"(?!.*--)[a-z0-9][a-z0-9-]{1,61}[a-z0-9]")
_SEARCH_INDEX = re.compile(r"(?!.*(--|__))[a-z0-9][a-z0-9_-]{0,126}[a-z0-9]")
_DATABASE = re.compile(r"[^/\\. \"$*<>:|?\0]{1,63}")
_COLLECTION = re.compile(r"(?!system\.)[^$\0]{1,200}")


@dataclass(frozen=True)
class Place:
    """Where in a job one is, and what its names are looked up in."""

    settings: Settings
    path: str
    """As JSON path."""

    def of(self, member: str | int) -> "Place":
        """The place of a member."""
        step = f"[{member}]" if isinstance(member, int) else f".{member}"
        return Place(self.settings, self.path + step)

    def refuse(self, message: str) -> NoReturn:
        """Raise InvalidPayload for what stands here."""
        raise InvalidPayload(message, target=self.path)


def container(at: Place, connection: BaseConnection, name: str) -> ContainerSpec:
    """The container `name` of a connection to storage."""
    if not _CONTAINER.fullmatch(name):
        raise InvalidPayload(
            f"`containerName` is {name[:80]!r}; a container has 3 to 63 lower-case letters, digits "
            "and single hyphens, and begins and ends with a letter or digit.",
            target=f"{at.path.rpartition('.')[0]}.containerName",
        )
    match connection:
        case EndpointKeyConnection():
            return BlobContainerSpec(_by_key(at, connection), name)
        case EndpointMIConnection():
            return BlobContainerSpec(_by_identity(at, connection), name)
        case ConnectionStringConnection():
            return BlobContainerSpec(_by_string(at, connection), name)
        case WorkspaceConnection():
            return _named_container(at.of("connectionId"), connection.connection_id, name)
        case _:
            return OwnContainerSpec(name)


def dataset(at: Place, dataset_id: str, dataset_type: str) -> ContainerSpec:
    """The documents of a named dataset, which must be of that type."""
    entry = _entry(at.of("datasetId"), dataset_id, at.settings.datasets, "datasets")
    if entry.type != dataset_type:
        at.of("datasetType").refuse(
            f"`datasetType` is {dataset_type[:40]!r}, and the dataset is a {entry.type}."
        )
    is_single = entry.type == "uri_file"
    if entry.path is not None:
        return FolderSpec(entry.path.absolute(), is_single)
    assert entry.connection is not None
    assert entry.container is not None
    found = _named_container(at.of("datasetId"), entry.connection, entry.container)
    if isinstance(found, BlobContainerSpec):
        return BlobContainerSpec(found.access, found.container, entry.prefix or "", is_single)
    assert isinstance(found, FolderSpec)
    return FolderSpec(found.path / (entry.prefix or ""), is_single)


def search_index(at: Place, connection: BaseConnection | None, index: str) -> TargetSpec:
    """The index of a connection to a search service; without one, this server's own."""
    match connection:
        case None | DeploymentConnection():
            return _embedded(index)
        case EndpointKeyConnection():
            return _search(_by_key(at, connection), index)
        case EndpointMIConnection():
            return _search(_by_identity(at, connection), index)
        case WorkspaceConnection():
            return named_search_index(at.of("connectionId"), connection.connection_id, index)
    raise _wrong_kind(at, connection, "a search service")


def named_search_index(at: Place, connection_id: str, index: str) -> TargetSpec:
    """The index of a named search service, which may be this server."""
    if last_segment(connection_id) == EMBEDDED and EMBEDDED not in at.settings.connections:
        return _embedded(index)
    found = _connection(at, connection_id)
    if isinstance(found, EmbeddedConnection):
        return _embedded(index)
    if not isinstance(found, SearchConnection):
        _refuse_entry(at, found, "azure_search or embedded")
    return _search(_named_access(at, found.endpoint, found), index)


def cosmos_index(at: Place, target: CosmosDBIndex, index: str) -> CosmosIndexSpec:
    """A collection of a named cluster; without names of their own both are called as the index."""
    found = _connection(at.of("connectionId"), target.connection_id)
    if not isinstance(found, CosmosConnection):
        _refuse_entry(at.of("connectionId"), found, "cosmos_mongo_vcore")
    database, collection = target.database_name or index, target.collection_name or index
    if not _DATABASE.fullmatch(database):
        at.of("databaseName").refuse(
            f"`databaseName` is {database[:120]!r}; it may have up to 63 characters, none of them "
            'a space or one of / \\ . " $ * < > : | ?'
        )
    if not _COLLECTION.fullmatch(collection):
        at.of("collectionName").refuse(
            f"`collectionName` is {collection[:120]!r}; it may have up to 200 characters, no $, "
            "and does not begin with system."
        )
    secret = _secret(at, found, "string")
    return CosmosIndexSpec(secret, database, collection)


def pinecone_index(at: Place, target: PineconeIndex, index: str) -> PineconeIndexSpec:
    """The namespace of a named index of Pinecone."""
    found = _connection(at.of("connectionId"), target.connection_id)
    if not isinstance(found, PineconeConnection):
        _refuse_entry(at.of("connectionId"), found, "pinecone")
    place = found.create
    return PineconeIndexSpec(
        None if found.host is None else found.host.rstrip("/"),
        _secret(at, found, "secret"),
        namespace=index,
        index=found.index,
        create=None if place is None else (place.cloud, place.region),
    )


def embedding(at: Place, asked: Sequence[GenericEmbeddingSettings]) -> EmbeddingSpec | None:
    """The model that embeds, by a connection; None where nothing is to be embedded."""
    _check_number(at, asked)
    if not asked:
        return None
    [one], at = asked, at.of(0)
    there = at.of("connection")
    match one.connection:
        case None | DeploymentConnection():
            return _deployment(at, one.deployment_name, one.model_name)
        case EndpointKeyConnection():
            access: ByKey | ByIdentity = _by_key(there, one.connection)
        case EndpointMIConnection():
            access = _by_identity(there, one.connection)
        case WorkspaceConnection():
            access = _named_embedder(there.of("connectionId"), one.connection.connection_id)
        case _:
            raise _wrong_kind(there, one.connection, "an embedding model")
    return _endpoint(at, access, one.deployment_name, one.model_name)


def workspace_embedding(
    at: Place, asked: Sequence[WorkspaceConnectionEmbeddingSettings]
) -> EmbeddingSpec | None:
    """The model that embeds, by a named connection; None where nothing is to be embedded."""
    _check_number(at, asked)
    if not asked:
        return None
    [one], at = asked, at.of(0)
    if one.connection_id is None:
        return _deployment(at, one.deployment_name, one.model_name)
    access = _named_embedder(at.of("connectionId"), one.connection_id)
    return _endpoint(at, access, one.deployment_name, one.model_name)


def compute(at: Place, compute_id: str) -> int:
    """How many lanes of work a named compute has."""
    return _entry(at, compute_id, at.settings.computes, "computes").parallel


def last_segment(name: str) -> str:
    """The name in an id: the last segment of a resource's, the name in ``azureml://``'s."""
    versioned = re.fullmatch(r"azureml://.*/data/([^/]+)/versions/[^/]+/?", name)
    return versioned[1] if versioned else name.rstrip("/").rpartition("/")[2]


def _entry(at: Place, name: str, entries: Mapping[str, E], section: str) -> E:
    found = entries.get(last_segment(name))
    if found is None:
        at.refuse(
            f"There is no {last_segment(name)[:200]!r} here; the operator names it in "
            f"[{section}.NAME] of linarite.toml."
        )
    return found


def _connection(at: Place, name: str) -> ConnectionEntry:
    return _entry(at, name, at.settings.connections, "connections")


def _refuse_entry(at: Place, entry: ConnectionEntry, taken: str) -> NoReturn:
    at.refuse(f"The operator's connection of that name is {entry.kind}; this takes {taken}.")


def _named_container(at: Place, connection_id: str, name: str) -> ContainerSpec:
    found = _connection(at, connection_id)
    if isinstance(found, FolderConnection):
        return FolderSpec(found.path.absolute() / name)
    if not isinstance(found, BlobConnection):
        _refuse_entry(at, found, "azure_blob or folder")
    if found.endpoint is None:
        return BlobContainerSpec(ByString(_secret(at, found, "string"), is_named=True), name)
    return BlobContainerSpec(_named_access(at, found.endpoint, found), name)


def _named_embedder(at: Place, connection_id: str) -> ByKey | ByIdentity:
    if last_segment(connection_id) == EMBEDDED and EMBEDDED not in at.settings.connections:
        at.refuse("That is an index; leave `connectionId` out for a deployment of this server.")
    found = _connection(at, connection_id)
    if not isinstance(found, OpenAiConnection):
        _refuse_entry(at, found, "openai")
    return _named_access(at, found.endpoint, found)


def _named_access(
    at: Place, endpoint: str, entry: BlobConnection | SearchConnection | OpenAiConnection
) -> ByKey | ByIdentity:
    if entry.key is None and entry.key_env is None:
        return ByIdentity(endpoint.rstrip("/"), is_named=True)
    return ByKey(endpoint.rstrip("/"), _secret(at, entry, "secret"), is_named=True)


def _secret(at: Place, entry: Section, name: str) -> str:
    try:
        secret: str = getattr(entry, name)
    except SecretMissing as missing:
        at.refuse(f"The operator's connection cannot be used: {missing}.")
    return secret


def _by_key(at: Place, connection: EndpointKeyConnection) -> ByKey:
    if not connection.key:
        at.of("key").refuse("`key` is empty.")
    return ByKey(_checked(at, connection.endpoint), connection.key, is_named=False)


def _by_identity(at: Place, connection: EndpointMIConnection) -> ByIdentity:
    endpoint = _checked(at, connection.endpoint)
    if not endpoint.lower().startswith("https://"):
        at.of("endpoint").refuse("This server shows its own identity over https alone.")
    host = (urlsplit(endpoint).hostname or "").lower()
    if not any(_covers(one.lower(), host) for one in at.settings.outbound.identity_hosts):
        at.of("endpoint").refuse(
            f"This server does not show its own identity to {host}; its operator can allow it in "
            "the setting `outbound.identity_hosts`."
        )
    return ByIdentity(endpoint, is_named=True)


def _covers(listed: str, host: str) -> bool:
    return host.endswith(listed[1:]) if listed.startswith("*.") else host == listed


def _by_string(at: Place, connection: ConnectionStringConnection) -> ByString:
    given = connection.connection_string
    pairs = (part.partition("=") for part in given.split(";"))
    parts = {name.strip().lower() for name, _, value in pairs if value}
    has_key = "sharedaccesssignature" in parts or "accountkey" in parts
    is_whole = has_key and ("accountname" in parts or "blobendpoint" in parts)
    if not is_whole and "usedevelopmentstorage" not in parts:
        at.of("connectionString").refuse(
            "`connectionString` is not one of Azure Storage: it has an AccountName or a "
            "BlobEndpoint, and an AccountKey or a SharedAccessSignature."
        )
    return ByString(given, is_named=False)


def _checked(at: Place, endpoint: str) -> str:
    if not _ENDPOINT.fullmatch(endpoint) or not _is_address(endpoint):
        at.of("endpoint").refuse(  # which is not repeated: there may be a password in it
            "`endpoint` must be a whole http or https address without user, query and fragment."
        )
    return endpoint.rstrip("/")


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _embedded(index: str) -> EmbeddedIndexSpec:
    _check_index(index)
    return EmbeddedIndexSpec(index)


def _search(access: ByKey | ByIdentity, index: str) -> SearchIndexSpec:
    _check_index(index)
    return SearchIndexSpec(access, index)


def _check_index(index: str) -> None:
    """Raise InvalidPayload where neither Azure AI Search nor this server takes the name."""
    if not _SEARCH_INDEX.fullmatch(index):
        raise InvalidPayload(
            f"The index would be called {index!r}, and an index has no two hyphens or underscores "
            "in a row; choose another job id.",
            target="job-id",
        )


def _check_number(at: Place, asked: Sequence[object]) -> None:
    if len(asked) > 1:
        at.refuse(f"There are {len(asked)} `embeddings`; an index has one vector a chunk: give 1.")


def _deployment(at: Place, deployment: str | None, model: str | None) -> DeploymentEmbeddingSpec:
    if not deployment and not model:
        at.of("deploymentName").refuse(
            "`deploymentName` is required: a deployment of this server that embeds."
        )
    return DeploymentEmbeddingSpec(deployment or model or "", model or None)


def _endpoint(
    at: Place, access: ByKey | ByIdentity, deployment: str | None, model: str | None
) -> EndpointEmbeddingSpec:
    if access.endpoint.endswith("/v1"):
        if not model and not deployment:
            at.of("modelName").refuse("`modelName` is required: what the endpoint calls its model.")
        if deployment and model and deployment != model:
            at.of("deploymentName").refuse(
                "An endpoint that ends in /v1 knows models and no deployments: give `modelName` "
                "alone."
            )
        return EndpointEmbeddingSpec(access, None, model or deployment)
    if not deployment:
        at.of("deploymentName").refuse(
            "`deploymentName` is required for an endpoint of Azure OpenAI; one with OpenAI's own "
            "dialect ends in /v1."
        )
    return EndpointEmbeddingSpec(access, deployment, model or None)


def _wrong_kind(at: Place, connection: BaseConnection, what: str) -> InvalidPayload:
    return InvalidPayload(
        f"A {connection.kind} is not taken for {what}; use EndpointWithKey, "
        "EndpointWithManagedIdentity, WorkspaceConnection or RelativeConnection.",
        target=f"{at.path}.kind",
    )
