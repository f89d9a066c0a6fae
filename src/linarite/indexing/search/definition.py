"""What an index is: its fields, and how its definition reads on the wire.

Nothing is accepted and ignored: what this index does not do (scoring profiles, suggesters, custom
analyzers …) may be absent, null or empty, and is refused else.
"""

from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.alias_generators import to_camel

MOST_FIELDS = 1000
MOST_DIMENSIONS = 4096
VECTOR = "Collection(Edm.Single)"
STRINGS = "Collection(Edm.String)"

FieldType = Literal[
    "Edm.String",
    "Edm.Int32",
    "Edm.Int64",
    "Edm.Double",
    "Edm.Boolean",
    "Edm.DateTimeOffset",
    "Collection(Edm.String)",
    "Collection(Edm.Single)",
]


def _absent(value: Any) -> None:
    if value not in (None, [], {}, ""):
        raise ValueError("is not supported by this index")


Absent = Annotated[None, BeforeValidator(_absent)]
"""A feature of Azure AI Search that this index has not."""


class _Part(BaseModel):
    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, alias_generator=to_camel, populate_by_name=True
    )

    def to_wire(self) -> dict[str, Any]:
        return self.model_dump(by_alias=True)


class IndexField(_Part):
    """A field; the flags that are not given are what the service makes of them."""

    name: str
    type: FieldType
    key: bool | None = None
    searchable: bool | None = None
    filterable: bool | None = None
    sortable: bool | None = None
    facetable: bool | None = None
    retrievable: bool | None = None
    stored: bool | None = None
    analyzer: str | None = None
    index_analyzer: str | None = None
    search_analyzer: str | None = None
    dimensions: int | None = None
    vector_search_profile: str | None = None
    normalizer: Absent = None
    vector_encoding: Absent = None
    synonym_maps: Absent = None
    fields: Absent = None
    permission_filter: Absent = None
    sensitivity_label: Absent = None

    @property
    def is_vector(self) -> bool:
        return self.type == VECTOR

    @property
    def is_collection(self) -> bool:
        return self.type == STRINGS

    @property
    def is_searched_by_text(self) -> bool:
        return bool(self.searchable) and not self.is_vector

    def completed(self) -> "IndexField":
        """With every flag said."""
        is_text = self.type in ("Edm.String", STRINGS)
        single = not self.is_vector and not self.is_collection
        usual: dict[str, bool] = {
            "key": False,
            "searchable": is_text or self.is_vector,
            "filterable": not self.is_vector,
            "sortable": single,
            "facetable": not self.is_vector,
            "retrievable": True,
            "stored": True,
        }
        said = {name: getattr(self, name) for name in usual}
        return self.model_copy(
            update={name: usual[name] if said[name] is None else said[name] for name in usual}
        )


class _SemanticField(_Part):
    field_name: str


class _Prioritized(_Part):
    title_field: _SemanticField | None = None
    prioritized_content_fields: list[_SemanticField] | None = None
    prioritized_keywords_fields: list[_SemanticField] | None = None


class SemanticConfiguration(_Part):
    """Which fields a reranker would read; there is none here, see `queryType`."""

    name: str
    prioritized_fields: _Prioritized
    ranking_order: Absent = None
    flighting_opt_in: Literal[False] | None = None


class Semantic(_Part):
    """Semantic configurations by name."""

    default_configuration: str | None = None
    configurations: list[SemanticConfiguration] | None = None

    @property
    def names(self) -> set[str]:
        return {each.name for each in self.configurations or ()}


Metric = Literal["cosine", "euclidean", "dotProduct"]


class HnswParameters(_Part):
    """Kept; the search here is exact or finds more than these ask for."""

    metric: Metric | None = None
    m: Annotated[int, Field(ge=4, le=10)] | None = None
    ef_construction: Annotated[int, Field(ge=100, le=1000)] | None = None
    ef_search: Annotated[int, Field(ge=100, le=1000)] | None = None


class KnnParameters(_Part):
    """Those of an exhaustive search."""

    metric: Metric | None = None


class Algorithm(_Part):
    """How vectors are compared."""

    name: str
    kind: Literal["hnsw", "exhaustiveKnn"]
    hnsw_parameters: HnswParameters | None = None
    exhaustive_knn_parameters: KnnParameters | None = None

    @property
    def metric(self) -> Metric:
        said = self.hnsw_parameters if self.kind == "hnsw" else self.exhaustive_knn_parameters
        return (said.metric if said else None) or "cosine"


class Profile(_Part):
    """A name that vector fields refer to."""

    name: str
    algorithm: str
    vectorizer: Absent = None
    compression: Absent = None


class VectorSearch(_Part):
    """Profiles and algorithms."""

    profiles: list[Profile] | None = None
    algorithms: list[Algorithm] | None = None
    vectorizers: Absent = None
    compressions: Absent = None


class Similarity(_Part):
    """BM25 with the service's own constants, which are the ones that this index has."""

    odata_type: Annotated[
        Literal["#Microsoft.Azure.Search.BM25Similarity"], Field(alias="@odata.type")
    ] = "#Microsoft.Azure.Search.BM25Similarity"
    k1: Annotated[float, Field(ge=1.2, le=1.2)] | None = None
    b: Annotated[float, Field(ge=0.75, le=0.75)] | None = None


class IndexDefinition(_Part):
    """An index as a request or an answer tells it."""

    name: str
    description: Annotated[str, Field(max_length=4000)] | None = None
    fields: Annotated[list[IndexField], Field(min_length=1, max_length=MOST_FIELDS)]
    semantic: Semantic | None = None
    vector_search: VectorSearch | None = None
    similarity: Similarity | None = None
    etag: Annotated[Any, Field(alias="@odata.etag")] = None
    context: Annotated[Any, Field(alias="@odata.context")] = None
    scoring_profiles: Absent = None
    default_scoring_profile: Absent = None
    cors_options: Absent = None
    suggesters: Absent = None
    analyzers: Absent = None
    normalizers: Absent = None
    tokenizers: Absent = None
    token_filters: Absent = None
    char_filters: Absent = None
    encryption_key: Absent = None
    permission_filter_option: Absent = None
    purview_enabled: Literal[False] | None = None

    @cached_property
    def by_name(self) -> Mapping[str, IndexField]:
        return {field.name: field for field in self.fields}

    @cached_property
    def key(self) -> str:
        return next(field.name for field in self.fields if field.key)

    @property
    def text_fields(self) -> list[IndexField]:
        return [field for field in self.fields if field.is_searched_by_text]

    @property
    def vector_fields(self) -> list[IndexField]:
        return [field for field in self.fields if field.is_vector]

    def metric(self, field: IndexField) -> Metric:
        """How the vectors of `field` are compared."""
        search = self.vector_search
        assert search is not None  # `parsed` has seen to it
        names = {each.name: each.algorithm for each in search.profiles or ()}
        algorithms = {each.name: each for each in search.algorithms or ()}
        return algorithms[names[str(field.vector_search_profile)]].metric
