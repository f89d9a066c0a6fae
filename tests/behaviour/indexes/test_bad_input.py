"""Whatever is sent to an index, the answer is never a failure of the server."""

import json
import random
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.behaviour.edge.test_hostile_requests import MALFORMED
from tests.support.search_indexes import BOOKS

OPERATIONS = [
    ("POST", "/indexes"),
    ("PUT", "/indexes/new"),
    ("POST", "/indexes/books/docs/index"),
    ("POST", "/indexes/books/docs/search"),
]


@pytest.mark.parametrize("body", MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_body_is_refused(rest: httpx.Client, body: bytes):
    for method, path in OPERATIONS:
        headers = {"content-type": "application/json"}
        answer = rest.request(method, path, content=body, headers=headers)

        if answer.status_code != 200:  # such as a search for nothing, which is one for all
            assert answer.status_code == 400, (path, answer.text)
            assert answer.json()["error"]["message"]


def test_a_body_of_another_type_is_refused(rest: httpx.Client):
    for method, path in OPERATIONS:
        headers = {"content-type": "text/plain"}
        assert rest.request(method, path, content=b"{}", headers=headers).status_code == 415


VALUES: list[Any] = [
    *(
        None,
        True,
        False,
        0,
        -1,
        2**31,
        2**63,
        2**70,
        0.5,
        1e308,
        "",
        "x",
        "*",
        "\u0000",
        "'",
        "`",
        '"',
    ),
    *(
        [],
        [1],
        ["x"],
        [None],
        {},
        {"a": 1},
        "a" * 10_000,
        "id",
        "near",
        "search.score()",
        "$select",
    ),
    *(
        "-",
        "+",
        "(",
        "\\",
        "~",
        "AND",
        "NOT x",
        "a:b",
        "%",
        "year desc",
        [[]],
        [{}],
        [{"vector": [1, 2]}],
    ),
]
PARAMETERS = [
    *("search", "count", "filter", "orderby", "select", "searchFields", "searchMode", "queryType"),
    *(
        "top",
        "skip",
        "vectorQueries",
        "vectorFilterMode",
        "semanticConfiguration",
        "minimumCoverage",
    ),
    *(
        "scoringStatistics",
        "sessionId",
        "captions",
        "answers",
        "facets",
        "highlight",
        "odd",
        "debug",
    ),
]


@settings(max_examples=80, deadline=None)
@given(st.dictionaries(st.sampled_from(PARAMETERS), st.sampled_from(VALUES), max_size=4))
def test_odd_searches_are_answered_or_refused(rest: httpx.Client, asked: dict[str, Any]):
    answer = rest.post("/indexes/books/docs/search", json=asked)

    assert answer.status_code in {200, 400}, answer.text


@settings(max_examples=40, deadline=None)
@given(st.text(alphabet="ab*~^:+-|&!()[]{}\"'\\/ \n?ANDORNT,;$%<>=" + "ä漢", max_size=30))
def test_odd_texts_are_answered_or_refused(rest: httpx.Client, text: str):
    for query_type in ("simple", "full"):
        for mode in ("any", "all"):
            asked = {"search": text, "queryType": query_type, "searchMode": mode}
            answer = rest.post("/indexes/books/docs/search", json=asked)

            assert answer.status_code in {200, 400}, answer.text


def test_an_odd_value_anywhere_in_a_definition_is_no_failure(rest: httpx.Client):
    moments = random.Random(5)
    for number in range(100):
        body = json.loads(json.dumps({**BOOKS, "name": f"odd{number}"}))
        one = moments.choice([body, *body["fields"], body["vectorSearch"]])
        one[moments.choice([*one, "odd"])] = moments.choice(VALUES)

        answer = rest.post("/indexes", json=body)

        assert answer.status_code in {201, 400}, answer.text
        if answer.status_code == 201:
            rest.delete(f"/indexes/odd{number}")


def test_an_odd_value_anywhere_in_a_document_is_no_failure(rest: httpx.Client):
    rest.post("/indexes", json={**BOOKS, "name": "oddly"})
    moments = random.Random(6)
    names = [one["name"] for one in BOOKS["fields"]] + ["@search.action", "odd"]
    for _ in range(80):
        document = {"id": "a", moments.choice(names): moments.choice(VALUES)}

        answer = rest.post("/indexes/oddly/docs/index", json={"value": [document]})

        assert answer.status_code in {200, 207, 400}, answer.text
    assert rest.get("/indexes/oddly/docs").status_code == 200


@pytest.mark.parametrize("value", ["9" * 5000, "-1", "x", "", "1.5"])
def test_an_odd_number_in_an_address_is_refused(rest: httpx.Client, value: str):
    for name in ("$top", "$skip"):
        assert rest.get("/indexes/books/docs", params={name: value}).status_code == 400
