"""The operations on indexes: list, create, get, put, delete, statistics."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from linarite.indexing.search.calls import (
    SearchAnswer,
    SearchCall,
    changed,
    check_etag,
    check_maker,
    json_answer,
    only_parameters,
    read_body,
)
from linarite.indexing.search.definition import IndexDefinition
from linarite.indexing.search.refusals import NotThere, bad_parameter
from linarite.indexing.search.rules import check_change, check_name, parsed
from linarite.indexing.search.store import Record, Store


def list_indexes(store: Store, call: SearchCall, _: Mapping[str, str]) -> SearchAnswer:
    """Every index of the resource, by name."""
    only_parameters(call, "$select", "select")
    wanted = call.parameters.get("$select", call.parameters.get("select", "*"))
    found = []
    for name in store.names(call.resource):
        try:
            record = store.get(call.resource, name)
        except NotThere:  # deleted meanwhile
            continue
        found.append(_chosen(_told(record), wanted))
    return json_answer({"@odata.context": f"{call.base_url}/$metadata#indexes", "value": found})


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


def create_index(store: Store, call: SearchCall, _: Mapping[str, str]) -> SearchAnswer:
    """Make an index: 201; 409 where there is one of that name."""
    only_parameters(call)
    record = store.create(call.resource, parsed(read_body(call)), call.maker)
    return _index_answer(call, record, 201)


def get_index(store: Store, call: SearchCall, named: Mapping[str, str]) -> SearchAnswer:
    """Tell what an index is."""
    only_parameters(call)
    return _index_answer(call, store.get(call.resource, named["index"]), 200)


def put_index(store: Store, call: SearchCall, named: Mapping[str, str]) -> SearchAnswer:
    """Make an index, or change one: 201, or 200 where its new state is wanted, else 204."""
    if call.parameters.get("allowIndexDowntime", "false").lower() not in ("false", "true"):
        raise bad_parameter("allowIndexDowntime", "It is true or false.")
    only_parameters(call, "allowIndexDowntime")
    name = named["index"]
    check_name(name)
    definition = parsed(read_body(call), name)
    try:
        old = store.get(call.resource, name)
    except NotThere:
        if "if-match" in call.headers:
            raise changed(name) from None
        return _index_answer(call, store.create(call.resource, definition, call.maker), 201)
    check_etag(call, old)
    with store.writing(call.resource, name) as record:
        check_maker(call, record)
        check_etag(call, record)
        added = check_change(record.definition, definition)
        record = record.changed(definition)
        store.change(call.resource, record, added)
    if "return=representation" in call.headers.get("prefer", ""):
        return _index_answer(call, record, 200)
    return SearchAnswer(204, {"etag": record.etag})


def delete_index(store: Store, call: SearchCall, named: Mapping[str, str]) -> SearchAnswer:
    """Remove an index with all that is in it: 204."""
    only_parameters(call)
    with store.writing(call.resource, named["index"]) as record:
        check_maker(call, record)
        check_etag(call, record)
        store.delete(call.resource, named["index"])
    return SearchAnswer(204, {})


def index_stats(store: Store, call: SearchCall, named: Mapping[str, str]) -> SearchAnswer:
    """How much is in an index."""
    only_parameters(call)
    record = store.get(call.resource, named["index"])
    rows = store.table(call.resource, record).count_rows()
    dimensions = sum(field.dimensions or 0 for field in record.definition.vector_fields)
    return json_answer(
        {
            "@odata.context": f"{call.base_url}/$metadata#Microsoft.Azure.Search.IndexStatistics",
            "documentCount": rows,
            "storageSize": store.stored_bytes(call.resource, named["index"]),
            "vectorIndexSize": 4 * rows * dimensions,
        }
    )


def service_stats(store: Store, call: SearchCall, _: Mapping[str, str]) -> SearchAnswer:
    """How much is in all indexes of the resource."""
    only_parameters(call)
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
    return json_answer(
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


def _index_answer(call: SearchCall, record: Record, status: int) -> SearchAnswer:
    told = {"@odata.context": f"{call.base_url}/$metadata#indexes/$entity", **_told(record)}
    made = json_answer(told, status)
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
