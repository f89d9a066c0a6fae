"""Azure AI Search's REST dialect over the store: a request in, an answer out; no HTTP server.

The same function answers requests that came over HTTP and those of a client in this process.
Addresses are taken in both of the service's styles: ``/indexes('n')/docs('k')`` and
``/indexes/n/docs/k``.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import date
from typing import Any
from urllib.parse import quote, urlencode

import orjson

from linarite.indexing.search import MOST_BYTES
from linarite.indexing.search import documents as batches
from linarite.indexing.search.definition import IndexDefinition, check_change, check_name, parsed
from linarite.indexing.search.filters import is_one_of
from linarite.indexing.search.query import (
    Query,
    SearchRequest,
    from_parameters,
    query,
    read,
    selected,
)
from linarite.indexing.search.refusals import (
    Busy,
    NotThere,
    OfAnotherMaker,
    PreconditionFailed,
    SearchRefused,
    TooLarge,
    bad_parameter,
    bad_request,
)
from linarite.indexing.search.schema import documents
from linarite.indexing.search.searching import Found, search
from linarite.indexing.search.store import Record, Store

_MOST_DEFINITION_BYTES = 4 << 20
_JSON = {"content-type": "application/json; odata.metadata=minimal"}
_VERSION = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2})(-[Pp]review)?")


@dataclass(frozen=True)
class SearchCall:
    """A request.

    Args:
        resource: whose indexes it is about.
        maker: who asks; empty: a caller of the API.
        method: such as ``GET``.
        path: percent-decoded, from ``/indexes`` or ``/servicestats`` on.
        parameters: those of the address; of one that is given twice the last.
        headers: by lower-case name.
        body: as it came.
        base_url: the address of the service, for links.
    """

    resource: str
    maker: str
    method: str
    path: str
    parameters: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    base_url: str


@dataclass(frozen=True)
class SearchAnswer:
    """An answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes = b""


def answer(store: Store, call: SearchCall) -> SearchAnswer:
    """What the service answers; a refusal is an answer, too."""
    try:
        return _answer(store, call)
    except Busy as refused:
        answered = _json(refused.body, refused.status)
        return replace(answered, headers={**answered.headers, "retry-after": "2"})
    except SearchRefused as refused:
        return _json(refused.body, refused.status)


_INDEX = r"/indexes(?:\('(?P<n1>[^']*)'\)|/(?P<n2>[^/('?]+))"
_DOCS = _INDEX + r"/docs"
_Handler = Callable[[Store, SearchCall, Mapping[str, str]], SearchAnswer]


def _answer(store: Store, call: SearchCall) -> SearchAnswer:
    _check_version(call)
    methods: list[str] = []
    for method, pattern, handler in _ROUTES:
        match = pattern.fullmatch(call.path)
        if match is not None and method == call.method:
            named = match.groupdict()
            index = named.get("n1") or named.get("n2") or ""
            key = (named.get("k1") or named.get("k2") or "").replace("''", "'")
            return _handled(handler, store, call, {"index": index, "key": key})
        if match is not None:
            methods.append(method)
    if methods:
        return SearchAnswer(
            405,
            {**_JSON, "allow": ", ".join(methods)},
            orjson.dumps(SearchRefused(f"{call.method} is not allowed here.").body),
        )
    raise NotThere("There is no such operation in this index; see the documentation.")


def _handled(
    handler: _Handler, store: Store, call: SearchCall, named: Mapping[str, str]
) -> SearchAnswer:
    try:
        return handler(store, call, named)
    except (OSError, RuntimeError, ValueError):
        if named["index"]:
            store.get(call.resource, named["index"])  # which says so where it was just deleted
        raise


def _check_version(call: SearchCall) -> None:
    version = call.parameters.get("api-version", "")
    if not version:
        raise SearchRefused(
            "Missing required query string parameter: api-version.", "MissingApiVersionParameter"
        )
    match = _VERSION.fullmatch(version)
    try:
        if match is not None and date.fromisoformat(match[1]):
            return
    except ValueError:  # such as the 30th of February
        pass
    raise SearchRefused(
        f"Invalid or unsupported api-version '{version[:40]}'; it is a date such as 2024-07-01.",
        "InvalidApiVersionParameter",
    )


# Indexes


def _list_indexes(store: Store, call: SearchCall, _: Mapping[str, str]) -> SearchAnswer:
    _only_parameters(call, "$select", "select")
    wanted = call.parameters.get("$select", call.parameters.get("select", "*"))
    found = []
    for name in store.names(call.resource):
        try:
            record = store.get(call.resource, name)
        except NotThere:  # deleted meanwhile
            continue
        found.append(_chosen(_told(record), wanted))
    return _json({"@odata.context": f"{call.base_url}/$metadata#indexes", "value": found})


def _chosen(told: dict[str, Any], wanted: str) -> dict[str, Any]:
    names = [name.strip() for name in wanted.split(",") if name.strip()]
    if names in ([], ["*"]):
        return told
    unknown = [name for name in names if name not in told]
    if unknown:
        raise bad_parameter(
            "$select", f"Could not find a property named '{unknown[0][:128]}' on type 'index'."
        )
    return {name: told[name] for name in names}


def _create_index(store: Store, call: SearchCall, _: Mapping[str, str]) -> SearchAnswer:
    _only_parameters(call)
    record = store.create(call.resource, parsed(_body(call)), call.maker)
    return _index_answer(call, record, 201)


def _get_index(store: Store, call: SearchCall, named: Mapping[str, str]) -> SearchAnswer:
    _only_parameters(call)
    return _index_answer(call, store.get(call.resource, named["index"]), 200)


def _put_index(store: Store, call: SearchCall, named: Mapping[str, str]) -> SearchAnswer:
    if call.parameters.get("allowIndexDowntime", "false").lower() not in ("false", "true"):
        raise bad_parameter("allowIndexDowntime", "It is true or false.")
    _only_parameters(call, "allowIndexDowntime")
    name = named["index"]
    check_name(name)
    definition = parsed(_body(call), name)
    try:
        old = store.get(call.resource, name)
    except NotThere:
        if "if-match" in call.headers:
            raise _changed(name) from None
        return _index_answer(call, store.create(call.resource, definition, call.maker), 201)
    _check_etag(call, old)
    with store.writing(call.resource, name) as record:
        _check_maker(call, record)
        _check_etag(call, record)
        added = check_change(record.definition, definition)
        record = record.changed(definition)
        store.change(call.resource, record, added)
    if "return=representation" in call.headers.get("prefer", ""):
        return _index_answer(call, record, 200)
    return SearchAnswer(204, {"etag": record.etag})


def _delete_index(store: Store, call: SearchCall, named: Mapping[str, str]) -> SearchAnswer:
    _only_parameters(call)
    with store.writing(call.resource, named["index"]) as record:
        _check_maker(call, record)
        _check_etag(call, record)
        store.delete(call.resource, named["index"])
    return SearchAnswer(204, {})


def _index_stats(store: Store, call: SearchCall, named: Mapping[str, str]) -> SearchAnswer:
    _only_parameters(call)
    record = store.get(call.resource, named["index"])
    rows = store.table(call.resource, record).count_rows()
    dimensions = sum(field.dimensions or 0 for field in record.definition.vector_fields)
    return _json(
        {
            "@odata.context": f"{call.base_url}/$metadata#Microsoft.Azure.Search.IndexStatistics",
            "documentCount": rows,
            "storageSize": store.stored_bytes(call.resource, named["index"]),
            "vectorIndexSize": 4 * rows * dimensions,
        }
    )


def _service_stats(store: Store, call: SearchCall, _: Mapping[str, str]) -> SearchAnswer:
    _only_parameters(call)
    documents_in_all = stored = 0
    names = store.names(call.resource)
    for name in names:
        try:
            record = store.get(call.resource, name)
            documents_in_all += store.table(call.resource, record).count_rows()
            stored += store.stored_bytes(call.resource, name)
        except NotThere:
            continue
    none = {"usage": 0, "quota": 0}
    return _json(
        {
            "@odata.context": f"{call.base_url}/$metadata#Microsoft.Azure.Search.ServiceStatistics",
            "counters": {
                "documentCount": {"usage": documents_in_all, "quota": None},
                "indexesCount": {"usage": len(names), "quota": store.most_indexes},
                "storageSize": {"usage": stored, "quota": None},
                "vectorIndexSize": {"usage": 0, "quota": None},
                **dict.fromkeys(
                    (
                        "indexersCount",
                        "dataSourcesCount",
                        "synonymMaps",
                        "skillsetCount",
                        "aliasesCount",
                    ),
                    none,
                ),
            },
            "limits": {
                "maxFieldsPerIndex": 1000,
                "maxFieldNestingDepthPerIndex": 0,
                "maxComplexCollectionFieldsPerIndex": 0,
                "maxComplexObjectsInCollectionsPerDocument": 0,
            },
        }
    )


# Documents


def _index_documents(store: Store, call: SearchCall, named: Mapping[str, str]) -> SearchAnswer:
    _only_parameters(call)
    record = store.get(call.resource, named["index"])
    _check_maker(call, record)
    store.check_space()
    actions = batches.actions(_body(call, MOST_BYTES), record.definition)
    with store.writing(call.resource, named["index"]) as current:
        if current.definition is not record.definition and current.etag != record.etag:
            actions = batches.actions(_body(call, MOST_BYTES), current.definition)
        table = store.table(call.resource, current)
        outcomes = batches.perform(actions, table, current.definition)
        store.tend(table, current.definition)
    all_well = all(outcome.status < 300 for outcome in outcomes)
    return _json(
        {
            "@odata.context": _context(call, named["index"], "Collection(IndexResult)"),
            "value": [outcome.to_wire() for outcome in outcomes],
        },
        200 if all_well else 207,
    )


def _count(store: Store, call: SearchCall, named: Mapping[str, str]) -> SearchAnswer:
    _only_parameters(call)
    record = store.get(call.resource, named["index"])
    count = store.table(call.resource, record).count_rows()
    return SearchAnswer(200, {"content-type": "text/plain"}, str(count).encode())


def _look_up(store: Store, call: SearchCall, named: Mapping[str, str]) -> SearchAnswer:
    _only_parameters(call, "$select", "select")
    record = store.get(call.resource, named["index"])
    definition = record.definition
    fields = selected(call.parameters.get("$select", call.parameters.get("select")), definition)
    table = store.table(call.resource, record)
    rows = table.search().where(is_one_of(definition.key, [named["key"]])).limit(1)
    found = documents(rows.select([field.name for field in fields]).to_arrow(), fields)
    if not found:
        raise NotThere(f"Could not find a document with the key '{named['key'][:100]}'.")
    return _json({"@odata.context": _context(call, named["index"], "docs(*)/$entity"), **found[0]})


def _search_post(store: Store, call: SearchCall, named: Mapping[str, str]) -> SearchAnswer:
    _only_parameters(call)
    return _searched(store, call, named["index"], _body(call))


def _search_get(store: Store, call: SearchCall, named: Mapping[str, str]) -> SearchAnswer:
    given = {name: value for name, value in call.parameters.items() if name != "api-version"}
    return _searched(store, call, named["index"], from_parameters(given))


def _searched(store: Store, call: SearchCall, name: str, body: Any) -> SearchAnswer:
    record = store.get(call.resource, name)
    request = read(body)
    asked = query(request, record.definition)
    found = search(store.table(call.resource, record), record.definition, asked)
    told: dict[str, Any] = {"@odata.context": _context(call, name, "docs(*)")}
    if found.count is not None:
        told["@odata.count"] = found.count
    if request.minimum_coverage is not None:
        told["@search.coverage"] = 100.0
    told["value"] = [{"@search.score": hit.score, **hit.document} for hit in found.hits]
    return _json(told | _next(call, name, request, asked, found))


def _next(
    call: SearchCall, name: str, request: SearchRequest, asked: Query, found: Found
) -> dict[str, Any]:
    """Where an answer that is not whole goes on: without `top`, and where `top` is over a page."""
    left = None if asked.top is None else asked.top - len(found.hits)
    if not found.has_more or not found.hits or (left is not None and left <= 0):
        return {}
    following = request.model_dump(by_alias=True, exclude_none=True)
    following |= {"skip": asked.skip + len(found.hits)} | ({} if left is None else {"top": left})
    at = f"{call.base_url}/indexes('{quote(name)}')/docs"
    version = {"api-version": call.parameters["api-version"]}
    if call.method == "POST":
        link = f"{at}/search.post.search?{urlencode(version)}"
        return {"@odata.nextLink": link, "@search.nextPageParameters": following}
    again = {**call.parameters}
    for old in ("$skip", "skip", "$top", "top"):
        again.pop(old, None)
    again |= {f"${each}": str(following[each]) for each in ("skip", "top") if each in following}
    return {"@odata.nextLink": f"{at}?{urlencode(again)}"}


def _no_suggester(_store: Store, _call: SearchCall, _: Mapping[str, str]) -> SearchAnswer:
    raise bad_parameter("suggesterName", "The index has no suggester; none is supported here.")


_KEY = r"(?:\('(?P<k1>(?:[^']|'')*)'\)|/(?P<k2>[^/'()]+))"
_ROUTES: tuple[tuple[str, "re.Pattern[str]", _Handler], ...] = tuple(
    (method, re.compile(pattern), handler)
    for method, pattern, handler in (
        ("GET", r"/servicestats", _service_stats),
        ("GET", r"/indexes", _list_indexes),
        ("POST", r"/indexes", _create_index),
        ("GET", _INDEX, _get_index),
        ("PUT", _INDEX, _put_index),
        ("DELETE", _INDEX, _delete_index),
        ("GET", _INDEX + r"/(?:search\.)?stats", _index_stats),
        ("POST", _DOCS + r"/(?:search\.)?index", _index_documents),
        ("POST", _DOCS + r"/(?:search\.post\.)?search", _search_post),
        ("GET", _DOCS + r"/\$count", _count),
        ("GET", _DOCS, _search_get),
        ("POST", _DOCS + r"/(?:search\.post\.)?(?:suggest|autocomplete)", _no_suggester),
        ("GET", _DOCS + r"/(?:search\.)?(?:suggest|autocomplete)", _no_suggester),
        ("GET", _DOCS + _KEY, _look_up),
    )
)


def _check_maker(call: SearchCall, record: Record) -> None:
    if record.maker == call.maker:
        return
    who = f"the {record.maker}" if record.maker else "a caller of the API"
    raise OfAnotherMaker(
        f"The index '{record.definition.name}' was made by {who}, and only its maker changes it. "
        "It can be read and searched.",
        "OperationNotAllowed",
    )


def _check_etag(call: SearchCall, record: Record) -> None:
    wanted, unwanted = call.headers.get("if-match"), call.headers.get("if-none-match")
    if wanted is not None and wanted != "*" and record.etag not in _etags(wanted):
        raise _changed(record.definition.name)
    if unwanted is not None and (unwanted == "*" or record.etag in _etags(unwanted)):
        raise _changed(record.definition.name)


def _etags(header: str) -> set[str]:
    return {tag.strip().removeprefix("W/") for tag in header.split(",")}


def _changed(name: str) -> PreconditionFailed:
    return PreconditionFailed(
        f"The precondition given in one of the request headers evaluated to false: the index "
        f"'{name}' is not as it says.",
        "PreconditionFailed",
    )


def _body(call: SearchCall, most_bytes: int = _MOST_DEFINITION_BYTES) -> Any:
    if len(call.body) > most_bytes:
        raise TooLarge(
            f"The request body is {len(call.body)} bytes; {most_bytes} is the most that is taken."
        )
    try:
        return orjson.loads(call.body)
    except orjson.JSONDecodeError as error:
        raise bad_request(f"The body is not valid JSON: {error}.") from None


def _only_parameters(call: SearchCall, *known: str) -> None:
    unknown = call.parameters.keys() - {"api-version", *known}
    if unknown:
        name = min(unknown)
        raise bad_parameter(name[:128], f"The parameter '{name[:128]}' is not known here.")


def _index_answer(call: SearchCall, record: Record, status: int) -> SearchAnswer:
    told = {"@odata.context": f"{call.base_url}/$metadata#indexes/$entity", **_told(record)}
    made = _json(told, status)
    headers = {**made.headers, "etag": record.etag}
    if status == 201:
        headers["location"] = f"{call.base_url}/indexes('{record.definition.name}')"
    return replace(made, headers=headers)


def _told(record: Record) -> dict[str, Any]:
    return {"@odata.etag": record.etag, **_definition_told(record.definition)}


_LISTS = (
    *("scoringProfiles", "suggesters", "analyzers", "normalizers"),
    *("tokenizers", "tokenFilters", "charFilters"),
)
_LATER = ("@odata.etag", "@odata.context", "purviewEnabled", "permissionFilterOption")
_LATER_OF_FIELDS = ("permissionFilter", "sensitivityLabel", "fields")


def _definition_told(definition: IndexDefinition) -> dict[str, Any]:
    """As answers have it: what there is none of is an empty list where clients want to iterate."""
    told = definition.to_wire()
    for name in _LATER:
        told.pop(name)
    for field in told["fields"]:
        for name in _LATER_OF_FIELDS:
            field.pop(name)
        field["synonymMaps"] = []
    told |= {name: [] for name in _LISTS}
    if told["vectorSearch"] is not None:
        told["vectorSearch"] |= {"vectorizers": [], "compressions": []}
    for each in (told["semantic"] or {}).get("configurations") or ():
        each.pop("flightingOptIn")
        each.pop("rankingOrder")
    return told


def _context(call: SearchCall, index: str, what: str) -> str:
    return f"{call.base_url}/indexes('{index}')/$metadata#{what}"


def _json(body: Mapping[str, Any], status: int = 200) -> SearchAnswer:
    return SearchAnswer(status, _JSON, orjson.dumps(body))
