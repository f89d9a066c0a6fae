"""The documents of a job as its owner sees them."""

import httpx
import pytest
import sqlalchemy as sa
from tests.support.ingestion_jobs import JOBS, put, storage

from linarite.indexing.containers.container import Item
from linarite.resources.ingestion import documents
from linarite.resources.ingestion.repository import find_any_run
from linarite.storage.tables import ingestion_documents

PATH = f"{JOBS}/a-job/documents"
FAILURE, RUN = "It is encrypted.", "the-run-that-found-so"


@pytest.fixture
def ids(shared_jobs, tenant):
    """A job with five documents: the second and the fourth failed."""
    run_id = put(tenant, "a-job", storage())
    ids = [f"{n:032x}" for n in range(5)]
    with shared_jobs.built.database.transaction() as tx:
        job = find_any_run(tx, run_id).job
        items = [Item(f"dir/{n}.pdf", "v", f"https://a.test/{n}.pdf", 10 + n) for n in range(5)]
        documents.add(tx, job, dict(zip(ids, items, strict=True)))
        is_it = sa.and_(ingestion_documents.c.job == job, ingestion_documents.c.id.in_(ids[1::2]))
        failed = {"state": "failed", "error": FAILURE, "run": RUN}
        tx.execute(sa.update(ingestion_documents).where(is_it).values(**failed))
    return ids


def test_documents_are_told_as_they_were_found_with_the_reason_of_a_failure(tenant, ids):
    listed = tenant.get(PATH).json()

    assert [one["id"] for one in listed["value"]] == ids
    assert listed["value"][:2] == [
        {
            "id": ids[0],
            "key": "dir/0.pdf",
            "url": "https://a.test/0.pdf",
            "bytes": 10,
            "state": "pending",
            "chunks": 0,
        },
        {
            "id": ids[1],
            "key": "dir/1.pdf",
            "url": "https://a.test/1.pdf",
            "bytes": 11,
            "state": "failed",
            "reason": FAILURE,
            "chunks": 0,
            "runId": RUN,
        },
    ]
    assert "nextLink" not in listed


def test_those_of_one_state_are_walked_by_their_links(tenant, ids):
    first = tenant.get(PATH, params={"state": "failed", "limit": 1}).json()
    rest = httpx.get(first["nextLink"], headers=tenant.headers).json()

    assert [one["id"] for one in first["value"] + rest["value"]] == ids[1::2]
    assert "nextLink" not in rest


@pytest.mark.parametrize("query", [{"state": "broken"}, {"after": "none"}, {"limit": "0"}])
def test_a_page_that_is_none_is_refused(tenant, ids, query):
    answer = tenant.get(PATH, params=query)

    assert answer.status_code == 400
    assert answer.json()["error"]["target"] == next(iter(query))


def test_a_job_that_is_not_there_has_no_documents(tenant):
    assert tenant.get(PATH).status_code == 404
