"""What a section of the settings is; and those that name what ingestion jobs may use.

    [connections.NAME]   a service outside, for `connectionId`
    [datasets.NAME]      documents, for `datasetId`
    [computes.NAME]      how much of this server, for `computeId`

A secret stands in the entry itself or, by the setting whose name ends in ``_env``, in the
environment.
"""

import os
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

Address = Annotated[str, Field(pattern=r"^https?://[^/\s?#@]+(/[^\s?#]*)?$")]
Name = Annotated[str, Field(max_length=260, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]
"""What an entry is called: anything that may be the last segment of a resource's id."""


class Section(BaseModel):
    """A table of ``linarite.toml``."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class SecretMissing(Exception):
    """The environment variable that an entry names for its secret is not set."""


def _secret(given: SecretStr | None, variable: str | None) -> str | None:
    if given is not None:
        return given.get_secret_value()
    if variable is None:
        return None
    if not (value := os.environ.get(variable)):
        raise SecretMissing(f"the environment variable {variable} is not set")
    return value


def _most_one(**given: object) -> None:
    there = [name for name, value in given.items() if value is not None]
    if len(there) > 1:
        raise ValueError(f"give one of {' and '.join(f'`{name}`' for name in there)}, not both")


class _Keyed(Section):
    key: SecretStr | None = None
    """Its key."""
    key_env: str | None = None
    """The environment variable that holds its key."""

    @model_validator(mode="after")
    def _one_key(self) -> "_Keyed":
        _most_one(key=self.key, key_env=self.key_env)
        return self

    @property
    def secret(self) -> str | None:
        """Its key; None: this server's own identity. Raises SecretMissing."""
        return _secret(self.key, self.key_env)


class _Strung(Section):
    connection_string: SecretStr | None = None
    """Address and key in one."""
    connection_string_env: str | None = None
    """The environment variable that holds them."""

    @model_validator(mode="after")
    def _one_string(self) -> "_Strung":
        _most_one(
            connection_string=self.connection_string,
            connection_string_env=self.connection_string_env,
        )
        return self

    @property
    def string(self) -> str | None:
        """The connection string, if it has one. Raises SecretMissing."""
        return _secret(self.connection_string, self.connection_string_env)

    @property
    def _has_string(self) -> bool:
        return (self.connection_string or self.connection_string_env) is not None


class BlobConnection(_Keyed, _Strung):
    """A storage account of Azure, with a key or as this server's own identity."""

    kind: Literal["azure_blob"]
    endpoint: Address | None = None
    """Its blob endpoint, such as ``https://ACCOUNT.blob.core.windows.net``."""

    @model_validator(mode="after")
    def _one_way(self) -> "BlobConnection":
        if self._has_string == (self.endpoint is not None):
            raise ValueError("azure_blob needs either `endpoint` or a connection string")
        if self._has_string and (self.key or self.key_env):
            raise ValueError("a connection string has its key in it; leave `key` out")
        return self


class FolderConnection(Section):
    """A folder of this machine, whose folders are the containers."""

    kind: Literal["folder"]
    path: Path
    """Where it is."""


class SearchConnection(_Keyed):
    """A service of Azure AI Search, with a key or as this server's own identity."""

    kind: Literal["azure_search"]
    endpoint: Address
    """Its address, such as ``https://NAME.search.windows.net``."""


class EmbeddedConnection(Section):
    """The indexes that this server keeps itself; ``embedded`` names them without an entry."""

    kind: Literal["embedded"]


class CosmosConnection(_Strung):
    """A cluster of Azure Cosmos DB for MongoDB (vCore), by its connection string."""

    kind: Literal["cosmos_mongo_vcore"]

    @model_validator(mode="after")
    def _has_one(self) -> "CosmosConnection":
        if not self._has_string:
            raise ValueError(
                "cosmos_mongo_vcore needs `connection_string` or `connection_string_env`"
            )
        return self


class PineconePlace(Section):
    """Where an index of Pinecone is made."""

    cloud: Literal["aws", "azure", "gcp"]
    """Whose cloud."""
    region: Annotated[str, Field(min_length=1)]
    """Of that cloud, such as ``us-east-1``."""


class PineconeConnection(_Keyed):
    """An index of Pinecone, by its address or its name, with a key."""

    kind: Literal["pinecone"]
    host: Address | None = None
    """The index's own address."""
    index: Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,43}[a-z0-9])?$")] | None = None
    """Or its name, by which Pinecone is asked for the address."""
    create: PineconePlace | None = None
    """Where an index of that name is made if there is none: ``{ cloud = "aws", region = "…" }``."""

    @model_validator(mode="after")
    def _has_key(self) -> "PineconeConnection":
        if self.key is None and self.key_env is None:
            raise ValueError("pinecone needs `key` or `key_env`")
        return self

    @model_validator(mode="after")
    def _one_index(self) -> "PineconeConnection":
        if (self.host is None) == (self.index is None):
            raise ValueError("pinecone needs either `host` or `index`")
        if self.create is not None and self.index is None:
            raise ValueError("`create` goes with `index`")
        return self


class OpenAiConnection(_Keyed):
    """A server that embeds, Azure OpenAI or any with OpenAI's API; with a key or as this server."""

    kind: Literal["openai"]
    endpoint: Address
    """Its address; one that ends in ``/v1`` speaks OpenAI's dialect, any other Azure's."""


ConnectionEntry = Annotated[
    BlobConnection
    | FolderConnection
    | SearchConnection
    | EmbeddedConnection
    | CosmosConnection
    | PineconeConnection
    | OpenAiConnection,
    Field(discriminator="kind"),
]


class DatasetEntry(Section):
    """One ``[datasets.NAME]``: documents that jobs ingest, in a place that the operator chose."""

    type: Literal["uri_file", "uri_folder"]
    """Whether it is one document or all that are below."""
    path: Path | None = None
    """A file or folder of this machine."""
    connection: Name | None = None
    """Or the ``[connections.NAME]`` of a storage account or folder."""
    container: Annotated[str, Field(min_length=1)] | None = None
    """The container there."""
    prefix: str | None = None
    """How the names in it begin; for `uri_file` the whole name."""

    @model_validator(mode="after")
    def _one_place(self) -> "DatasetEntry":
        if (self.path is None) == (self.connection is None):
            raise ValueError("a dataset needs either `path` or `connection` and `container`")
        if (self.connection is None) != (self.container is None):
            raise ValueError("`connection` and `container` go together")
        if self.path is not None and self.prefix:
            raise ValueError("`prefix` goes with `container`; name the file or folder in `path`")
        if self.container is not None and self.type == "uri_file" and not self.prefix:
            raise ValueError("a uri_file in a container needs its name as `prefix`")
        return self


class ComputeEntry(Section):
    """One ``[computes.NAME]``: how much of this server a job may take."""

    parallel: Annotated[int, Field(ge=1, le=64)]
    """How many lanes of work one run has side by side at most."""
