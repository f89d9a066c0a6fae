"""Chunks in Azure AI Search, against a stand-in that is strict about the published shapes."""

from collections.abc import Iterator
from typing import Any

import pytest
from azure.core.credentials import AccessToken, AzureKeyCredential
from azure.core.exceptions import ClientAuthenticationError
from azure.core.pipeline.transport import RequestsTransport
from tests.support.chunks import a_chunk
from tests.support.search_service import KEY, Refusal, SearchService, search_service

from linarite.indexing.failures import DocumentFailed, IngestionFailed, TryLater
from linarite.indexing.targets.azure_search import AzureSearchTarget

NAME = "handbook-index"


@pytest.fixture
def service() -> Iterator[SearchService]:
    with search_service() as running:
        yield running


@pytest.fixture
def target(service: SearchService) -> AzureSearchTarget:
    return a_target(service)


def a_target(service: SearchService, **changes: Any) -> AzureSearchTarget:
    options = {"key": KEY, "made_by": "made by the job", **changes}
    return AzureSearchTarget(
        service.url,
        AzureKeyCredential(options["key"]),
        RequestsTransport(),
        NAME,
        options["made_by"],
        backoff_seconds=0.001,
    )


def test_what_is_stored_is_told_of_in_parts_where_a_search_does_not_show_all(
    target: AzureSearchTarget, service: SearchService
):
    target.ensure(3)
    parents = [f"{digit}{'0' * 31}" for digit in "05f"]
    target.upsert([a_chunk(0, id=f"{one}-0", parent_id=one) for one in parents])
    whole = list(target.stored())
    service.told = 100_001

    parts = list(target.stored())

    assert [one.id for one in parts] == [one.id for one in whole] == [f"{p}-0" for p in parents]
    filters = {body.get("filter") for body in service.bodies("/docs/search.post.search")}
    assert len(filters) == 1 + 16


def test_the_index_has_the_fields_of_a_chunk_and_the_documented_vector_profile(
    target: AzureSearchTarget, service: SearchService
):
    target.ensure(3)

    index = service.indexes[NAME]
    fields = {field["name"]: field for field in index["fields"]}
    assert set(fields) == {
        *("id", "parent_id", "content", "title", "filepath", "url", "chunk_id"),
        *("last_updated", "meta_json_string", "contentVector"),
    }
    assert fields["id"]["key"]
    assert fields["parent_id"]["filterable"]
    assert fields["contentVector"]["dimensions"] == 3
    assert index["vectorSearch"] == {
        "algorithms": [
            {
                "name": "hnsw",
                "kind": "hnsw",
                "hnswParameters": {
                    "m": 4,
                    "efConstruction": 400,
                    "efSearch": 500,
                    "metric": "cosine",
                },
            }
        ],
        "profiles": [{"name": "default", "algorithm": "hnsw"}],
    }
    assert index["semantic"]["configurations"][0]["name"] == "default"


def test_an_index_without_embeddings_has_no_vectors(
    target: AzureSearchTarget, service: SearchService
):
    target.ensure(None)
    target.upsert([a_chunk(0, vector=None)])

    assert "vectorSearch" not in service.indexes[NAME]
    assert "contentVector" not in service.documents[NAME][a_chunk(0).id]


def test_ensuring_twice_is_ensuring_once(target: AzureSearchTarget, service: SearchService):
    target.ensure(3)
    target.upsert([a_chunk(0)])

    target.ensure(3)

    assert target.count() == 1


def test_an_index_that_another_worker_made_in_between_is_taken(
    target: AzureSearchTarget, service: SearchService
):
    a_target(service).ensure(3)
    service.refusals.append(Refusal(f"('{NAME}')", 404))

    target.ensure(3)


@pytest.mark.parametrize(
    ("there", "wanted", "told"),
    [
        (384, 1536, "has 384 dimensions, and the embeddings have 1536"),
        (None, 384, "no field `contentVector` for the embeddings' 384 dimensions"),
        (384, None, "has 384 dimensions, and the job has no embeddings"),
    ],
)
def test_an_index_of_other_dimensions_is_refused(
    target: AzureSearchTarget, there: int | None, wanted: int | None, told: str
):
    target.ensure(there)

    with pytest.raises(IngestionFailed, match=told):
        target.ensure(wanted)


@pytest.mark.parametrize(
    ("field", "changes", "told"),
    [
        ("url", None, "has no field `url`"),
        ("chunk_id", {"type": "Edm.Int32"}, "`chunk_id` is Edm.Int32, and the job's is Edm.String"),
        ("id", {"key": False}, "its key is not the field `id`"),
        ("title", {"retrievable": False}, "`title` is not retrievable"),
        ("content", {"searchable": False}, "`content` is not searchable"),
    ],
)
def test_an_index_of_other_fields_is_refused(
    target: AzureSearchTarget,
    service: SearchService,
    field: str,
    changes: dict[str, Any] | None,
    told: str,
):
    target.ensure(3)
    fields = service.indexes[NAME]["fields"]
    place = next(n for n, it in enumerate(fields) if it["name"] == field)
    fields[place : place + 1] = [] if changes is None else [fields[place] | changes]

    with pytest.raises(IngestionFailed, match=told):
        target.ensure(3)


def test_chunks_are_stored_replaced_counted_and_deleted(
    target: AzureSearchTarget, service: SearchService
):
    target.ensure(3)
    target.upsert([a_chunk(0), a_chunk(1)])
    target.upsert([a_chunk(1, content="another"), a_chunk(2)])

    target.delete([a_chunk(0).id, "never-there"])

    assert target.count() == 2
    assert service.documents[NAME][a_chunk(1).id] == {
        "id": a_chunk(1).id,
        "parent_id": a_chunk(1).parent_id,
        "content": "another",
        "title": "Handbook",
        "filepath": "handbook.md",
        "url": "https://example.org/handbook.md",
        "chunk_id": "1",
        "last_updated": "2026-01-02T03:04:05Z",
        "meta_json_string": "{}",
        "contentVector": [0.1, 0.2, 0.3],
    }


def test_batches_keep_to_the_services_limits(target: AzureSearchTarget, service: SearchService):
    target.ensure(3)
    small = [a_chunk(n) for n in range(1001)]
    long = [a_chunk(n, content="é" * 3_000_000) for n in range(2000, 2005)]

    target.upsert(small + long)
    target.delete([chunk.id for chunk in small])

    sent = [len(body["value"]) for body in service.bodies("search.index")]
    assert sent == [1000, 1 + 2, 2, 1, 1000, 1]  # the long ones have 6 MB each
    assert target.count() == 5


def test_what_the_service_was_too_busy_for_is_sent_again_and_nothing_else(
    target: AzureSearchTarget, service: SearchService
):
    target.ensure(3)
    service.document_statuses = {a_chunk(1).id: [503, 422]}

    target.upsert([a_chunk(0), a_chunk(1), a_chunk(2)])

    sent = [[action["id"] for action in body["value"]] for body in service.bodies("search.index")]
    assert sent == [[a_chunk(n).id for n in range(3)], [a_chunk(1).id], [a_chunk(1).id]]
    assert target.count() == 3


def test_a_document_that_stays_refused_for_want_of_room_asks_for_another_time(
    target: AzureSearchTarget, service: SearchService
):
    target.ensure(3)
    service.document_statuses = {a_chunk(1).id: [503] * 5}

    with pytest.raises(TryLater, match="1 documents were not taken after 5 tries"):
        target.upsert([a_chunk(0), a_chunk(1)])


def test_a_document_that_is_refused_fails_with_its_reason(
    target: AzureSearchTarget, service: SearchService
):
    target.ensure(3)
    service.document_statuses = {a_chunk(1).id: [400]}

    with pytest.raises(DocumentFailed, match=f"{a_chunk(1).id} \\(400\\): scripted"):
        target.upsert([a_chunk(0), a_chunk(1)])


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_service_is_asked_again(
    target: AzureSearchTarget, service: SearchService, status: int
):
    target.ensure(3)
    service.refusals.append(Refusal("search.index", status, times=2))

    target.upsert([a_chunk(0)])

    assert target.count() == 1


def test_a_service_that_asks_for_a_long_rest_gets_it(
    target: AzureSearchTarget, service: SearchService
):
    target.ensure(3)
    service.refusals.append(Refusal("search.index", 429, headers={"Retry-After": "3600"}))

    with pytest.raises(TryLater, match="busy") as raised:
        target.upsert([a_chunk(0)])
    assert raised.value.after_seconds == 3600


def test_a_wrong_key_fails_and_is_not_told(service: SearchService):
    with pytest.raises(IngestionFailed, match="refused the key") as raised:
        a_target(service, key="a-secret-key").ensure(3)
    assert "a-secret-key" not in str(raised.value)
    assert not isinstance(raised.value, TryLater)


def test_a_full_service_fails_in_the_documented_words(
    target: AzureSearchTarget, service: SearchService
):
    quota = "Index quota has been exceeded for this service."
    service.refusals.append(Refusal("/indexes", 404))
    service.refusals.append(Refusal("/indexes", 400, message=quota))

    with pytest.raises(IngestionFailed, match=r"couldn't be created\. .*quota has been exceeded"):
        target.ensure(3)


@pytest.mark.parametrize("status", [200, 302])
def test_an_answer_that_tells_nothing_of_documents_fails(
    target: AzureSearchTarget, service: SearchService, status: int
):
    """As a proxy in between may give."""
    target.ensure(3)
    service.refusals.append(Refusal("search.index", status, headers={"Location": "/elsewhere"}))

    with pytest.raises(IngestionFailed, match=f"answered {status} and did not tell"):
        target.upsert([a_chunk(0)])


def test_a_service_that_is_away_asks_for_another_time():
    target = AzureSearchTarget(
        "http://127.0.0.1:9", AzureKeyCredential(KEY), RequestsTransport(), NAME, "", 0.001
    )

    with pytest.raises(TryLater, match="could not be reached"):
        target.count()


def test_dropping_deletes_the_index_that_the_job_made(
    target: AzureSearchTarget, service: SearchService
):
    target.ensure(3)

    target.drop()
    target.drop()

    assert service.indexes == {}


def test_dropping_leaves_an_index_that_was_there_before_without_the_chunks(
    target: AzureSearchTarget, service: SearchService
):
    a_target(service, made_by="the operator").ensure(3)
    target.ensure(3)
    target.upsert([a_chunk(0)])
    service.documents[NAME]["theirs"] = {"id": "theirs"}

    target.drop()

    assert set(service.documents[NAME]) == {"theirs"}


def test_an_index_of_another_job_is_neither_filled_nor_dropped(service: SearchService):
    a_target(service, made_by="ingestion job docs of sales").ensure(3)
    other = a_target(service, made_by="ingestion job docs of legal")

    with pytest.raises(IngestionFailed, match="another ingestion job's"):
        other.ensure(3)
    with pytest.raises(IngestionFailed, match="another ingestion job's"):
        other.ensure(4)
    other.drop()

    assert NAME in service.indexes


class Nobody:
    """The identity of a machine that has none, as azure-identity tells it."""

    def get_token(self, *_scopes: str, **_options: Any) -> AccessToken:
        raise ClientAuthenticationError("Attempted credentials: EnvironmentCredential, …")


def test_a_machine_without_identity_is_told_in_few_words():
    target = AzureSearchTarget(
        "https://127.0.0.1:9", Nobody(), RequestsTransport(), NAME, "a job", backoff_seconds=0.001
    )

    with pytest.raises(IngestionFailed, match=r"created\. This server has no identity there\.$"):
        target.ensure(3)
