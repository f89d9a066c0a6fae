"""Azure AI Search's REST dialect over the store: a request in, an answer out; no HTTP server.

The same function answers requests that came over HTTP and those of a client in this process.
Addresses are taken in both of the service's styles: ``/indexes('n')/docs('k')`` and
``/indexes/n/docs/k``.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import date

from linarite.indexing.search import document_operations as documents
from linarite.indexing.search import index_operations as indexes
from linarite.indexing.search.calls import SearchAnswer, SearchCall, json_answer
from linarite.indexing.search.refusals import Busy, NotThere, SearchRefused
from linarite.indexing.search.store import Store

_VERSION = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2})(-[Pp]review)?")


def answer(store: Store, call: SearchCall) -> SearchAnswer:
    """What the service answers; a refusal is an answer, too."""
    try:
        return _answer(store, call)
    except SearchRefused as refused:
        return refusal(refused)


def refusal(refused: SearchRefused) -> SearchAnswer:
    """The answer that refuses."""
    answered = json_answer(refused.body, refused.status)
    if isinstance(refused, Busy):
        return replace(answered, headers={**answered.headers, "retry-after": "2"})
    return answered


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
        refused = json_answer(SearchRefused(f"{call.method} is not allowed here.").body, 405)
        return replace(refused, headers={**refused.headers, "allow": ", ".join(methods)})
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


_KEY = r"(?:\('(?P<k1>(?:[^']|'')*)'\)|/(?P<k2>[^/'()]+))"
_ROUTES: tuple[tuple[str, "re.Pattern[str]", _Handler], ...] = tuple(
    (method, re.compile(pattern), handler)
    for method, pattern, handler in (
        ("GET", r"/servicestats", indexes.service_stats),
        ("GET", r"/indexes", indexes.list_indexes),
        ("POST", r"/indexes", indexes.create_index),
        ("GET", _INDEX, indexes.get_index),
        ("PUT", _INDEX, indexes.put_index),
        ("DELETE", _INDEX, indexes.delete_index),
        ("GET", _INDEX + r"/(?:search\.)?stats", indexes.index_stats),
        ("POST", _DOCS + r"/(?:search\.)?index", documents.index_documents),
        ("POST", _DOCS + r"/(?:search\.post\.)?search", documents.search_post),
        ("GET", _DOCS + r"/\$count", documents.count),
        ("GET", _DOCS, documents.search_get),
        ("POST", _DOCS + r"/(?:search\.post\.)?(?:suggest|autocomplete)", documents.no_suggester),
        ("GET", _DOCS + r"/(?:search\.)?(?:suggest|autocomplete)", documents.no_suggester),
        ("GET", _DOCS + _KEY, documents.look_up),
    )
)
