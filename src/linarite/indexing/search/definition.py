"""What an index is: its fields, and how its definition reads on the wire.

Nothing is accepted and ignored: what this index does not do (scoring profiles, suggesters, custom
analyzers …) may be absent, null or empty, and is refused else.
"""

import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from linarite.indexing.search.analyzers import ANALYZERS
from linarite.indexing.search.refusals import SearchRefused, bad_request

MOST_FIELDS = 1000
MOST_DIMENSIONS = 4096
VECTOR = "Collection(Edm.Single)"
STRINGS = "Collection(Edm.String)"
_NAME = re.compile(r"(?!.*(?:--|__))[a-z0-9](?:[a-z0-9_-]{0,126}[a-z0-9])?")
_FIELD_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,127}")

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


def check_name(name: str) -> None:
    """Raise SearchRefused unless an index may be called `name`."""
    if not _NAME.fullmatch(name):
        raise SearchRefused(
            "Invalid index name: Index name must only contain lowercase letters, digits, dashes or "
            "underscores, not two of these in a row, cannot start or end with them and is limited "
            "to 128 characters.",
            "InvalidName",
        )


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


def parsed(body: Any, name: str | None = None) -> IndexDefinition:
    """The index that a request's body defines, complete and sound.

    Args:
        body: what JSON gave.
        name: the index's, where the address tells it.

    Raises:
        SearchRefused: it is no definition, or of something that this index has not.
    """
    try:
        definition = IndexDefinition.model_validate(body)
    except ValidationError as error:
        raise bad_request(_told(error)) from None
    if name is not None and definition.name != name:
        raise bad_request(
            f"index : The name in the body is '{definition.name}', and the address says '{name}'."
        )
    check_name(definition.name)
    definition = definition.model_copy(
        update={
            "fields": [field.completed() for field in definition.fields],
            "semantic": definition.semantic or None,
            "similarity": definition.similarity or Similarity(),
            "etag": None,
            "context": None,
        }
    )
    _check(definition)
    return definition


def _told(error: ValidationError) -> str:
    said = []
    for one in error.errors(include_url=False, include_input=False)[:5]:
        at = ".".join(str(part) for part in one["loc"])
        if one["type"] == "extra_forbidden":
            said.append(f"The property '{at}' is not known here.")
        else:
            said.append(f"'{at}': {one['msg'].removeprefix('Value error, ')}.")
    return "index : " + " ".join(said)


def _check(definition: IndexDefinition) -> None:
    seen: set[str] = set()
    for field in definition.fields:
        if field.name.lower() in seen:
            raise _bad_field(field, "There is a field of that name, letters' case apart, already.")
        seen.add(field.name.lower())
        _check_field(field)
        if field.is_vector:
            _check_profile(definition, field)
    keys = [field for field in definition.fields if field.key]
    if len(keys) != 1:
        raise bad_request(f"index : The index must have exactly one key field; it has {len(keys)}.")
    if keys[0].type != "Edm.String" or not keys[0].retrievable:
        raise _bad_field(keys[0], "The key must be a retrievable Edm.String.")
    _check_semantic(definition)
    _check_algorithms(definition)


def _check_field(field: IndexField) -> None:
    if not _FIELD_NAME.fullmatch(field.name) or field.name.lower().startswith("azuresearch"):
        raise _bad_field(
            field,
            "A name begins with a letter (and not with 'azureSearch'), holds letters, digits and "
            "underscores, and has at most 128 characters.",
        )
    if field.searchable and field.type not in ("Edm.String", STRINGS, VECTOR):
        raise _bad_field(field, f"A field of the type {field.type} cannot be searchable.")
    if field.sortable and (field.is_collection or field.is_vector):
        raise _bad_field(field, "A collection cannot be sortable.")
    _check_analyzers(field)
    if field.is_vector:
        _check_vector(field)
    elif field.dimensions is not None or field.vector_search_profile is not None:
        raise _bad_field(
            field, f"'dimensions' and 'vectorSearchProfile' are for the type {VECTOR}."
        )
    elif field.stored is False:
        raise _bad_field(field, "'stored' can only be false for vector fields.")


def _check_analyzers(field: IndexField) -> None:
    given = {name for name in (field.analyzer, field.index_analyzer, field.search_analyzer) if name}
    if not given:
        return
    if not field.is_searched_by_text:
        raise _bad_field(field, "Only a searchable text field has an analyzer.")
    if len(given) > 1:
        raise _bad_field(field, "Documents and queries are analyzed alike: name one analyzer.")
    if not given <= ANALYZERS.keys():
        raise _bad_field(
            field,
            f"The analyzer '{given.pop()}' is not one of this index; it has "
            f"{', '.join(sorted(ANALYZERS))}.",
        )


def _check_vector(field: IndexField) -> None:
    if field.dimensions is None or field.vector_search_profile is None:
        raise _bad_field(field, "A vector field needs 'dimensions' and a 'vectorSearchProfile'.")
    if not 2 <= field.dimensions <= MOST_DIMENSIONS:
        raise _bad_field(field, f"'dimensions' must be between 2 and {MOST_DIMENSIONS}.")
    if not field.searchable or field.filterable or field.facetable or field.key:
        raise _bad_field(
            field, "A vector field must be searchable, and not filterable, facetable or the key."
        )
    if field.stored is False and field.retrievable:
        raise _bad_field(field, "A field that is not 'stored' cannot be retrievable.")


def _check_profile(definition: IndexDefinition, field: IndexField) -> None:
    search = definition.vector_search or VectorSearch()
    if field.vector_search_profile not in {each.name for each in search.profiles or ()}:
        raise _bad_field(
            field, f"There is no vector search profile '{field.vector_search_profile}'."
        )


def _check_semantic(definition: IndexDefinition) -> None:
    semantic = definition.semantic
    if semantic is None:
        return
    default = semantic.default_configuration
    if default is not None and default not in semantic.names:
        raise bad_request(f"index : There is no semantic configuration '{default}'.")
    for each in semantic.configurations or ():
        fields = each.prioritized_fields
        named = [
            *([fields.title_field] if fields.title_field else []),
            *(fields.prioritized_content_fields or ()),
            *(fields.prioritized_keywords_fields or ()),
        ]
        for one in named:
            if one.field_name not in definition.by_name:
                raise bad_request(
                    f"index : The semantic configuration '{each.name}' names the field "
                    f"'{one.field_name}', which the index has not."
                )


def _check_algorithms(definition: IndexDefinition) -> None:
    search = definition.vector_search or VectorSearch()
    algorithms = [each.name for each in search.algorithms or ()]
    profiles = [each.name for each in search.profiles or ()]
    if len(set(algorithms)) < len(algorithms) or len(set(profiles)) < len(profiles):
        raise bad_request("index : Two profiles or algorithms of 'vectorSearch' have one name.")
    for profile in search.profiles or ():
        if profile.algorithm not in algorithms:
            raise bad_request(
                f"index : The profile '{profile.name}' names the algorithm "
                f"'{profile.algorithm}', which is not there."
            )


def _bad_field(field: IndexField, reason: str) -> SearchRefused:
    return SearchRefused(
        f"The request is invalid. Details: The definition of the field '{field.name[:128]}' is "
        f"not valid. {reason}",
        "InvalidField",
    )


def check_change(old: IndexDefinition, new: IndexDefinition) -> Sequence[IndexField]:
    """The fields that `new` adds.

    Raises:
        SearchRefused: it changes what cannot be changed once there are documents.
    """
    for field in old.fields:
        now = new.by_name.get(field.name)
        if now is None:
            raise _not_allowed(
                f"Existing field '{field.name}' cannot be deleted.", "CannotDeleteExistingField"
            )
        if _fixed(field) != _fixed(now) or (
            field.is_vector and old.metric(field) != new.metric(now)
        ):
            raise _not_allowed(
                f"Existing field '{field.name}' cannot be changed.", "CannotChangeExistingField"
            )
    return [field for field in new.fields if field.name not in old.by_name]


def _fixed(field: IndexField) -> IndexField:
    analyzer = field.analyzer or field.index_analyzer or field.search_analyzer
    return field.model_copy(
        update={
            "retrievable": None,
            "analyzer": analyzer or "standard.lucene",
            "index_analyzer": None,
            "search_analyzer": None,
        }
    )


def _not_allowed(message: str, code: str) -> SearchRefused:
    return SearchRefused(message, "OperationNotAllowed", [(code, message)])
