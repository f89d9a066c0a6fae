"""The operations on documents: index, search, look up, count."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode

import structlog

from linarite.indexing.search import MOST_BYTES
from linarite.indexing.search import documents as batches
from linarite.indexing.search.calls import (
    SearchAnswer,
    SearchCall,
    check_maker,
    context,
    json_answer,
    only_parameters,
    read_body,
)
from linarite.indexing.search.filters import is_one_of
from linarite.indexing.search.query import (
    Query,
    SearchRequest,
    from_parameters,
    query,
    read,
    selected,
)
from linarite.indexing.search.refusals import NotThere, bad_parameter
from linarite.indexing.search.schema import documents
from linarite.indexing.search.searching import Found, search
from linarite.indexing.search.store import Store
from linarite.indexing.search.tending import Tail

_log = structlog.get_logger("linarite.search")


def index_documents(store: Store, call: SearchCall, named: Mapping[str, str]) -> SearchAnswer:
    """Upload, merge and delete documents: 200, or 207 where some could not be."""
    only_parameters(call)
    record = store.get(call.resource, named["index"])
    check_maker(call, record)
    store.check_space()
    actions = batches.actions(read_body(call, MOST_BYTES), record.definition)
    with store.writing(call.resource, named["index"]) as current:
        check_maker(call, current)
        if current.etag != record.etag:  # its fields were changed as this waited
            actions = batches.actions(read_body(call, MOST_BYTES), current.definition)
        table = store.table(call.resource, current)
        outcomes = batches.perform(actions, table, current.definition)
    _tend(store, call, named["index"])
    all_well = all(outcome.status < 300 for outcome in outcomes)
    return json_answer(
        {
            "@odata.context": context(call, named["index"], "Collection(IndexResult)"),
            "value": [outcome.to_wire() for outcome in outcomes],
        },
        200 if all_well else 207,
    )


def _tend(store: Store, call: SearchCall, name: str) -> None:
    """Tend an index, and let a failure pass: what was written is stored all the same."""
    try:  # a maker has it tended once more when it is through
        store.tend(call.resource, name, Tail.LOADING if call.maker else Tail.WRITING)
    except Exception:  # noqa: BLE001 - a later write tries again
        _log.exception("an index could not be tended", index=name)


def count(store: Store, call: SearchCall, named: Mapping[str, str]) -> SearchAnswer:
    """How many documents there are, as text."""
    only_parameters(call)
    record = store.get(call.resource, named["index"])
    count = store.table(call.resource, record).count_rows()
    return SearchAnswer(200, {"content-type": "text/plain; charset=utf-8"}, str(count).encode())


def look_up(store: Store, call: SearchCall, named: Mapping[str, str]) -> SearchAnswer:
    """Tell one document; 404 where there is none."""
    only_parameters(call, "$select", "select")
    record = store.get(call.resource, named["index"])
    definition = record.definition
    fields = selected(call.parameters.get("$select", call.parameters.get("select")), definition)
    table = store.table(call.resource, record)
    rows = table.search().where(is_one_of(definition.key, [named["key"]])).limit(1)
    found = documents(rows.select([field.name for field in fields]).to_arrow(), fields)
    if not found:
        raise NotThere(f"Could not find a document with the key '{named['key'][:100]}'.")
    return json_answer(
        {"@odata.context": context(call, named["index"], "docs(*)/$entity"), **found[0]}
    )


def search_post(store: Store, call: SearchCall, named: Mapping[str, str]) -> SearchAnswer:
    """Search as the body says."""
    only_parameters(call)
    return _searched(store, call, named["index"], read_body(call))


def search_get(store: Store, call: SearchCall, named: Mapping[str, str]) -> SearchAnswer:
    """Search as the address says."""
    given = {name: value for name, value in call.parameters.items() if name != "api-version"}
    return _searched(store, call, named["index"], from_parameters(given))


def _searched(store: Store, call: SearchCall, name: str, body: Any) -> SearchAnswer:
    record = store.get(call.resource, name)
    request = read(body)
    asked = query(request, record.definition)
    found = search(store.table(call.resource, record), record.definition, asked)
    told: dict[str, Any] = {"@odata.context": context(call, name, "docs(*)")}
    if found.count is not None:
        told["@odata.count"] = found.count
    if request.minimum_coverage is not None:
        told["@search.coverage"] = 100.0
    told["value"] = [{"@search.score": hit.score, **hit.document} for hit in found.hits]
    return json_answer(told | _next(call, name, request, asked, found))


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


def no_suggester(_store: Store, _call: SearchCall, _: Mapping[str, str]) -> SearchAnswer:
    """Refuse what needs a suggester."""
    raise bad_parameter("suggesterName", "The index has no suggester; none is supported here.")
