"""What a search asks for: the parameters of a request, each of them honoured or refused."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from linarite.indexing.search.definition import IndexDefinition, IndexField
from linarite.indexing.search.filters import condition
from linarite.indexing.search.refusals import bad_parameter, bad_request
from linarite.indexing.search.schema import WrongValue, checked
from linarite.indexing.search.words import Mode, Node, full, simple

MOST_TOP, MOST_SKIP = 1000, 100_000
_USUAL_TOP, _USUAL_K, _MOST_K = 50, 50, 10_000
_MOST_VECTORS, _MOST_ORDER = 10, 32
_ORDER = re.compile(r"([A-Za-z]\w*|search\.score\(\))(?:\s+(asc|desc))?", re.ASCII | re.IGNORECASE)
_NUMBER = re.compile("[0-9]{1,20}")
SCORE = "search.score()"


def _absent(value: Any) -> None:
    if value not in (None, [], ""):
        raise ValueError("is not supported by this index")


def _none(value: Any) -> None:
    if value not in (None, "", "none", "None"):
        raise ValueError("is not supported by this index, which has no reranker")


Absent = Annotated[None, BeforeValidator(_absent)]
NoneOnly = Annotated[None, BeforeValidator(_none)]


class _Part(BaseModel):
    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, alias_generator=to_camel, populate_by_name=True
    )


class VectorQuery(_Part):
    """A vector whose neighbours are looked for."""

    kind: Literal["vector"] = "vector"
    vector: list[Any]
    fields: str | None = None
    k: Annotated[int, Field(ge=1, le=_MOST_K)] | None = None
    exhaustive: bool | None = None
    weight: Annotated[float, Field(gt=0, le=1000)] | None = None
    oversampling: Absent = None
    threshold: Absent = None
    filter_override: Absent = None
    per_document_vector_limit: Absent = None
    query_rewrites: Absent = None


class SearchRequest(_Part):
    """A search as its body has it."""

    search: str | None = None
    count: bool | None = None
    filter: str | None = None
    orderby: str | None = None
    select: str | None = None
    search_fields: str | None = None
    search_mode: Mode | None = None
    query_type: Literal["simple", "full", "semantic"] | None = None
    top: Annotated[int, Field(ge=0, lt=1 << 31)] | None = None
    skip: Annotated[int, Field(ge=0, le=MOST_SKIP)] | None = None
    vector_queries: Annotated[list[VectorQuery], Field(max_length=_MOST_VECTORS)] | None = None
    vector_filter_mode: Literal["preFilter", "postFilter", "strictPostFilter"] | None = None
    semantic_configuration: str | None = None
    minimum_coverage: Annotated[float, Field(ge=0, le=100)] | None = None
    scoring_statistics: Literal["local", "global"] | None = None  # one shard: they are the same
    session_id: str | None = None  # one replica: it always answers
    captions: NoneOnly = None
    answers: NoneOnly = None
    query_rewrites: NoneOnly = None
    speller: NoneOnly = None
    query_language: NoneOnly = None
    debug: Annotated[None, BeforeValidator(lambda value: _absent(_usual(value, "disabled")))] = None
    facets: Absent = None
    highlight: Absent = None
    highlight_pre_tag: Absent = None
    highlight_post_tag: Absent = None
    scoring_profile: Absent = None
    scoring_parameters: Absent = None
    semantic_query: Absent = None
    semantic_fields: Absent = None
    semantic_error_handling: Absent = None
    semantic_max_wait_in_milliseconds: Absent = None
    hybrid_search: Absent = None


def _usual(value: Any, usual: str) -> Any:
    return None if value == usual else value


@dataclass(frozen=True)
class Neighbours:
    """One list of a search: the documents nearest to a vector."""

    field: IndexField
    vector: Sequence[float]
    k: int
    is_exact: bool
    weight: float


@dataclass(frozen=True)
class Order:
    """One term of an order; the field's name, or `SCORE`."""

    name: str
    descending: bool


@dataclass(frozen=True)
class Query:
    """A search over one index, sound.

    Args:
        words: the tree of the search text; None where it has no words.
        is_for_all: whether there is no search text, or ``*``.
        mode: whether any or all of the words must be there.
        columns: where words are looked for.
        neighbours: the vectors' lists.
        where: the filter in SQL; None: everything.
        filters_first: whether it holds before neighbours are found, or of those.
        order: the order of the answer; empty: by score.
        select: the fields to answer.
        top, skip: which part of it.
        counts: whether the answer says how many there are.
    """

    words: Node | None
    is_for_all: bool
    mode: Mode
    columns: Sequence[str]
    neighbours: Sequence[Neighbours]
    where: str | None
    filters_first: bool
    order: Sequence[Order]
    select: Sequence[IndexField]
    top: int | None
    skip: int
    counts: bool

    @property
    def page(self) -> int:
        """How many documents one answer holds at most."""
        return _USUAL_TOP if self.top is None else min(self.top, MOST_TOP)


def read(body: Any) -> SearchRequest:
    """The search that a body asks for; raises SearchRefused."""
    try:
        return SearchRequest.model_validate(body)
    except ValidationError as error:
        raise bad_request(_told(error)) from None


def query(request: SearchRequest, definition: IndexDefinition) -> Query:
    """What `request` means for an index; raises SearchRefused where it means nothing."""
    _check_semantic(request, definition)
    mode: Mode = request.search_mode or "any"
    text = (request.search or "").strip()
    is_for_all = text in ("", "*")
    words = None
    if not is_for_all and request.query_type == "full":
        words = full(text, mode, definition)
    elif not is_for_all:
        words = simple(text, mode)
    columns = _columns(request.search_fields, definition)
    if words is not None and not columns:
        raise bad_parameter("search", "The index has no searchable text field.")
    return Query(
        words,
        is_for_all,
        mode,
        columns,
        _neighbours(request.vector_queries or (), definition),
        None if not (request.filter or "").strip() else condition(str(request.filter), definition),
        request.vector_filter_mode in (None, "preFilter"),
        _order(request.orderby, definition),
        selected(request.select, definition),
        request.top,
        request.skip or 0,
        bool(request.count),
    )


def _told(error: ValidationError) -> str:
    said = []
    for one in error.errors(include_url=False, include_input=False)[:5]:
        at = ".".join(str(part) for part in one["loc"])
        if one["type"] == "extra_forbidden":
            said.append(f"The parameter '{at[:128]}' is not known here.")
        else:
            said.append(f"'{at}': {one['msg'].removeprefix('Value error, ')}.")
    return "parameters : " + " ".join(said)


def _check_semantic(request: SearchRequest, definition: IndexDefinition) -> None:
    named = request.semantic_configuration
    if named is None and request.query_type != "semantic":
        return
    semantic = definition.semantic
    if named is None:
        if semantic is None or semantic.default_configuration is None:
            raise bad_parameter(
                "semanticConfiguration",
                "'semanticConfiguration' is required if 'queryType' is set to 'semantic' and the "
                "index has no default configuration.",
            )
    elif semantic is None or named not in semantic.names:
        raise bad_parameter(
            "semanticConfiguration", f"Unknown semantic configuration '{named[:128]}'."
        )


def _columns(text: str | None, definition: IndexDefinition) -> Sequence[str]:
    if not (text or "").strip():
        return [field.name for field in definition.text_fields]
    fields = [_named(name, "searchFields", definition) for name in _names(text)]
    for field in fields:
        if not field.is_searched_by_text:
            raise bad_parameter(
                "searchFields",
                f"The field '{field.name}' in the search field list is not searchable.",
            )
    return list(dict.fromkeys(field.name for field in fields))


def selected(text: str | None, definition: IndexDefinition) -> Sequence[IndexField]:
    """The fields that a `$select` names; all that are retrievable without one."""
    names = _names(text)
    if not names or names == ["*"]:
        return [field for field in definition.fields if field.retrievable]
    fields = [_named(name, "$select", definition) for name in names]
    for field in fields:
        if not field.retrievable:
            raise bad_parameter(
                "$select", f"The field '{field.name}' in the select list is not retrievable."
            )
    return list({field.name: field for field in fields}.values())


def _order(text: str | None, definition: IndexDefinition) -> Sequence[Order]:
    terms = []
    for term in _names(text):
        match = _ORDER.fullmatch(term)
        if match is None:
            raise bad_parameter(
                "$orderby",
                f"{term[:100]!r} is not a field or search.score(), with asc or desc behind it or "
                "without.",
            )
        name, descending = match[1], (match[2] or "asc").lower() == "desc"
        if name != SCORE and not _named(name, "$orderby", definition).sortable:
            raise bad_parameter("$orderby", f"The field '{name}' is not sortable.")
        terms.append(Order(name, descending))
    if len(terms) > _MOST_ORDER or len({term.name for term in terms}) < len(terms):
        raise bad_parameter("$orderby", f"It has more than {_MOST_ORDER} terms, or one twice.")
    return terms


def _neighbours(
    queries: Sequence[VectorQuery], definition: IndexDefinition
) -> Sequence[Neighbours]:
    found = []
    for each in queries:
        names = _names(each.fields) or [field.name for field in definition.vector_fields]
        for name in names:
            field = _named(name, "vectorQueries", definition)
            if not field.is_vector:
                raise bad_parameter("vectorQueries", f"The field '{name}' is not a vector field.")
            try:
                vector = checked(field, each.vector)
            except WrongValue as error:
                raise bad_parameter("vectorQueries", str(error)) from None
            k = _USUAL_K if each.k is None else each.k
            exact = bool(each.exhaustive)
            found.append(Neighbours(field, vector, k, exact, each.weight or 1.0))
    if len(found) > _MOST_VECTORS:
        raise bad_parameter(
            "vectorQueries", f"There are {len(found)}; at most {_MOST_VECTORS} are taken."
        )
    return found


def _named(name: str, parameter: str, definition: IndexDefinition) -> IndexField:
    field = definition.by_name.get(name)
    if field is None:
        raise bad_parameter(
            parameter,
            f"Invalid expression: Could not find a property named '{name[:128]}' on type "
            "'search.document'.",
        )
    return field


def _names(text: str | None) -> list[str]:
    return [name.strip() for name in (text or "").split(",") if name.strip()]


_OF_GET: Mapping[str, str] = {
    "$count": "count",
    "$filter": "filter",
    "$orderby": "orderby",
    "$select": "select",
    "$skip": "skip",
    "$top": "top",
    "facet": "facets",
    "scoringParameter": "scoringParameters",
}


def from_parameters(parameters: Mapping[str, str]) -> dict[str, Any]:
    """The body of the search that an address asks for, as its parameters are spelled there."""
    body: dict[str, Any] = {}
    for name, value in parameters.items():
        known = _OF_GET.get(name, name)
        if known in ("top", "skip"):
            body[known] = int(value) if _NUMBER.fullmatch(value) else value
        elif known == "count":
            body[known] = {"true": True, "false": False}.get(value.lower(), value)
        elif known == "minimumCoverage":
            body[known] = _float(value)
        else:
            body[known] = value
    return body


def _float(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text
