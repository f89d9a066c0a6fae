"""Embedded indexes for tests: definitions, and clients without HTTP."""

from pathlib import Path
from typing import Any

from azure.core.credentials import AzureKeyCredential
from azure.search.documents import SearchClient
from azure.search.documents.indexes import SearchIndexClient

from linarite.indexing.search.in_process import ENDPOINT, in_process_transport
from linarite.indexing.search.store import Store

VECTOR_SEARCH = {
    "algorithms": [{"name": "exact", "kind": "exhaustiveKnn"}],
    "profiles": [{"name": "usual", "algorithm": "exact"}],
}


def field(name: str, kind: str = "Edm.String", **flags: Any) -> dict[str, Any]:
    """A field of a definition."""
    return {"name": name, "type": kind, **flags}


def vector_field(name: str, dimensions: int) -> dict[str, Any]:
    """A field of vectors."""
    more = {"dimensions": dimensions, "vectorSearchProfile": "usual"}
    return field(name, "Collection(Edm.Single)", **more)


def definition(name: str, *fields: dict[str, Any], **more: Any) -> dict[str, Any]:
    """An index whose key is `id`, with vectors of 3 dimensions in it where a field has such."""
    key = field("id", key=True, searchable=False)
    return {"name": name, "fields": [key, *fields], "vectorSearch": VECTOR_SEARCH, **more}


BOOKS = definition(
    "books",
    field("title", analyzer="en.lucene"),
    field("content"),
    field("tags", "Collection(Edm.String)"),
    field("year", "Edm.Int32"),
    field("length", "Edm.Int64"),
    field("price", "Edm.Double"),
    field("is_lent", "Edm.Boolean"),
    field("added", "Edm.DateTimeOffset"),
    field("secret", retrievable=False),
    field("plain", searchable=False, filterable=False, sortable=False),
    vector_field("near", 3),
)
"""A field of every type."""


def store(folder: Path) -> Store:
    """A store of its own."""
    return Store(folder / "indexes", 20, 0)


def clients(
    store: Store, index: str, *, resource: str = "default", maker: str = ""
) -> tuple[SearchIndexClient, SearchClient]:
    """The official clients over a store of this process."""
    options: dict[str, Any] = {"transport": in_process_transport(store, resource, maker)}
    key = AzureKeyCredential("any")
    return SearchIndexClient(ENDPOINT, key, **options), SearchClient(
        ENDPOINT, index, key, **options
    )
