"""The index of a job in Azure AI Search: its fields, and whether one that is there has them.

They are a superset of what Microsoft's own scripts and jobs write, so that On Your Data and the
apps around it read such an index as their own.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from azure.search.documents.indexes.models import (
    HnswAlgorithmConfiguration,
    HnswParameters,
    SearchField,
    SearchFieldDataType,
    SearchIndex,
    SemanticConfiguration,
    SemanticField,
    SemanticPrioritizedFields,
    SemanticSearch,
    VectorSearch,
    VectorSearchProfile,
)

VECTOR_FIELD = "contentVector"
SEMANTIC_CONFIGURATION = "default"
_PROFILE, _ALGORITHM = "default", "hnsw"
_VECTOR = "Collection(Edm.Single)"


@dataclass(frozen=True)
class _Field:
    """A field but the vector, and what must hold of it for ingestion and questions to work."""

    type: SearchFieldDataType = SearchFieldDataType.STRING
    key: bool = False
    searchable: bool = False
    filterable: bool = False
    sortable: bool = False


_FIELDS: Mapping[str, _Field] = {
    "id": _Field(key=True, filterable=True),
    "parent_id": _Field(filterable=True),
    "content": _Field(searchable=True),
    "title": _Field(searchable=True, filterable=True),
    "filepath": _Field(filterable=True),
    "url": _Field(filterable=True),
    "chunk_id": _Field(filterable=True),
    "last_updated": _Field(SearchFieldDataType.DATE_TIME_OFFSET, filterable=True, sortable=True),
    "meta_json_string": _Field(),
}


def index_definition(name: str, made_by: str, dimensions: int | None) -> SearchIndex:
    """The index as a job makes it; without `dimensions` for keywords only."""
    fields = [
        SearchField(
            name=field_name,
            type=field.type,
            key=field.key,
            retrievable=True,
            searchable=field.searchable,
            filterable=field.filterable,
            sortable=field.sortable,
            facetable=False,
        )
        for field_name, field in _FIELDS.items()
    ]
    index = SearchIndex(
        name=name,
        description=made_by,
        fields=fields,
        semantic_search=SemanticSearch(
            default_configuration_name=SEMANTIC_CONFIGURATION,
            configurations=[
                SemanticConfiguration(
                    name=SEMANTIC_CONFIGURATION,
                    prioritized_fields=SemanticPrioritizedFields(
                        title_field=SemanticField(field_name="title"),
                        content_fields=[SemanticField(field_name="content")],
                    ),
                )
            ],
        ),
    )
    if dimensions is not None:
        index.fields.append(_vector_field(dimensions))
        index.vector_search = _vector_search()
    return index


def misfit(index: SearchIndex, dimensions: int | None) -> str | None:
    """Why an index that is there cannot take a job's chunks, as a sentence; None where it can."""
    there = {field.name: field for field in index.fields}
    for name, wanted in _FIELDS.items():
        reason = _field_misfit(name, wanted, there.get(name))
        if reason is not None:
            return reason
    return _vector_misfit(there.get(VECTOR_FIELD), dimensions)


def _field_misfit(name: str, wanted: _Field, field: SearchField | None) -> str | None:
    if field is None:
        return f"it has no field `{name}`."
    if field.type != wanted.type:
        return f"its field `{name}` is {_told(field.type)}, and the job's is {wanted.type.value}."
    if wanted.key and not field.key:
        return f"its key is not the field `{name}`."
    if field.retrievable is False:
        return f"its field `{name}` is not retrievable."
    if name == "content" and not field.searchable:
        return "its field `content` is not searchable."
    return None


def _vector_misfit(field: SearchField | None, dimensions: int | None) -> str | None:
    if field is None and dimensions is None:
        return None
    if field is None:
        return f"it has no field `{VECTOR_FIELD}` for the embeddings' {dimensions} dimensions."
    if dimensions is None:
        return (
            f"its field `{VECTOR_FIELD}` has {field.vector_search_dimensions} dimensions, and the "
            "job has no embeddings."
        )
    if field.type != _VECTOR:
        return f"its field `{VECTOR_FIELD}` is {_told(field.type)}, and the job's is {_VECTOR}."
    if field.vector_search_dimensions != dimensions:
        return (
            f"its field `{VECTOR_FIELD}` has {field.vector_search_dimensions} dimensions, and the "
            f"embeddings have {dimensions}."
        )
    return None


def _told(type_: SearchFieldDataType | str) -> str:
    return type_.value if isinstance(type_, SearchFieldDataType) else type_


def _vector_field(dimensions: int) -> SearchField:
    return SearchField(
        name=VECTOR_FIELD,
        type=_VECTOR,
        retrievable=True,
        searchable=True,
        vector_search_dimensions=dimensions,
        vector_search_profile_name=_PROFILE,
    )


def _vector_search() -> VectorSearch:
    return VectorSearch(
        algorithms=[
            HnswAlgorithmConfiguration(
                name=_ALGORITHM,
                parameters=HnswParameters(m=4, ef_construction=400, ef_search=500, metric="cosine"),
            )
        ],
        profiles=[VectorSearchProfile(name=_PROFILE, algorithm_configuration_name=_ALGORITHM)],
    )
