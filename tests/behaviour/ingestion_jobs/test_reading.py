"""Jobs and runs as they are listed and got."""

import httpx
import pytest
import sqlalchemy as sa
from tests.support.files import error_of
from tests.support.ingestion_jobs import (
    ARM,
    JOBS,
    begin,
    dataset,
    finish,
    pages,
    put,
    service,
    storage,
)

from linarite.storage.tables import ingestion_run_warnings, ingestion_runs
from linarite.wire.ingestion import IngestionJobStageProgress, OperationState


def test_a_list_tells_id_kind_and_workspace_newest_first(tenant):
    put(tenant, "a-system", storage())
    put(tenant, "a-user", dataset())

    assert tenant.get(JOBS).json() == {
        "value": [
            {"kind": "UserCompute", "jobId": "a-user", "workspaceId": ARM},
            {"kind": "SystemCompute", "jobId": "a-system"},
        ]
    }


@pytest.mark.parametrize("order", ["asc", "desc"])
def test_a_list_is_walked_by_its_links(tenant, order):
    names = [f"job-{n}" for n in range(5)]
    for name in names:
        put(tenant, name, storage())

    walked, sizes = [], []
    answer = tenant.get(JOBS, params={"limit": 2, "order": order}).json()
    for _ in range(5):
        walked += [one["jobId"] for one in answer["value"]]
        sizes.append(len(answer["value"]))
        if "nextLink" not in answer:
            break
        answer = httpx.get(answer["nextLink"], headers=tenant.headers).json()

    assert sizes == [2, 2, 1]
    assert walked == (names if order == "asc" else names[::-1])


def test_the_runs_of_a_job_are_walked_by_their_links(shared_jobs, tenant):
    ids = []
    for _ in range(3):
        ids.append(put(tenant, "a-job", storage()))
        finish(shared_jobs, ids[-1])

    first = tenant.get(f"{JOBS}/a-job/runs", params={"limit": 2}).json()
    rest = httpx.get(first["nextLink"], headers=tenant.headers).json()

    assert first["value"] == [
        {"jobId": "a-job", "runId": run_id, "status": "succeeded"} for run_id in ids[:0:-1]
    ]
    assert rest == {"value": [{"jobId": "a-job", "runId": ids[0], "status": "succeeded"}]}


@pytest.mark.parametrize("path", [JOBS, f"{JOBS}/a-job/runs"])
@pytest.mark.parametrize(
    ("query", "target"),
    [
        ({"limit": "0"}, "limit"),
        ({"limit": "1001"}, "limit"),
        ({"order": "up"}, "order"),
        ({"after": "none"}, "after"),
    ],
)
def test_a_page_that_is_none_is_refused(tenant, path, query, target):
    put(tenant, "a-job", storage())

    answer = tenant.get(path, params=query)

    assert answer.status_code == 400
    assert answer.json()["error"]["target"] == target


def test_a_run_has_the_stages_of_its_job(tenant):
    stages = {}
    for job_id, job in (("pages", pages()), ("files", storage())):
        run_id = put(tenant, job_id, job)
        run = tenant.get(f"{JOBS}/{job_id}/runs/{run_id}").json()
        stages[job_id] = run["progress"]["stageProgress"]

    waiting = {"state": "notRunning"}
    assert stages["files"] == [{"name": name} | waiting for name in ("Preprocessing", "Indexing")]
    assert stages["pages"] == [{"name": "Crawling"} | waiting, *stages["files"]]


def test_a_run_tells_how_far_it_is_and_what_is_the_matter(shared_jobs, tenant):
    jobs = service(shared_jobs)
    run_id = put(tenant, "a-job", storage())
    begin(shared_jobs, run_id)
    cracking = IngestionJobStageProgress(name="Cracking", state=OperationState.RUNNING)
    told = [
        IngestionJobStageProgress(
            name="Preprocessing",
            total_items=14,
            processed_items=3,
            state=OperationState.RUNNING,
            sub_stage_progress=[cracking],
        ),
        IngestionJobStageProgress(name="Indexing", state=OperationState.NOT_RUNNING),
    ]
    with shared_jobs.built.database.transaction() as tx:
        jobs.note_stages(tx, run_id, told)
        for key, text in (("b.pdf", "b.pdf: encrypted"), ("a\ud800", "a: empty")) * 2:
            jobs.warn(tx, run_id, key, text)

    running = tenant.get(f"{JOBS}/a-job/runs/{run_id}").json()
    with shared_jobs.built.database.transaction() as tx:
        jobs.fail(tx, run_id, "The index is full.", ["403"])
        jobs.note_stages(tx, run_id, [])  # of a worker that has not noticed
        jobs.finish(tx, run_id)
    ended = tenant.get(f"{JOBS}/a-job/runs/{run_id}").json()

    assert running["status"] == "running"
    assert running["warnings"] == ["b.pdf: encrypted", "a: empty"]
    assert running["progress"]["stageProgress"] == [
        {
            "name": "Preprocessing",
            "totalItems": 14,
            "processedItems": 3,
            "state": "running",
            "subStageProgress": [{"name": "Cracking", "state": "running"}],
        },
        {"name": "Indexing", "state": "notRunning"},
    ]
    assert ended["status"] == "failed"
    assert ended["error"] == {"message": "The index is full.", "innerErrors": ["403"]}
    stages = ended["progress"]["stageProgress"]
    assert [stage["state"] for stage in stages] == ["failed", "notRunning"]
    assert stages[0]["subStageProgress"][0]["state"] == "failed"


def test_of_many_warnings_the_first_thousand_are_told(named, caller):
    run_id = put(caller, "a-job", storage())
    with named.built.database.transaction() as tx:
        for n in range(1002):
            service(named).warn(tx, run_id, f"{n}", f"{n}: empty")

    warnings = caller.get(f"{JOBS}/a-job/runs/{run_id}").json()["warnings"]

    assert len(warnings) == 1001
    assert all(f"{n}: empty" == text for n, text in enumerate(warnings[:-1]))
    assert warnings[-1].startswith("2 more documents have warnings")


def test_of_many_warnings_of_a_run_that_has_ended_the_first_thousand_are_kept(shared_jobs, tenant):
    run_id = put(tenant, "a-job", storage())
    begin(shared_jobs, run_id)
    database = shared_jobs.built.database
    with database.transaction() as tx:
        for n in range(1010):
            service(shared_jobs).warn(tx, run_id, f"{n}", f"{n}: empty")
        service(shared_jobs).finish(tx, run_id)

    warnings = tenant.get(f"{JOBS}/a-job/runs/{run_id}").json()["warnings"]

    assert warnings == [
        *(f"{n}: empty" for n in range(1000)),
        "10 more documents have warnings; list the documents.",
    ]
    rows = sa.select(sa.func.count()).join_from(ingestion_run_warnings, ingestion_runs)
    with database.reading() as connection:
        kept = connection.execute(rows.where(ingestion_runs.c.id == run_id)).scalar_one()
    assert kept == 1001


@pytest.mark.parametrize("run_id", ["none", "a%00b"])
def test_a_run_that_is_not_the_jobs_is_not_found(tenant, run_id):
    for job_id in ("one", "other"):
        other = put(tenant, job_id, storage())

    for wrong in (run_id, other):
        answer = tenant.get(f"{JOBS}/one/runs/{wrong}")
        assert answer.status_code in {400, 404}
    assert error_of(tenant.get(f"{JOBS}/none"))[:2] == (404, "notFound")
    assert error_of(tenant.get(f"{JOBS}/none/runs"))[:2] == (404, "notFound")
