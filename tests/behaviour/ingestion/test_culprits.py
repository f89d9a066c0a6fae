"""A document that a service chokes on is left out; a service that is away fails the run.

What nobody foresaw is looked at in the same way.
"""

from collections.abc import Sequence

import pytest
from tests.behaviour.ingestion.conftest import RESOURCE, Job
from tests.support.ingestion_parts import choking

from linarite.http.pages import Page
from linarite.indexing.failures import DocumentFailed, TryLater

BUSY = TryLater("The service is busy (500): no reason.", 0.01)
LIMITED = TryLater("The service is busy (429): too many tokens.", 0.01, is_limit=True)
ODD = LookupError("no such thing")
TOLD = {
    BUSY: "The service is busy (500): no reason.",
    ODD: "{} it failed for an internal error (LookupError).",
}
AT = {"container": "Reading", "embedder": "Storing", "target": "Storing"}


@pytest.fixture(scope="module")
def shared_database_url() -> None:
    """SQLite alone: no statement is asked anything here."""


def fill(job: Job, count: int) -> None:
    for number in range(count):
        job.standing.write(f"{number:03}.txt", f"title {number}", f"body {number}")


def choke(job: Job, at: str, on: str, error: Exception) -> None:
    standing = job.standing
    parts = {"container": standing, "embedder": standing.embedder, "target": standing.target}
    parts[at].chokes = choking(on, error)


def failed(job: Job) -> list[str]:
    return [one.key for one in job.runs.documents(RESOURCE, job.id, Page(100), "failed").items]


@pytest.mark.parametrize("at", AT)
@pytest.mark.parametrize("error", TOLD)
def test_a_document_that_a_service_chokes_on_is_left_out_with_the_reason(job, at, error):
    fill(job, 5)
    choke(job, at, "body 3", error)

    run = job.run()

    told = TOLD[error].format(AT[at])
    assert (run.status, run.warnings) == ("succeeded", [f"003.txt: {told}"])
    assert sorted(job.standing.target.contents()) == [f"{n:03}.txt" for n in (0, 1, 2, 4)]


@pytest.mark.parametrize("at", AT)
def test_one_by_itself_is_left_out_as_well(job, at):
    job.standing.write("bad.txt", "body 3")
    choke(job, at, "body 3", BUSY)

    run = job.run()

    assert (run.status, failed(job)) == ("succeeded", ["bad.txt"])
    assert job.standing.target.rows() == {}


@pytest.mark.parametrize("at", ["embedder", "target"])
def test_a_service_that_is_away_fails_the_run_and_no_document(job, at):
    fill(job, 3)
    job.run()
    job.standing.write("001.txt", "another body")
    choke(job, at, "", BUSY)

    run = job.run()

    assert (run.status, run.error.message) == ("failed", str(BUSY))
    assert failed(job) == []
    choke(job, at, "none of them", BUSY)
    assert job.run().status == "succeeded"
    assert job.standing.target.contents()["001.txt"] == ["another body"]


def test_a_service_that_refuses_even_what_is_plain_fails_the_run_and_no_document(job):
    fill(job, 3)
    job.run()
    job.standing.write("001.txt", "another body")

    def choke(texts: Sequence[str]) -> None:
        raise BUSY if "another body" in texts else DocumentFailed("Nothing is taken (400).")

    job.standing.embedder.chokes = choke

    run = job.run()

    assert (run.status, run.error.message) == ("failed", "Nothing is taken (400).")
    assert failed(job) == []


@pytest.mark.parametrize("at", ["container", "target"])
@pytest.mark.parametrize("error", TOLD)
def test_a_service_that_chokes_on_every_document_fails_the_run_and_no_document(job, at, error):
    fill(job, 12)
    choke(job, at, "body", error)

    run = job.run()

    assert run.status == "failed"
    assert "10 documents one after the other" in run.error.message
    assert TOLD[error].format(AT[at]) in run.error.message
    assert failed(job) == []


@pytest.mark.parametrize("at", AT)
def test_a_service_that_is_asked_too_much_fails_the_run_and_no_document(job, at):
    fill(job, 3)
    choke(job, at, "body", LIMITED)  # what is plain is little enough

    run = job.run()

    assert (run.status, run.error.message) == ("failed", str(LIMITED))
    assert failed(job) == []


def test_a_service_that_is_asked_too_much_at_once_is_asked_for_less(job):
    fill(job, 3)

    def limit(texts: Sequence[str]) -> None:
        if len(texts) > 2:
            raise LIMITED

    job.standing.target.chokes = limit

    run = job.run()

    assert (run.status, run.warnings) == ("succeeded", None)
    assert len(job.standing.target.contents()) == 3


def test_what_nobody_foresaw_of_no_document_fails_the_run_and_is_found_in_the_log(job):
    fill(job, 3)
    choke(job, "target", "", ODD)

    run = job.run()

    assert run.status == "failed"
    assert "internal error (LookupError)" in run.error.message
    assert f"the server's log tells of it under {run.run_id}." in run.error.message
    assert failed(job) == []
