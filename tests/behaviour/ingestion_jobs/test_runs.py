"""Runs as they start, by a put, a refresh or a retry, and end: cancelled, deleted with the job."""

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from types import SimpleNamespace

import pytest
import sqlalchemy as sa
from azure.core.credentials import AzureKeyCredential
from tests.support.clock import StandingClock
from tests.support.files import error_of
from tests.support.ingestion_jobs import JOBS, begin, finish, pages, put, service, storage

from linarite.indexing.failures import IngestionFailed, TryLater
from linarite.indexing.search.in_process import ENDPOINT
from linarite.indexing.targets.azure_search import AzureSearchTarget
from linarite.indexing.targets.target import Stored
from linarite.resources.indexes.service import Indexes
from linarite.resources.ingestion.repository import due, find_any_run
from linarite.resources.ingestion.tasks import Work
from linarite.storage.tables import ingestion_jobs
from linarite.tasks.task import HandedBack

HOUR = 3600


def runs(client, job_id="a-job"):
    return [one["status"] for one in client.get(f"{JOBS}/{job_id}/runs").json()["value"]]


def is_open(answer):
    status, code, message = error_of(answer)
    return (status, code) == (409, "unexpectedEntityState") and "is open" in message


def test_a_put_starts_a_run_with_the_new_definition(shared_jobs, tenant):
    first = put(tenant, "a-job", storage())
    finish(shared_jobs, first)

    second = put(tenant, "a-job", pages(urls=["https://new.test/"]))

    assert first != second
    assert runs(tenant) == ["notRunning", "succeeded"]
    with shared_jobs.built.database.transaction() as tx:
        run = service(shared_jobs).begin(tx, second)
    job = service(shared_jobs).definition(run)
    assert (job.job_id, job.datasource.urls) == ("a-job", ["https://new.test/"])
    assert len(tenant.get(JOBS).json()["value"]) == 1


def test_no_run_starts_while_one_is_open(shared_jobs, tenant):
    run_id = put(tenant, "a-job", storage())

    for _ in ("notRunning", "running"):
        assert is_open(tenant.put(f"{JOBS}/a-job", json=storage(containerName="other")))
        assert is_open(tenant.post(f"{JOBS}/a-job/retry-failed"))
        assert is_open(tenant.delete(f"{JOBS}/a-job"))
        begin(shared_jobs, run_id)

    assert tenant.get(f"{JOBS}/a-job").json()["datasource"]["containerName"] == "docs"


def test_of_puts_at_once_one_starts_a_run(tenant):
    start = threading.Barrier(6)

    def put_it(_):
        start.wait()
        return tenant.put(f"{JOBS}/a-job", json=storage()).status_code

    with ThreadPoolExecutor(6) as pool:
        statuses = list(pool.map(put_it, range(6)))

    assert sorted(statuses) == [200] + [409] * 5
    assert runs(tenant) == ["notRunning"]


def make_index(client, name):
    fields = [{"name": "id", "type": "Edm.String", "key": True}]
    made = client.post(
        "/indexes", json={"name": name, "fields": fields}, params={"api-version": "2025-09-01"}
    )
    assert made.status_code == 201, made.text


@pytest.mark.parametrize("is_filled", [False, True])
def test_two_ids_that_differ_in_case_would_share_an_index(tenant, is_filled):
    put(tenant, "a-job", storage())
    if is_filled:
        make_index(tenant, "a-job-index")

    answer = tenant.put(f"{JOBS}/A-Job", json=storage())

    assert error_of(answer)[:2] == (409, "itemDoesAlreadyExist")
    assert "'a-job-index' belongs to a job" in error_of(answer)[2]


def test_an_index_that_is_not_the_jobs_is_left_alone(shared_jobs, tenant):
    make_index(tenant, "a-job-index")

    answer = tenant.put(f"{JOBS}/a-job", json=storage())

    assert error_of(answer)[:2] == (409, "itemDoesAlreadyExist")
    assert "is not this job's" in error_of(answer)[2]
    put(tenant, "b-job", storage())


def test_an_index_that_a_former_job_of_the_id_left_is_no_obstacle(named):
    """Its row was lost with the database, say; and only a job may delete such an index."""
    key, made_by = named.add_key("former"), "ingestion job a-job"
    transport = named.built.parts[Indexes].transport("former", made_by)
    credential = AzureKeyCredential("any")
    AzureSearchTarget(ENDPOINT, credential, transport, "a-job-index", made_by).ensure(None)

    with named.client(key=key) as caller:
        put(caller, "a-job", storage())


def test_a_run_that_waits_is_cancelled_at_once(shared_jobs, tenant):
    run_id = put(tenant, "a-job", storage())

    run = tenant.post(f"{JOBS}/a-job/runs/{run_id}/cancel").json()

    assert (run["status"], run["error"]) == ("failed", {"message": "The run was cancelled."})
    with shared_jobs.built.database.transaction() as tx:
        assert service(shared_jobs).begin(tx, run_id) is None
    again = tenant.post(f"{JOBS}/a-job/runs/{run_id}/cancel")
    assert error_of(again)[:2] == (409, "unexpectedEntityState")


@pytest.mark.parametrize("how", ["finish", "fail"])
def test_a_run_that_is_under_way_is_open_until_its_worker_has_stopped(shared_jobs, tenant, how):
    jobs, database = service(shared_jobs), shared_jobs.built.database
    run_id = put(tenant, "a-job", storage())
    begin(shared_jobs, run_id)
    with database.reading() as connection:
        assert not jobs.is_cancelled(connection, run_id)

    for _ in range(2):
        run = tenant.post(f"{JOBS}/a-job/runs/{run_id}/cancel")
        assert run.json()["status"] == "running"
    assert is_open(tenant.put(f"{JOBS}/a-job", json=storage()))
    with database.transaction() as tx:
        assert jobs.is_cancelled(tx, run_id)
        jobs.finish(tx, run_id) if how == "finish" else jobs.fail(tx, run_id, "It broke.")

    run = tenant.get(f"{JOBS}/a-job/runs/{run_id}").json()
    assert (run["status"], run["error"]) == ("failed", {"message": "The run was cancelled."})
    put(tenant, "a-job", storage())


def test_a_run_that_is_taken_up_again_goes_on(shared_jobs, tenant):
    run_id = put(tenant, "a-job", storage())

    with shared_jobs.built.database.transaction() as tx:
        first = service(shared_jobs).begin(tx, run_id)
        again = service(shared_jobs).begin(tx, run_id)
        assert service(shared_jobs).begin(tx, "none") is None

    assert (first.status, again.status) == ("running", "running")
    assert (first.id, first.job_id, first.trigger) == (run_id, "a-job", "put")


def test_failed_documents_are_tried_again_by_a_run_of_their_own(shared_jobs, tenant):
    finish(shared_jobs, put(tenant, "a-job", storage()))

    answer = tenant.post(f"{JOBS}/a-job/retry-failed")

    assert answer.json() == tenant.get(f"{JOBS}/a-job/runs").json()["value"][0]
    assert tenant.get(answer.headers["operation-location"]).json()["status"] == "notRunning"
    with shared_jobs.built.database.transaction() as tx:
        run = service(shared_jobs).begin(tx, answer.json()["runId"])
    assert run.trigger == "retryFailed"


def test_a_deleted_job_is_seen_no_more_and_its_id_is_free_once_it_is_gone(shared_jobs, tenant):
    jobs, database = service(shared_jobs), shared_jobs.built.database
    run_id = put(tenant, "a-job", storage(dataRefreshIntervalInHours=1))
    with database.transaction() as tx:
        jobs.warn(tx, run_id, "a", "a: empty")
    finish(shared_jobs, run_id)
    with database.reading() as connection:
        key = str(find_any_run(connection, run_id).job)
        assert jobs.deleted(connection, key) is None

    deleted = tenant.delete(f"{JOBS}/a-job")

    assert (deleted.status_code, deleted.content) == (204, b"")
    assert tenant.get(JOBS).json() == {"value": []}
    for path in ("", "/runs", f"/runs/{run_id}"):
        assert tenant.get(f"{JOBS}/a-job{path}").status_code == 404
    assert tenant.delete(f"{JOBS}/a-job").status_code == 404
    assert tenant.post(f"{JOBS}/a-job/retry-failed").status_code == 404
    refused = tenant.put(f"{JOBS}/a-job", json=storage())
    assert "is being deleted" in error_of(refused)[2]

    with database.transaction() as tx:
        record = jobs.deleted(tx, key)
        assert [one.job_id for one in jobs.definitions_of(record)] == ["a-job"]
        jobs.forget(tx, record)
    with database.reading() as connection:
        assert jobs.deleted(connection, key) is None
    put(tenant, "a-job", storage())
    assert runs(tenant) == ["notRunning"]


def test_a_refresh_starts_a_run_every_so_many_hours(shared_jobs, tenant):
    jobs = service(shared_jobs)
    put(tenant, "once", storage(dataRefreshIntervalInHours=0))
    run_id = put(tenant, "a-job", storage(dataRefreshIntervalInHours=2))
    now = jobs.clock.now()
    late = replace(jobs, clock=StandingClock(now + 2 * HOUR + 5))

    late.start_due()
    assert runs(tenant) == ["notRunning"]  # the first one is open
    finish(shared_jobs, run_id)
    jobs.start_due()
    assert runs(tenant) == ["succeeded"]  # not due yet
    late.start_due()
    assert runs(tenant) == ["notRunning", "succeeded"]
    assert runs(tenant, "once") == ["notRunning"]

    newest = tenant.get(f"{JOBS}/a-job/runs").json()["value"][0]["runId"]
    with shared_jobs.built.database.transaction() as tx:
        assert jobs.begin(tx, newest).trigger == "refresh"
        jobs.finish(tx, newest)
    late.start_due()
    assert len(runs(tenant)) == 2  # the next is due two hours later


def test_of_workers_that_look_at_once_one_starts_the_run(shared_jobs, tenant):
    jobs = service(shared_jobs)
    finish(shared_jobs, put(tenant, "a-job", storage(dataRefreshIntervalInHours=1)))
    late = replace(jobs, clock=StandingClock(jobs.clock.now() + HOUR))
    start = threading.Barrier(4)

    def look(_):
        start.wait()
        return late.start_due()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(look, range(4)))

    assert runs(tenant) == ["notRunning", "succeeded"]


def test_old_runs_are_forgotten_as_others_start(shared_jobs, tenant):
    jobs = service(shared_jobs)
    ingestion = jobs.settings.ingestion.model_copy(update={"runs": 2})
    few = jobs.settings.model_copy(update={"ingestion": ingestion})
    made = []
    for _ in range(3):
        made.append(put(tenant, "a-job", storage()))
        with shared_jobs.built.database.transaction() as tx:
            jobs.warn(tx, made[-1], "a", "a: empty")
        finish(shared_jobs, made[-1])

    with shared_jobs.built.database.reading() as connection:
        resource = find_any_run(connection, made[0]).resource
    made.append(replace(jobs, settings=few).retry_failed(resource, "a-job").id)

    kept = [one["runId"] for one in tenant.get(f"{JOBS}/a-job/runs").json()["value"]]
    assert kept == made[:-3:-1]


def test_a_job_that_cannot_be_read_does_not_keep_others_from_their_refresh(shared_jobs, tenant):
    jobs, database = service(shared_jobs), shared_jobs.built.database
    made = [
        put(tenant, job_id, storage(dataRefreshIntervalInHours=1)) for job_id in ("broken", "a-job")
    ]
    for run_id in made:
        finish(shared_jobs, run_id)
    with database.transaction() as tx:
        its = ingestion_jobs.c.seq == find_any_run(tx, made[0]).job
        tx.execute(sa.update(ingestion_jobs).where(its).values(definition="none"))
    late = replace(jobs, clock=StandingClock(jobs.clock.now() + HOUR))

    late.start_due()
    late.start_due()

    assert runs(tenant, "broken") == ["succeeded"]
    assert runs(tenant) == ["notRunning", "succeeded"]
    with database.reading() as connection:
        assert "broken" not in [one.id for one in due(connection, late.clock.now(), 100)]


class Overtaken:
    """The ticket of a worker that is taken for dead once it has begun."""

    attempt, guards = 0, 0

    def check(self):
        pass

    def wait(self, seconds):
        pass

    def guard(self, tx):
        self.guards += 1
        if self.guards > 1:
            raise HandedBack


@contextmanager
def nothing_opens(resource, job):
    raise IngestionFailed("It is away.")
    yield


@pytest.mark.parametrize("task", ["run", "lane"])
def test_a_worker_that_was_taken_for_dead_fails_nobodys_run(shared_jobs, tenant, task):
    run_id = put(tenant, "a-job", storage())
    work = Work(service(shared_jobs), nothing_opens)
    subjects = {"run": (work.run, run_id), "lane": (work.lane, f"{run_id}/0")}
    perform, subject = subjects[task]

    with pytest.raises(HandedBack):
        perform(subject, Overtaken())

    assert runs(tenant) == ["running"]


@pytest.mark.parametrize("error", [IngestionFailed("The key is wrong."), TryLater("It is away.")])
def test_a_target_that_is_away_does_not_keep_a_deleted_job_in_the_other_one(
    shared_jobs, tenant, error
):
    jobs, dropped = service(shared_jobs), []
    run_id = put(tenant, "a-job", storage(containerName="former"))
    with shared_jobs.built.database.transaction() as tx:
        run = find_any_run(tx, run_id)
        jobs.note_place(tx, run, "there")
    finish(shared_jobs, run_id)
    finish(shared_jobs, put(tenant, "a-job", storage(containerName="present")))
    tenant.delete(f"{JOBS}/a-job")

    @contextmanager
    def opened(resource, job):
        container = job.datasource.container_name
        if container == "former":
            raise error
        yield SimpleNamespace(
            target=SimpleNamespace(drop=lambda: dropped.append(container)),
            pages=None,
            is_own=True,
        )

    with nullcontext() if type(error) is IngestionFailed else pytest.raises(TryLater):
        Work(jobs, opened).delete(str(run.job), Overtaken())

    assert dropped == ["present"]


@pytest.fixture
def deleted(shared_jobs, tenant):
    """A job that was put, has run and is deleted; nothing of it is removed yet."""
    run_id = put(tenant, "a-job", storage())
    with shared_jobs.built.database.transaction() as tx:
        run = find_any_run(tx, run_id)
    finish(shared_jobs, run_id)
    tenant.delete(f"{JOBS}/a-job")
    return str(run.job)


def failing(error):
    def ask(*_):
        raise error

    return ask


def opening(target, pages, *, is_own=True):
    """What opens parts with such a target, and a container of such pages."""
    container = SimpleNamespace(
        list=lambda: [SimpleNamespace(key=key) for key in pages], delete=pages.remove
    )

    @contextmanager
    def opened(resource, job):
        yield SimpleNamespace(target=target, pages=container, is_own=is_own)

    return opened


@pytest.mark.parametrize("call", ["drop", "stored"])
def test_the_pages_of_a_deleted_job_go_where_its_index_cannot(shared_jobs, deleted, call):
    pages = {"index.html", "about.html"}
    refuses = {call: failing(IngestionFailed("The key may not do that."))}
    target = SimpleNamespace(**{"stored": lambda most: [], "drop": lambda: None, **refuses})

    work = Work(service(shared_jobs), opening(target, pages, is_own=False))
    work.delete(deleted, Overtaken())

    assert pages == set()


def test_what_can_be_removed_later_is_tried_again_whatever_else_cannot(shared_jobs, deleted):
    away = SimpleNamespace(drop=failing(TryLater("It is away.")))
    refuses = SimpleNamespace(list=failing(IngestionFailed("The key is wrong.")))

    @contextmanager
    def opened(resource, job):
        yield SimpleNamespace(target=away, pages=refuses, is_own=True)

    with pytest.raises(TryLater):
        Work(service(shared_jobs), opened).delete(deleted, Overtaken())


def test_of_a_deleted_job_whose_index_is_anothers_the_pages_stay(shared_jobs, deleted):
    pages, dropped = {"index.html"}, []
    chunk = Stored("a-0", "a", '{"maker": "another server"}')
    target = SimpleNamespace(stored=lambda most: [chunk], drop=lambda: dropped.append(1))

    work = Work(service(shared_jobs), opening(target, pages, is_own=False))
    work.delete(deleted, Overtaken())

    assert (pages, dropped) == ({"index.html"}, [])
