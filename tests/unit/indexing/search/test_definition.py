import re
from typing import Any

import pytest
from azure.core import MatchConditions
from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceNotFoundError
from azure.search.documents.indexes import SearchIndexClient
from azure.search.documents.indexes.models import SearchField, SearchIndex
from tests.support.search_indexes import (
    BOOKS,
    VECTOR_SEARCH,
    clients,
    definition,
    field,
    vector_field,
)

from linarite.indexing.search.refusals import SearchRefused
from linarite.indexing.search.rules import parsed
from linarite.indexing.search.store import Store


def index(body: dict[str, Any]) -> SearchIndex:
    return SearchIndex(body)


def test_an_index_is_made_told_listed_and_deleted(indexes: SearchIndexClient):
    made = indexes.create_index(index(BOOKS))
    told = indexes.get_index("books")

    assert (made.name, made.e_tag) == ("books", told.e_tag)
    assert [one.name for one in told.fields] == [one["name"] for one in BOOKS["fields"]]
    assert list(indexes.list_index_names()) == ["books"]
    indexes.delete_index("books")
    assert list(indexes.list_indexes()) == []
    with pytest.raises(ResourceNotFoundError):
        indexes.get_index("books")


def test_flags_that_are_not_given_are_the_services(indexes: SearchIndexClient):
    fields = {one.name: one for one in indexes.create_index(index(BOOKS)).fields}

    title, tags, near = fields["title"], fields["tags"], fields["near"]
    assert (title.searchable, title.filterable, title.sortable, title.facetable) == (True,) * 4
    assert (tags.searchable, tags.sortable, fields["year"].searchable) == (True, False, False)
    assert (near.searchable, near.filterable, near.retrievable) == (True, False, True)


def test_two_indexes_have_two_names(indexes: SearchIndexClient):
    indexes.create_index(index(BOOKS))

    with pytest.raises(ResourceExistsError, match="because it already exists"):
        indexes.create_index(index(BOOKS))


def test_fields_can_be_added_and_filled(store: Store):
    indexes, books = clients(store, "books")
    made = indexes.create_index(index(BOOKS))
    books.upload_documents([{"id": "old", "content": "old words"}])

    fields = [
        *made.fields,
        SearchField(name="note", type="Edm.String", searchable=True),
        SearchField(name="labels", type="Collection(Edm.String)", filterable=True),
    ]
    indexes.create_or_update_index(
        SearchIndex(name="books", fields=fields, vector_search=made.vector_search)
    )
    books.merge_or_upload_documents([{"id": "new", "note": "a note", "labels": ["x"]}])

    assert [one["id"] for one in books.search("note")] == ["new"]
    assert [one["id"] for one in books.search("*", filter="labels/any(l: l eq 'x')")] == ["new"]
    assert (books.get_document("old")["note"], books.get_document("old")["labels"]) == (None, [])
    assert [one["id"] for one in books.search("words")] == ["old"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (
            lambda fields: fields[1].update(type="Edm.Int32", analyzer=None),
            "'title' cannot be changed",
        ),
        (lambda fields: fields[2].update(filterable=False), "'content' cannot be changed"),
        (lambda fields: fields[2].update(analyzer="en.lucene"), "'content' cannot be changed"),
        (lambda fields: fields[-1].update(dimensions=4), "'near' cannot be changed"),
        (lambda fields: fields.pop(3), "'tags' cannot be deleted"),
    ],
    ids=["type", "flag", "analyzer", "dimensions", "gone"],
)
def test_a_field_that_is_there_stays_as_it_is(indexes: SearchIndexClient, change: Any, reason: str):
    indexes.create_index(index(BOOKS))
    fields = [dict(one) for one in BOOKS["fields"]]
    change(fields)

    with pytest.raises(HttpResponseError, match=reason) as refused:
        indexes.create_or_update_index(index({**BOOKS, "fields": fields}))

    assert refused.value.status_code == 400
    assert refused.value.error.code == "OperationNotAllowed"


def test_whether_a_field_is_told_can_change(store: Store):
    indexes, books = clients(store, "books")
    indexes.create_index(index(BOOKS))
    books.upload_documents([{"id": "a", "secret": "s"}])
    fields = [
        {**one, "retrievable": True} if one["name"] == "secret" else one for one in BOOKS["fields"]
    ]

    indexes.create_or_update_index(index({**BOOKS, "fields": fields}))

    assert books.get_document("a")["secret"] == "s"


def test_a_change_can_be_tied_to_what_was_read(indexes: SearchIndexClient):
    first = indexes.create_index(index(BOOKS))
    indexes.create_or_update_index(index({**BOOKS, "description": "other"}))
    only_unchanged = {"match_condition": MatchConditions.IfNotModified}

    with pytest.raises(HttpResponseError) as refused:
        indexes.create_or_update_index(first, **only_unchanged)
    with pytest.raises(HttpResponseError):
        indexes.delete_index(first, **only_unchanged)

    assert refused.value.status_code == 412
    now = indexes.get_index("books")
    assert now.description == "other"
    indexes.create_or_update_index(now, **only_unchanged)


def test_what_only_one_maker_made_others_read_only(store: Store):
    of_job, documents = clients(store, "books", maker="ingestion job handbook")
    of_caller, their_documents = clients(store, "books")
    of_job.create_index(index(BOOKS))
    documents.upload_documents([{"id": "a", "content": "words"}])

    assert [one["id"] for one in their_documents.search("words")] == ["a"]
    for forbidden in (
        lambda: their_documents.delete_documents([{"id": "a"}]),
        lambda: of_caller.create_or_update_index(index(BOOKS)),
        lambda: of_caller.delete_index("books"),
    ):
        with pytest.raises(HttpResponseError, match="made by the ingestion job handbook"):
            forbidden()
    of_job.delete_index("books")


def test_indexes_of_others_are_not_there(store: Store):
    clients(store, "books")[0].create_index(index(BOOKS))
    others, documents = clients(store, "books", resource="other")

    assert list(others.list_index_names()) == []
    for missing in (
        lambda: others.get_index("books"),
        lambda: documents.upload_documents([{"id": "a"}]),
        lambda: list(documents.search("*")),
    ):
        with pytest.raises(ResourceNotFoundError):
            missing()
    others.delete_index("books")  # which is no failure to this client, as it is gone
    others.create_index(index(BOOKS))
    others.delete_index("books")
    assert clients(store, "books")[1].get_document_count() == 0


def with_field(*fields: dict[str, Any], **more: Any) -> dict[str, Any]:
    return definition("one", *fields, **more)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ([], "valid dictionary"),
        ({"name": "x"}, "'fields'"),
        ({"name": "x", "fields": []}, "at least 1 item"),
        ({"name": "x", "fields": [field("id")]}, "exactly one key"),
        (with_field(field("b", key=True)), "exactly one key"),
        ({"name": "x", "fields": [field("id", "Edm.Int32", key=True)]}, "must be a retrievable"),
        (with_field(field("ID")), "letters' case apart"),
        (with_field(field("1a")), "begins with a letter"),
        (with_field(field("azureSearch_x")), "begins with a letter"),
        (with_field(field("x" * 129)), "at most 128"),
        (with_field(field("a", "Edm.ComplexType")), "'fields.1.type'"),
        (with_field(field("a", "Edm.GeographyPoint")), "'fields.1.type'"),
        (with_field(field("a", "Edm.Int32", searchable=True)), "cannot be searchable"),
        (with_field(field("a", "Collection(Edm.String)", sortable=True)), "cannot be sortable"),
        (with_field(field("a", analyzer="en.microsoft")), "'en.microsoft' is not one of"),
        (with_field(field("a", searchable=False, analyzer="keyword")), "Only a searchable"),
        (with_field(field("a", indexAnalyzer="keyword", searchAnalyzer="whitespace")), "alike"),
        (with_field(field("a", normalizer="lowercase")), "'fields.1.normalizer': is not supported"),
        (with_field(field("a", synonymMaps=["x"])), "is not supported"),
        (with_field(field("a", stored=False)), "only be false for vector"),
        (with_field(field("a", dimensions=3)), "are for the type"),
        (with_field(field("a", filterable="yes")), "valid boolean"),
        (with_field(field("a", odd=1)), "'fields.1.odd' is not known"),
        (with_field(field("v", "Collection(Edm.Single)", dimensions=3)), "needs 'dimensions' and"),
        (with_field(vector_field("v", 1)), "between 2 and 4096"),
        (with_field(vector_field("v", 4097)), "between 2 and 4096"),
        (with_field({**vector_field("v", 3), "filterable": True}), "must be searchable, and not"),
        (with_field(vector_field("v", 3), vectorSearch=None), "no vector search profile 'usual'"),
        (with_field(vectorSearch={"profiles": [{"name": "p", "algorithm": "a"}]}), "not there"),
        (
            with_field(vectorSearch={**VECTOR_SEARCH, "compressions": [{"name": "c"}]}),
            "is not supported",
        ),
        (with_field(vectorSearch={"algorithms": [{"name": "a", "kind": "x"}]}), "'hnsw' or"),
        (with_field(suggesters=[{"name": "s"}]), "'suggesters': is not supported"),
        (with_field(scoringProfiles=[{"name": "s"}]), "is not supported"),
        (with_field(corsOptions={"allowedOrigins": ["*"]}), "is not supported"),
        (
            with_field(similarity={"@odata.type": "#Microsoft.Azure.Search.ClassicSimilarity"}),
            "simil",
        ),
        (with_field(semantic={"defaultConfiguration": "x"}), "no semantic configuration 'x'"),
        (
            with_field(
                semantic={
                    "configurations": [
                        {"name": "s", "prioritizedFields": {"titleField": {"fieldName": "no"}}}
                    ]
                }
            ),
            "names the field 'no'",
        ),
        ({**with_field(), "name": "Upper"}, "Invalid index name"),
        ({**with_field(), "name": "a" * 129}, "Invalid index name"),
        ({**with_field(), "name": "../x"}, "Invalid index name"),
    ],
)
def test_an_index_that_cannot_be_is_refused_with_the_reason(body: Any, reason: str):
    with pytest.raises(SearchRefused, match=re.escape(reason)):
        parsed(body)


def test_what_azures_own_clients_send_empty_is_taken():
    body = {
        **with_field(field("a", synonymMaps=[], normalizer=None, fields=[])),
        "scoringProfiles": [],
        "suggesters": [],
        "corsOptions": None,
        "similarity": {
            "@odata.type": "#Microsoft.Azure.Search.BM25Similarity",
            "k1": None,
            "b": None,
        },
        "@odata.etag": '"0x1"',
    }

    assert parsed(body).name == "one"
