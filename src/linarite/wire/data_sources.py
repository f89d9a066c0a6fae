"""`data_sources` of a chat: which index answers are to come from, and what is told of it.

Shapes of Azure OpenAI On Your Data. A key that is not known is refused, for it would promise
something.
"""

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from linarite.wire.shapes import HttpUrl, Incoming, NonEmptyStr

MOST_DOCUMENTS = 50
_LONGEST_ROLE = 16_000

_Secret = Annotated[str, Field(pattern=r"^[!-~]{1,16384}$", repr=False)]
"""What a header can hold."""
QueryType = Literal[
    "simple", "semantic", "vector", "vector_simple_hybrid", "vector_semantic_hybrid"
]
ContextPart = Literal["citations", "intent", "all_retrieved_documents"]


class _Strict(Incoming):
    model_config = ConfigDict(extra="forbid")


class OnYourDataApiKeyAuthenticationOptions(_Strict):
    """A key of the search service, or of this server."""

    type: Literal["api_key"]
    key: _Secret


class OnYourDataAccessTokenAuthenticationOptions(_Strict):
    """A token for the search service."""

    type: Literal["access_token"]
    access_token: _Secret


class OnYourDataSystemAssignedManagedIdentityAuthenticationOptions(_Strict):
    """This server's own identity."""

    type: Literal["system_assigned_managed_identity"]


Authentication = Annotated[
    OnYourDataApiKeyAuthenticationOptions
    | OnYourDataAccessTokenAuthenticationOptions
    | OnYourDataSystemAssignedManagedIdentityAuthenticationOptions,
    Field(discriminator="type"),
]


class OnYourDataDeploymentNameVectorizationSource(_Strict):
    """A deployment of this server that embeds the question."""

    type: Literal["deployment_name"]
    deployment_name: NonEmptyStr
    dimensions: Annotated[int, Field(ge=1)] | None = None


EndpointAuthentication = Annotated[
    OnYourDataApiKeyAuthenticationOptions | OnYourDataAccessTokenAuthenticationOptions,
    Field(discriminator="type"),
]


class OnYourDataEndpointVectorizationSource(_Strict):
    """An embeddings endpoint elsewhere, ``…/openai/deployments/NAME/embeddings``."""

    type: Literal["endpoint"]
    endpoint: HttpUrl
    authentication: EndpointAuthentication
    dimensions: Annotated[int, Field(ge=1)] | None = None

    @field_validator("endpoint")
    @classmethod
    def _has_no_query(cls, given: str) -> str:
        if "?" in given or "#" in given:
            raise PydanticCustomError("url", "Input should be a URL without a query or fragment")
        return given


EmbeddingDependency = Annotated[
    OnYourDataDeploymentNameVectorizationSource | OnYourDataEndpointVectorizationSource,
    Field(discriminator="type"),
]


class AzureSearchIndexFieldMappingOptions(_Strict):
    """Which fields of the index are what; those of an ingested index without it."""

    content_fields: Annotated[list[NonEmptyStr], Field(max_length=20)] | None = None
    content_fields_separator: str | None = None
    title_field: NonEmptyStr | None = None
    url_field: NonEmptyStr | None = None
    filepath_field: NonEmptyStr | None = None
    vector_fields: Annotated[list[NonEmptyStr], Field(max_length=10)] | None = None


class AzureSearchChatExtensionParameters(_Strict):
    """The index, how it is searched, and what becomes of what is found."""

    index_name: NonEmptyStr
    endpoint: HttpUrl | None = None
    """Of the search service; None: this server's own indexes."""
    authentication: Authentication | None = None
    query_type: QueryType | None = None
    embedding_dependency: Annotated[EmbeddingDependency | None, Field(validate_default=True)] = None
    semantic_configuration: Annotated[NonEmptyStr | None, Field(validate_default=True)] = None
    fields_mapping: AzureSearchIndexFieldMappingOptions | None = None
    filter: NonEmptyStr | None = None
    in_scope: bool | None = None
    strictness: Annotated[int, Field(ge=1, le=5)] | None = None
    top_n_documents: Annotated[int, Field(ge=1, le=MOST_DOCUMENTS)] | None = None
    role_information: Annotated[str, Field(max_length=_LONGEST_ROLE)] | None = None
    max_search_queries: Annotated[int, Field(ge=1)] | None = None
    allow_partial_result: bool | None = None
    include_contexts: list[ContextPart] | None = None

    @property
    def asks_vectors(self) -> bool:
        return (self.query_type or "simple").startswith("vector")

    @property
    def asks_words(self) -> bool:
        return self.query_type != "vector"

    @property
    def asks_semantics(self) -> bool:
        return "semantic" in (self.query_type or "simple")

    @field_validator("embedding_dependency")
    @classmethod
    def _goes_with_vectors(cls, given: Any, info: ValidationInfo) -> Any:
        query_type = info.data.get("query_type") or "simple"
        if query_type.startswith("vector") == (given is not None):
            return given
        if given is None:
            raise PydanticCustomError("missing", "Field required when `query_type` has vectors")
        raise PydanticCustomError("needs_vectors", "Only allowed when `query_type` has vectors")

    @field_validator("semantic_configuration")
    @classmethod
    def _goes_with_semantics(cls, given: Any, info: ValidationInfo) -> Any:
        if given is None and "semantic" in (info.data.get("query_type") or "simple"):
            raise PydanticCustomError("missing", "Field required when `query_type` is semantic")
        return given  # Azure's own samples name one with any type


class AzureSearchChatExtensionConfiguration(_Strict):
    """One entry of `data_sources`."""

    type: Literal["azure_search"]
    parameters: AzureSearchChatExtensionParameters
