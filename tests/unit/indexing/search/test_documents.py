import re
from collections.abc import Mapping
from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from azure.search.documents import SearchClient
from azure.search.documents.models import IndexAction, IndexDocumentsBatch, IndexingResult
from tests.support.search_indexes import BOOKS

from linarite.indexing.search.documents import actions, perform
from linarite.indexing.search.rules import parsed
from linarite.indexing.search.store import Store
from linarite.indexing.search.tending import fragments

Told = tuple[str, int, bool]


def told(results: list[IndexingResult]) -> list[Told]:
    return [(one.key, one.status_code, one.succeeded) for one in results]


def batch(books: SearchClient, *actions: tuple[str, Mapping[str, Any]]) -> list[Told]:
    made = IndexDocumentsBatch(
        actions=[IndexAction({"@search.action": kind, **document}) for kind, document in actions]
    )
    return told(books.index_documents(made))


def document(books: SearchClient, key: str) -> dict[str, Any]:
    return {
        name: value
        for name, value in books.get_document(key).items()
        if not name.startswith("@") and value not in (None, [])
    }


def test_an_upload_makes_or_replaces_a_document(books: SearchClient):
    assert told(books.upload_documents([{"id": "a", "title": "one", "year": 1}])) == [
        ("a", 201, True)
    ]
    assert told(books.upload_documents([{"id": "a", "title": "two"}])) == [("a", 200, True)]

    assert document(books, "a") == {"id": "a", "title": "two"}


def test_of_a_full_batch_each_is_known_by_whether_it_was_there(store: Store):
    """Also where an index is in so many pieces that keys are looked for some at a time."""
    definition = parsed(BOOKS)
    record = store.create("default", definition, "")
    table = store.table("default", record)

    def upload(*numbers: int) -> dict[str, int]:
        value = [{"id": f"k{number}", "year": len(numbers)} for number in numbers]
        outcomes = perform(actions({"value": value}, definition), table, definition)
        return {one.key: one.status for one in outcomes}

    for number in range(0, 1000, 15):
        assert upload(number) == {f"k{number}": 201}
    assert fragments(table) == 67
    assert upload(*range(1000)) == {f"k{each}": 201 if each % 15 else 200 for each in range(1000)}

    assert table.count_rows() == table.count_rows("year = 1000") == 1000


def test_a_merge_changes_the_fields_it_names(books: SearchClient):
    first = {"id": "a", "title": "one", "tags": ["x", "y"], "near": [1, 2, 3]}
    books.upload_documents([first | {"added": "2024-01-02T03:04:05Z", "secret": "s"}])

    assert told(books.merge_documents([{"id": "a", "tags": ["z"], "year": 7}])) == [
        ("a", 200, True)
    ]

    merged = first | {"tags": ["z"], "year": 7, "added": "2024-01-02T03:04:05Z"}
    assert document(books, "a") == merged
    assert [one["id"] for one in books.search("s", search_fields=["secret"])] == ["a"]


def test_a_merge_of_what_is_not_there_fails_and_the_rest_is_done(books: SearchClient):
    assert batch(books, ("merge", {"id": "no"}), ("upload", {"id": "yes"})) == [
        ("no", 404, False),
        ("yes", 201, True),
    ]
    assert books.get_document_count() == 1


def test_merge_or_upload_does_either(books: SearchClient):
    books.upload_documents([{"id": "a", "title": "one"}])

    done = batch(books, ("mergeOrUpload", {"id": "a", "year": 1}), ("mergeOrUpload", {"id": "b"}))

    assert done == [("a", 200, True), ("b", 201, True)]
    assert document(books, "a") == {"id": "a", "title": "one", "year": 1}


def test_a_delete_of_what_is_not_there_is_no_fault(books: SearchClient):
    books.upload_documents([{"id": "a"}])

    done = told(books.delete_documents([{"id": "a"}, {"id": "b"}]))

    assert done == [("a", 200, True), ("b", 200, True)]
    assert books.get_document_count() == 0


def test_actions_of_one_document_are_done_in_their_order(books: SearchClient):
    done = batch(
        books,
        ("upload", {"id": "a", "title": "one"}),
        ("merge", {"id": "a", "year": 1}),
        ("delete", {"id": "b"}),
        ("upload", {"id": "b", "title": "there"}),
        ("upload", {"id": "c"}),
        ("delete", {"id": "c"}),
        ("merge", {"id": "c", "year": 1}),
    )

    statuses = [status for _, status, _ in done]
    assert statuses == [201, 200, 200, 201, 201, 200, 404]
    assert document(books, "a") == {"id": "a", "title": "one", "year": 1}
    assert books.get_document_count() == 2


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ({"year": "1"}, "'year' to the expected type 'Edm.Int32'"),
        ({"year": 1.5}, "Edm.Int32"),
        ({"year": True}, "Edm.Int32"),
        ({"year": 2**31}, "Edm.Int32"),
        ({"length": 2**63}, "Edm.Int64"),
        ({"price": "x"}, "Edm.Double"),
        ({"is_lent": "true"}, "Edm.Boolean"),
        ({"added": "2024-01-02"}, "Edm.DateTimeOffset"),
        ({"added": "2024-13-02T00:00:00Z"}, "Edm.DateTimeOffset"),
        ({"title": 1}, "Edm.String"),
        ({"title": ["x"]}, "Edm.String"),
        ({"tags": "x"}, "Collection\\(Edm.String\\)"),
        ({"tags": ["x", 1]}, "Collection\\(Edm.String\\)"),
        ({"tags": [None]}, "Collection\\(Edm.String\\)"),
        ({"near": [1, 2]}, "expects a length of 3"),
        ({"near": [1, 2, "x"]}, "32 bits"),
        ({"near": [1, 2, True]}, "32 bits"),
        ({"near": [1, 2, 1e300]}, "32 bits"),
        ({"near": "x"}, "Collection\\(Edm.Single\\)"),
    ],
)
def test_a_value_of_another_type_fails_its_document_alone(
    books: SearchClient, value: dict[str, Any], reason: str
):
    bad, good = books.upload_documents([{"id": "bad", **value}, {"id": "good"}])

    assert (bad.status_code, bad.succeeded, good.status_code) == (400, False, 201)
    with pytest.raises(ResourceNotFoundError):
        books.get_document("bad")
    assert re.search(reason, str(bad.error_message))


def test_values_come_back_as_they_went_in(books: SearchClient):
    whole = {
        "id": "A-1_=",
        "title": "naïve 漢字\n\u0000",
        "tags": ["", "b"],
        "year": -(2**31),
        "length": 2**63 - 1,
        "price": 0.1,
        "is_lent": False,
        "added": "2024-01-02T03:04:05.123456Z",
        "near": [0.5, -0.25, 3.0],
    }
    books.upload_documents([whole])

    assert document(books, "A-1_=") == whole


def test_a_moment_is_told_in_utc(books: SearchClient):
    books.upload_documents([{"id": "a", "added": "2024-01-02T03:04:05.1234567+02:00"}])

    assert books.get_document("a")["added"] == "2024-01-02T01:04:05.123456Z"


@pytest.mark.parametrize(
    ("documents", "reason"),
    [
        ([{"title": "x"}], "key cannot be missing"),
        ([{"id": ""}], "key cannot be missing"),
        ([{"id": "a/b"}], "Invalid document key: 'a/b'"),
        ([{"id": "x" * 1025}], "Invalid document key"),
        ([{"id": "a", "nothing": 1}], "The property 'nothing' does not exist"),
        ([{"id": "a", "@search.action": "burn"}], "'burn' is no"),
        ([], "No indexing actions"),
        ([{"id": str(number)} for number in range(1001)], "1001 documents"),
    ],
    ids=["no key", "empty key", "bad key", "long key", "field", "action", "none", "many"],
)
def test_a_batch_that_makes_no_sense_is_refused_whole(
    books: SearchClient, documents: list[dict[str, Any]], reason: str
):
    with pytest.raises(HttpResponseError, match=reason) as refused:
        books.index_documents(IndexDocumentsBatch(actions=[IndexAction(one) for one in documents]))

    assert refused.value.status_code == 400
    assert books.get_document_count() == 0


def test_a_look_up_tells_the_fields_it_is_asked_for(books: SearchClient):
    books.upload_documents([{"id": "a", "title": "one", "year": 1}])

    found = books.get_document("a", selected_fields=["year"])

    assert {name: value for name, value in found.items() if not name.startswith("@")} == {"year": 1}
    with pytest.raises(ResourceNotFoundError):
        books.get_document("b")
