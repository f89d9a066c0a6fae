"""Azure AI Search's REST dialect, as programs without an SDK speak it."""

from typing import Any

import httpx
import pytest
from tests.support.search_indexes import BOOKS
from tests.support.server import Server

SEARCHES = ["/indexes/books/docs/search", "/indexes('books')/docs/search.post.search"]


def found(answer: httpx.Response) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [one["id"] for one in answer.json()["value"]]


@pytest.mark.parametrize("path", SEARCHES)
def test_a_search_is_posted(rest: httpx.Client, path: str):
    asked = {"search": "words", "filter": "year ge 1", "orderby": "year desc", "count": True}

    answer = rest.post(path, json=asked)

    assert found(answer) == ["k2", "k1"]
    assert answer.json()["@odata.count"] == 2
    assert answer.headers["content-type"].startswith("application/json")


@pytest.mark.parametrize("path", ["/indexes/books/docs", "/indexes('books')/docs"])
@pytest.mark.parametrize("sign", ["$", ""])
def test_a_search_is_in_the_address(rest: httpx.Client, path: str, sign: str):
    asked = {"search": "words", "searchMode": "all", "queryType": "full", "searchFields": "content"}
    options = {"filter": "year ge 1", "orderby": "year desc", "top": "1", "count": "true"}

    answer = rest.get(
        path, params=asked | {f"{sign}{name}": value for name, value in options.items()}
    )

    assert found(answer) == ["k2"]
    assert answer.json()["@odata.count"] == 2


@pytest.mark.parametrize("path", ["/indexes/books/docs/{}", "/indexes('books')/docs('{}')"])
def test_a_document_is_looked_up(rest: httpx.Client, path: str):
    answer = rest.get(path.format("k1"), params={"$select": "title,year"})
    missing = rest.get(path.format("no"))

    told = answer.json()
    told.pop("@odata.context")
    assert told == {"title": "Book 1", "year": 1}
    assert missing.status_code == 404
    assert set(missing.json()["error"]) == {"code", "message"}


@pytest.mark.parametrize("path", ["/indexes/books/docs/$count", "/indexes('books')/docs/$count"])
def test_documents_are_counted_as_text(rest: httpx.Client, path: str):
    answer = rest.get(path)

    assert (answer.text, answer.headers["content-type"]) == ("3", "text/plain; charset=utf-8")


@pytest.mark.parametrize("path", ["/indexes/books/stats", "/indexes('books')/search.stats"])
def test_an_index_has_statistics(rest: httpx.Client, path: str):
    told = rest.get(path).json()

    assert told["documentCount"] == 3
    assert told["storageSize"] > 0


def test_the_service_has_statistics(rest: httpx.Client):
    told = rest.get("/servicestats").json()

    assert told["counters"]["indexesCount"] == {"usage": 1, "quota": 200}
    assert told["counters"]["documentCount"]["usage"] == 3


def test_indexes_are_listed_with_chosen_properties(rest: httpx.Client):
    assert rest.get("/indexes", params={"$select": "name"}).json()["value"] == [{"name": "books"}]
    assert rest.get("/indexes").json()["value"][0]["fields"][0]["name"] == "id"
    assert rest.get("/indexes", params={"$select": "nothing"}).status_code == 400


def test_a_put_makes_then_changes(rest: httpx.Client):
    body = {**BOOKS, "name": "put"}

    made = rest.put("/indexes/put", json=body)
    quiet = rest.put("/indexes('put')", json=body)
    told = rest.put("/indexes/put", json=body, headers={"Prefer": "return=representation"})
    stale = rest.put("/indexes/put", json=body, headers={"If-Match": made.headers["etag"]})
    again = rest.put("/indexes/put", json=body, headers={"If-None-Match": "*"})
    gone = rest.delete("/indexes/put", headers={"If-Match": told.headers["etag"]})
    nothing = rest.put("/indexes/put", json=body, headers={"If-Match": "*"})

    answers = [made, quiet, told, stale, again, gone, nothing]
    assert [one.status_code for one in answers] == [201, 204, 200, 412, 412, 204, 412]
    assert made.headers["location"].endswith("/indexes('put')")
    assert told.json()["@odata.etag"] == told.headers["etag"] != made.headers["etag"]


def test_pages_go_on_where_they_end(server: Server, rest: httpx.Client):
    """Fifty without `top`; a thousand at most with it."""
    rest.post("/indexes", json={**BOOKS, "name": "many"})
    for start in range(0, 1200, 600):
        made = [{"id": f"{number}", "year": number} for number in range(start, start + 600)]
        rest.post("/indexes/many/docs/index", json={"value": made})

    first = rest.post("/indexes/many/docs/search", json={"search": "*", "orderby": "year"})
    follow = first.json()["@search.nextPageParameters"]
    second = rest.post("/indexes/many/docs/search", json=follow)
    large = rest.post("/indexes/many/docs/search", json={"top": 1100, "orderby": "year"})
    rest_of_it = rest.post(
        "/indexes/many/docs/search", json=large.json()["@search.nextPageParameters"]
    )
    exact = rest.post("/indexes/many/docs/search", json={"top": 7})
    endless = rest.post("/indexes/many/docs/search", json={"top": 2**31 - 1})
    by_link = rest.get("/indexes/many/docs", params={"$orderby": "year", "$top": "1100"})
    at = by_link.json()["@odata.nextLink"]

    assert found(second) == [f"{number}" for number in range(50, 100)]
    assert [len(found(one)) for one in (large, rest_of_it)] == [1000, 100]
    assert "@odata.nextLink" not in exact.json()
    assert endless.json()["@search.nextPageParameters"]["skip"] == 1000
    assert at.startswith(server.url)
    assert found(httpx.get(at, headers={"api-key": server.key}))[-1] == "1099"


def test_failed_documents_make_it_207(rest: httpx.Client):
    rest.post("/indexes", json={**BOOKS, "name": "mixed"})
    batch = {"value": [{"id": "a"}, {"id": "b", "@search.action": "merge"}]}

    answer = rest.post("/indexes('mixed')/docs/search.index", json=batch)

    assert answer.status_code == 207
    assert answer.json()["value"] == [
        {"key": "a", "status": True, "errorMessage": None, "statusCode": 201},
        {"key": "b", "status": False, "errorMessage": "Document not found.", "statusCode": 404},
    ]


def test_a_bearer_token_is_the_key_too(server: Server):
    bearer = {"Authorization": f"Bearer {server.key}"}

    answer = httpx.get(
        f"{server.url}/indexes", params={"api-version": "2024-07-01"}, headers=bearer
    )

    assert answer.status_code == 200


@pytest.mark.parametrize(
    ("version", "status"),
    [
        ("2024-07-01", 200),
        ("2025-05-01-preview", 200),
        ("2023-10-01-Preview", 200),
        ("2024-02-30", 400),
        ("latest", 400),
        ("", 400),
    ],
)
def test_a_version_is_a_day(server: Server, version: str, status: int):
    with server.client(params={"api-version": version}) as client:
        assert client.get("/indexes").status_code == status


def test_no_version_is_refused_in_the_services_form(server: Server):
    answer = httpx.get(f"{server.url}/indexes", headers={"api-key": server.key})

    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "MissingApiVersionParameter"


def test_no_key_is_refused_before_anything_is_told(server: Server):
    answer = httpx.get(f"{server.url}/indexes/books", params={"api-version": "2024-07-01"})

    assert answer.status_code == 401
    assert set(answer.json()["error"]) >= {"code", "message"}


def test_other_words_of_semantics_and_statistics_are_taken_as_they_are_meant(rest: httpx.Client):
    asked = {
        "search": "words",
        "scoringStatistics": "global",
        "sessionId": "s",
        "minimumCoverage": 90,
        "captions": "none",
        "answers": "none",
        "debug": "disabled",
    }

    answer = rest.post("/indexes/books/docs/search", json=asked)

    assert len(found(answer)) == 3
    assert answer.json()["@search.coverage"] == 100


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/indexes/none", 404),
        ("GET", "/indexes/none/docs/$count", 404),
        ("POST", "/indexes/none/docs/search", 404),
        ("GET", "/indexes/UPPER", 400),
        ("GET", "/indexes/a%2F..%2Fb", 404),
        ("GET", "/indexes('..')", 400),
        ("GET", "/indexesbooks", 404),
        ("GET", "/indexes/", 404),
        ("GET", "/indexes()", 404),
        ("GET", "/indexes('')", 400),
        ("GET", "/indexes/books/docs/a/b", 404),
        ("GET", "/indexes/books/indexers", 404),
        ("POST", "/indexes/books/search.analyze", 404),
        ("POST", "/indexes/books/docs/suggest", 400),
        ("POST", "/indexes/books/docs/search.post.autocomplete", 400),
        ("DELETE", "/indexes/books/docs", 405),
        ("PUT", "/indexes", 405),
        ("PATCH", "/indexes/books", 405),
    ],
)
def test_what_is_not_there_is_told_in_the_services_form(
    rest: httpx.Client, method: str, path: str, status: int
):
    answer = rest.request(method, path, json={} if method in {"POST", "PUT"} else None)

    assert answer.status_code == status
    assert set(answer.json()["error"]) >= {"code", "message"}


@pytest.mark.parametrize(
    "path",
    [
        "/indexes",
        "/indexes/books",
        "/indexes/books/stats",
        "/indexes/books/docs/k1",
        "/indexes/books/docs",
        "/servicestats",
    ],
)
def test_an_unknown_parameter_is_refused(rest: httpx.Client, path: str):
    answer = rest.get(path, params={"odd": "1"})

    assert answer.status_code == 400
    assert "'odd'" in answer.json()["error"]["message"]


def test_a_long_body_is_413(rest: httpx.Client):
    batch: Any = {"value": [{"id": "a", "content": "x" * (16 << 20)}]}

    assert rest.post("/indexes/books/docs/index", json=batch).status_code == 413
    assert (
        rest.post("/indexes/books/docs/search", json={"search": "x" * (5 << 20)}).status_code == 413
    )
