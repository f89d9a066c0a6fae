"""Ingestion jobs as they travel: jobs of both kinds with their parts, runs and their progress.

What a job is made of is chosen by `kind` at every level, so a class here stands for a choice where
the contract has one: reading an `IngestionJob` gives the subclass that its `kind` names. Unlike
elsewhere an undeclared member is a fault, for a limit that is misspelt must not be ignored.
"""

from enum import StrEnum
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    SerializeAsAny,
    model_validator,
)
from pydantic.alias_generators import to_camel

from linarite.wire.shapes import Incoming, Int32, Int64, Outgoing


class IngestionJobType(StrEnum):
    """Whose compute a job runs on, in the cloud; here it says which parts the job has."""

    SYSTEM_COMPUTE = "SystemCompute"
    USER_COMPUTE = "UserCompute"


class ConnectionType(StrEnum):
    """How a service is reached."""

    ENDPOINT_WITH_KEY = "EndpointWithKey"
    CONNECTION_STRING = "ConnectionString"
    ENDPOINT_WITH_MANAGED_IDENTITY = "EndpointWithManagedIdentity"
    WORKSPACE_CONNECTION = "WorkspaceConnection"
    RELATIVE_CONNECTION = "RelativeConnection"


class SystemComputeDatasourceType(StrEnum):
    """Where the documents of a SystemCompute job come from."""

    STORAGE = "Storage"
    URLS = "Urls"


class UserComputeDatasourceType(StrEnum):
    """Where the documents of a UserCompute job come from."""

    DATASET = "Dataset"
    URLS = "Urls"


class ComputeType(StrEnum):
    """What a UserCompute job runs on."""

    SERVERLESS_COMPUTE = "ServerlessCompute"
    CUSTOM_COMPUTE = "CustomCompute"


class TargetType(StrEnum):
    """The kinds of index that a UserCompute job can fill."""

    AZURE_AI_SEARCH = "AzureAISearch"
    COSMOS_DB = "CosmosDB"
    PINECONE = "Pinecone"


class CompletionAction(StrEnum):
    """What happens with what a run made on its way to the index."""

    CLEAN_UP_TEMP_ASSETS = "cleanUpTempAssets"
    KEEP_ALL_ASSETS = "keepAllAssets"


class OperationState(StrEnum):
    """The state of a run, or of one of its stages."""

    NOT_RUNNING = "notRunning"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


class _Part(Incoming, Outgoing):
    """A part of a job, asked and answered: no member but the declared ones, none that is null."""

    model_config = ConfigDict(extra="forbid", alias_generator=to_camel, serialize_by_alias=True)

    def to_json(self) -> bytes:
        """The object as compact UTF-8 JSON, without what was not given."""
        return self.__pydantic_serializer__.to_json(self, exclude_none=True)


class _Choice(_Part):
    """A part of which there are several kinds: reading it gives the subclass of its `kind`."""

    @model_validator(mode="wrap")
    @classmethod
    def _as_its_kind(cls, value: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        kinds = {_kind_of(one): one for one in cls.__subclasses__()}
        if not kinds or not isinstance(value, dict):
            return handler(value)
        named: Any = handler({name: value[name] for name in value if name == "kind"})
        return kinds[named.kind].model_validate(value)


def _kind_of(choice: type[BaseModel]) -> str:
    return str(get_args(choice.model_fields["kind"].annotation)[0])


class BaseConnection(_Choice):
    """How a service is reached."""

    kind: Annotated[ConnectionType, Field(strict=False)]


class EndpointKeyConnection(BaseConnection):
    """At an address, with a key."""

    kind: Literal[ConnectionType.ENDPOINT_WITH_KEY]
    endpoint: str
    key: Annotated[str, Field(repr=False)]


class ConnectionStringConnection(BaseConnection):
    """By a connection string, which has address and key in it."""

    kind: Literal[ConnectionType.CONNECTION_STRING]
    connection_string: Annotated[str, Field(repr=False)]


class EndpointMIConnection(BaseConnection):
    """At an address, as this server's own identity; `resource_id` is kept and answered."""

    kind: Literal[ConnectionType.ENDPOINT_WITH_MANAGED_IDENTITY]
    endpoint: str
    resource_id: str | None = None


class WorkspaceConnection(BaseConnection):
    """By a name that the operator gave it."""

    kind: Literal[ConnectionType.WORKSPACE_CONNECTION]
    connection_id: str


class DeploymentConnection(BaseConnection):
    """This server itself."""

    kind: Literal[ConnectionType.RELATIVE_CONNECTION]


AnyConnection = SerializeAsAny[BaseConnection]


class CrawlingSettings(_Part):
    """How far a crawl goes; `max_file_size` in bytes."""

    max_crawl_depth: Int64 | None = None
    max_crawl_time_in_mins: Int64 | None = None
    max_download_time_in_mins: Int64 | None = None
    max_file_size: Int64 | None = None
    max_redirects: Int64 | None = None
    max_files: Int64 | None = None


class ChunkingSettings(_Part):
    """How documents are cut."""

    max_chunk_size_in_tokens: Int64 | None = None


class GenericEmbeddingSettings(_Part):
    """The model that embeds chunks, of a SystemCompute job."""

    connection: AnyConnection | None = None
    deployment_name: str | None = None
    model_name: str | None = None


class WorkspaceConnectionEmbeddingSettings(_Part):
    """The model that embeds chunks, of a UserCompute job."""

    connection_id: str | None = None
    deployment_name: str | None = None
    model_name: str | None = None


class SystemComputeDatasource(_Choice):
    """Where the documents of a SystemCompute job come from."""

    kind: Annotated[SystemComputeDatasourceType, Field(strict=False)]


class SystemComputeStorage(SystemComputeDatasource):
    """From a container."""

    kind: Literal[SystemComputeDatasourceType.STORAGE]
    connection: AnyConnection
    container_name: str
    chunking: ChunkingSettings | None = None
    embeddings: list[GenericEmbeddingSettings]


class SystemComputeUrl(SystemComputeDatasource):
    """From web pages, which are saved to a container on their way."""

    kind: Literal[SystemComputeDatasourceType.URLS]
    urls: list[str]
    connection: AnyConnection
    container_name: str
    crawling: CrawlingSettings | None = None
    chunking: ChunkingSettings | None = None
    embeddings: list[GenericEmbeddingSettings]


class UserComputeDatasource(_Choice):
    """Where the documents of a UserCompute job come from."""

    kind: Annotated[UserComputeDatasourceType, Field(strict=False)]


class UserComputeDataset(UserComputeDatasource):
    """From what the operator named."""

    kind: Literal[UserComputeDatasourceType.DATASET]
    dataset_id: str
    dataset_type: str
    chunking: ChunkingSettings | None = None
    embeddings: list[WorkspaceConnectionEmbeddingSettings] | None = None


class UserComputeUrl(UserComputeDatasource):
    """From web pages."""

    kind: Literal[UserComputeDatasourceType.URLS]
    urls: list[str]
    crawling: CrawlingSettings | None = None
    chunking: ChunkingSettings | None = None
    embeddings: list[WorkspaceConnectionEmbeddingSettings]


class JobCompute(_Choice):
    """What a UserCompute job runs on."""

    kind: Annotated[ComputeType, Field(strict=False)]


class ServerlessCompute(JobCompute):
    """As much of this server as `instance_count` says; `sku` is kept and answered."""

    kind: Literal[ComputeType.SERVERLESS_COMPUTE]
    sku: str | None = None
    instance_count: Int64 | None = None


class CustomCompute(JobCompute):
    """As much of this server as the operator gave that name."""

    kind: Literal[ComputeType.CUSTOM_COMPUTE]
    compute_id: str


class TargetIndex(_Choice):
    """The index that a UserCompute job fills."""

    kind: Annotated[TargetType, Field(strict=False)]


class AzureAISearchIndex(TargetIndex):
    """One in Azure AI Search, or one that this server keeps."""

    kind: Literal[TargetType.AZURE_AI_SEARCH]
    connection_id: str


class CosmosDBIndex(TargetIndex):
    """One in Cosmos DB for MongoDB."""

    kind: Literal[TargetType.COSMOS_DB]
    connection_id: str
    collection_name: str | None = None
    database_name: str | None = None


class PineconeIndex(TargetIndex):
    """One in Pinecone."""

    kind: Literal[TargetType.PINECONE]
    connection_id: str


class IngestionJob(_Choice):
    """A job of either kind: body and answer of IngestionJobs_Create."""

    kind: Annotated[IngestionJobType, Field(strict=False)]
    job_id: str | None = None


class IngestionJobSystemCompute(IngestionJob):
    """From a container or web pages to a search index, each at an address of its own."""

    kind: Literal[IngestionJobType.SYSTEM_COMPUTE]
    search_service_connection: AnyConnection | None = None
    datasource: SerializeAsAny[SystemComputeDatasource] | None = None
    completion_action: Annotated[CompletionAction, Field(strict=False)] | None = None
    data_refresh_interval_in_hours: Int64 | None = None


class IngestionJobUserCompute(IngestionJob):
    """From a dataset or web pages to an index, both by names that the operator gave."""

    kind: Literal[IngestionJobType.USER_COMPUTE]
    workspace_id: str
    compute: SerializeAsAny[JobCompute] | None = None
    target: SerializeAsAny[TargetIndex] | None = None
    datasource: SerializeAsAny[UserComputeDatasource] | None = None
    data_refresh_interval_in_hours: Int64 | None = None


class _Told(Outgoing):
    """What only the service says; what there is not is left out."""

    model_config = ConfigDict(
        alias_generator=to_camel, validate_by_name=True, serialize_by_alias=True
    )

    def to_json(self) -> bytes:
        """The object as compact UTF-8 JSON, without nulls."""
        return self.__pydantic_serializer__.to_json(self, exclude_none=True)


class IngestionJobList(_Told):
    """A page of jobs, of which it tells id, kind and workspace; `next_link` leads to the next."""

    value: list[SerializeAsAny[IngestionJob]]
    next_link: str | None = None


class IngestionError(_Told):
    """Why a run failed."""

    message: str
    inner_errors: list[str] | None = None


class IngestionJobStageProgress(_Told):
    """How far a stage of a run has come; a stage that has no items counts none."""

    name: str
    total_items: Int32 | None = None
    processed_items: Int32 | None = None
    state: OperationState
    sub_stage_progress: "list[IngestionJobStageProgress] | None" = None


class IngestionJobProgress(_Told):
    """The stages of a run, in their order."""

    stage_progress: list[IngestionJobStageProgress]


class IngestionJobRun(_Told):
    """A run of a job; a list tells the first three alone."""

    job_id: str
    run_id: str
    status: OperationState
    error: IngestionError | None = None
    warnings: list[str] | None = None
    progress: IngestionJobProgress | None = None


class IngestionDocument(_Told):
    """What became of a document; not in the contract.

    `key` is its name in the container, `chunks` how many of it lie in the index, `reason` why it
    failed, `run_id` which run settled it last; one that finds it unchanged does not.
    """

    id: str
    key: str
    url: str
    title: str | None = None
    bytes: int
    state: str
    reason: str | None = None
    chunks: int
    run_id: str | None = None


class IngestionDocumentList(_Told):
    """A page of documents; `next_link` leads to the next."""

    value: list[IngestionDocument]
    next_link: str | None = None


class IngestionJobRunList(_Told):
    """A page of runs; `next_link` leads to the next."""

    value: list[IngestionJobRun]
    next_link: str | None = None
