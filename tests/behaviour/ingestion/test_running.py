"""What a run leaves in the index: all that the container holds, once, and nothing else."""

import json
import sqlite3
import threading
import time

import pytest
import sqlalchemy as sa
from tests.behaviour.ingestion.conftest import Job
from tests.support.files import until
from tests.support.ingestion_parts import DIMENSIONS, nothing

from linarite.indexing.failures import IngestionFailed, TryLater
from linarite.resources.ingestion import embeddings
from linarite.resources.ingestion.documents import document_id
from linarite.resources.ingestion.repository import find_any_run
from linarite.storage.tables import ingestion_embeddings
from linarite.wire.ingestion import IngestionJobRun, OperationState


def stages(run: IngestionJobRun) -> dict[str, tuple[int | None, int | None, str]]:
    told = [] if run.progress is None else run.progress.stage_progress
    return {one.name: (one.processed_items, one.total_items, one.state) for one in told}


def fill(job: Job, count: int) -> None:
    for number in range(count):
        job.standing.write(f"{number:03}.txt", f"title {number}", f"body {number}")


def test_every_document_is_in_the_index_with_its_chunks(job):
    fill(job, 100)

    run = job.run()

    assert run.status == OperationState.SUCCEEDED, run
    assert stages(run) == {
        "Preprocessing": (100, 100, "succeeded"),
        "Indexing": (100, 100, "succeeded"),
    }
    contents = job.standing.target.contents()
    assert contents == {f"{n:03}.txt": [f"title {n}", f"body {n}"] for n in range(100)}
    [row] = [row for row in job.standing.target.rows().values() if row[4] == "body 7"]
    assert row[1:4] == ("007.txt", "title 7", "file:///007.txt")
    assert len(json.loads(row[5])) == DIMENSIONS


def test_an_unchanged_container_costs_nothing(job):
    fill(job, 40)
    job.run()
    calls: list[str] = []
    job.standing.told = calls.append
    asked = len(job.standing.embedder.asked())

    run = job.run()

    assert run.status == OperationState.SUCCEEDED
    assert "read" not in calls
    assert len(job.standing.embedder.asked()) == asked


def test_a_run_follows_what_was_changed_added_and_removed(job):
    fill(job, 40)
    job.run()
    job.standing.write("000.txt", "title 0")
    job.standing.write("001.txt", "title 1", "body 1", "more")
    job.standing.write("sub/new.txt", "new")
    (job.standing.documents / "002.txt").unlink()
    asked = len(job.standing.embedder.asked())

    run = job.run()

    assert run.status == OperationState.SUCCEEDED
    expected = {f"{n:03}.txt": [f"title {n}", f"body {n}"] for n in range(3, 40)}
    expected |= {
        "000.txt": ["title 0"],
        "001.txt": ["title 1", "body 1", "more"],
        "sub/new.txt": ["new"],
    }
    assert job.standing.target.contents() == dict(sorted(expected.items()))
    assert job.standing.embedder.asked()[asked:] == ["more", "new"]


def test_another_way_of_making_chunks_makes_all_anew_but_embeds_nothing_twice(job):
    fill(job, 10)
    job.run()
    asked = len(job.standing.embedder.asked())
    calls: list[str] = []
    job.standing.told, job.standing.fingerprint = calls.append, "2"

    job.run()

    assert calls.count("read") == 10
    assert len(job.standing.embedder.asked()) == asked


def test_a_model_with_other_vectors_has_the_index_made_anew(job):
    fill(job, 10)
    job.run()
    embedder = job.standing.embedder
    embedder.name, embedder.dimensions, job.standing.fingerprint = "other", 6, "other"

    run = job.run()

    assert run.status == OperationState.SUCCEEDED, run
    assert {len(json.loads(row[5])) for row in job.standing.target.rows().values()} == {6}


def test_an_index_that_does_not_fit_and_is_somebody_else_s_fails_the_run(job):
    fill(job, 1)
    job.standing.target.dimensions = 99

    run = job.run()

    assert run.status == OperationState.FAILED
    assert run.error is not None
    assert run.error.message == "The index has other vectors."


def test_a_document_that_cannot_be_read_is_a_warning_and_is_not_tried_again(job):
    fill(job, 3)
    job.standing.write("bad.txt", "broken")

    first, second = job.run(), job.run()

    assert (first.status, first.warnings) == ("succeeded", ["bad.txt: It is broken."])
    assert second.status == OperationState.SUCCEEDED
    assert second.warnings is not None
    assert "1 documents" in second.warnings[0]
    assert "bad.txt" not in job.standing.target.contents()
    retried = job.retry()
    assert retried.warnings == ["bad.txt: It is broken."]


def test_what_nobody_foresaw_of_a_document_is_its_own_warning(job):
    fill(job, 3)
    job.standing.write("odd.txt", "unforeseen")

    run = job.run()

    assert (run.status, run.warnings) == (
        "succeeded",
        ["odd.txt: Reading it failed for an internal error (LookupError)."],
    )
    assert sorted(job.standing.target.contents()) == ["000.txt", "001.txt", "002.txt"]


def test_signs_that_no_database_takes_are_left_out_of_titles(job):
    job.standing.write("a.txt", "noted as A\0B")

    assert job.run().status == OperationState.SUCCEEDED
    assert {row[2] for row in job.standing.target.rows().values()} == {"A B"}


def test_a_document_that_becomes_unreadable_leaves_the_index(job):
    fill(job, 3)
    job.run()
    job.standing.write("001.txt", "broken")

    job.run()

    assert sorted(job.standing.target.contents()) == ["000.txt", "002.txt"]


def test_retrying_touches_only_what_failed(job):
    fill(job, 2)
    job.standing.write("bad.txt", "broken")
    job.run()
    job.standing.write("bad.txt", "good")
    job.standing.write("000.txt", "changed")
    job.standing.write("new.txt", "new")
    (job.standing.documents / "001.txt").unlink()

    run = job.retry()

    assert run.status == OperationState.SUCCEEDED
    assert job.standing.target.contents() == {
        "000.txt": ["title 0", "body 0"],
        "001.txt": ["title 1", "body 1"],
        "bad.txt": ["good"],
    }


def test_a_document_that_the_index_refuses_fails_alone(job):
    fill(job, 3)
    job.standing.target.refuses = "body 1"

    run = job.run()

    assert run.status == OperationState.SUCCEEDED
    assert run.warnings == ["001.txt: The index does not take that."]
    assert sorted(job.standing.target.contents()) == ["000.txt", "002.txt"]


def test_chunks_that_the_index_lost_are_stored_again(job):
    fill(job, 3)
    job.run()
    job.standing.target.delete(list(job.standing.target.rows())[:2])

    run = job.run()

    assert run.status == OperationState.SUCCEEDED
    assert len(job.standing.target.rows()) == 6


def test_a_job_that_names_another_target_leaves_nothing_in_the_one_before(job):
    fill(job, 3)
    job.standing.write("bad.txt", "broken")
    job.run()
    other = job.standing.target_of("elsewhere")
    asked = len(job.standing.embedder.asked())

    moved = job.run("elsewhere")

    assert (moved.status, len(other.rows())) == ("succeeded", 6)
    with pytest.raises(sqlite3.OperationalError):
        job.standing.target.rows()
    assert len(job.standing.embedder.asked()) == asked
    (job.standing.documents / "001.txt").unlink()

    back = job.run()

    assert (back.status, len(job.standing.target.rows())) == ("succeeded", 4)


def test_a_former_target_that_is_away_keeps_its_chunks_and_the_run_says_so(job):
    fill(job, 3)
    job.run()
    job.standing.told = Failing("drop", IngestionFailed("The key is wrong."))

    run = job.run("elsewhere")

    assert (run.status, run.warnings) == (
        "succeeded",
        ["What the job stored in its former target stays there: The key is wrong."],
    )
    assert len(job.standing.target.rows()) == 6
    assert len(job.standing.target_of("elsewhere").rows()) == 6


def test_an_index_of_a_new_target_that_does_not_fit_is_left_alone(job):
    fill(job, 3)
    job.run()
    job.standing.misfits.add("elsewhere")

    run = job.run("elsewhere")

    assert (run.status, run.error.message) == ("failed", "The index has other vectors.")


def test_an_index_that_somebody_deleted_is_made_anew(job):
    fill(job, 3)
    job.run()
    job.standing.target.drop()

    run = job.run()

    assert (run.status, len(job.standing.target.rows())) == ("succeeded", 6)


def test_an_index_that_another_job_of_the_same_names_filled_is_left_alone(job):
    fill(job, 3)
    job.run()
    job.standing.target.change("meta", '{"maker": "of another server"}')
    (job.standing.documents / "001.txt").unlink()

    run, elsewhere = job.run(), job.run("elsewhere")

    assert run.status == OperationState.FAILED
    assert run.error is not None
    assert "chunks of another job of the same names" in run.error.message
    assert elsewhere.status == OperationState.SUCCEEDED
    assert "stays there: The index" in elsewhere.warnings[0]
    assert len(job.standing.target.rows()) == 6


def test_chunks_of_the_job_that_nothing_is_known_of_any_more_are_removed(job):
    """As of an index that stayed when the database was brought back from a backup."""
    fill(job, 3)
    job.run()
    target = job.standing.target
    [one] = [id_ for id_, row in target.rows().items() if row[4] == "body 1"]
    target.copy(one, id=f"{one.partition('-')[0]}-7")
    gone = document_id("default", job.id, "gone.txt")
    target.copy(one, id=f"{gone}-0", document=gone, filepath="gone.txt")

    run = job.run()

    assert run.status == OperationState.SUCCEEDED, run.error
    assert len(target.rows()) == 6


def test_what_a_former_job_of_the_name_left_is_made_anew_where_nobody_else_can_write(job):
    """As of an index of this server whose job's row was lost."""
    fill(job, 3)
    job.run()
    target = job.standing.target
    gone = document_id("default", job.id, "gone.txt")
    target.copy(max(target.rows()), id=f"{gone}-0", document=gone, filepath="gone.txt")
    target.change("meta", '{"maker": "a former job"}')
    job.standing.is_own = True

    run = job.run()

    assert run.status == OperationState.SUCCEEDED, run.error
    assert len(target.rows()) == 6


@pytest.mark.parametrize(
    "changes",
    [
        {"meta": '{"maker": "somebody else"}'},
        {"meta": "{}"},
        {"filepath": "not what the id is made of"},
        {"id": "a-note"},
    ],
)
def test_what_another_put_into_the_index_stays_there_and_the_run_says_so(job, changes):
    fill(job, 3)
    job.run()
    target = job.standing.target
    gone = document_id("default", job.id, "gone.txt")
    usual = {"id": f"{gone}-0", "document": gone, "filepath": "gone.txt"}
    target.copy(max(target.rows()), **usual | changes)

    run = job.run()

    assert run.status == OperationState.FAILED
    assert run.error is not None
    holds = f"The index ({target.file}) holds"  # the more where the other's is the first of all
    assert run.error.message.startswith(
        (f"{holds} 7 chunks, and 6 of this job", f"{holds} the chunks of another job")
    )
    assert len(target.rows()) == 7


def test_a_container_with_too_many_documents_fails_the_run(job):
    fill(job, 201)

    run = job.run()

    assert run.status == OperationState.FAILED
    assert run.error is not None
    assert "holds more than 200 documents" in run.error.message


class Failing:
    """Fails at one kind of call, in one way after the other."""

    def __init__(self, call: str, *errors: Exception) -> None:
        self._call, self._errors = call, list(errors)
        self._lock = threading.Lock()

    def __call__(self, call: str) -> None:
        with self._lock:
            if call == self._call and self._errors:
                raise self._errors.pop(0)


@pytest.mark.parametrize("call", ["list", "read", "embed", "upsert", "delete", "count"])
def test_what_is_away_for_a_moment_is_waited_for(job, call):
    fill(job, 3)
    job.standing.write("bad.txt", "soon broken")
    job.standing.told = Failing(call, TryLater("busy", 0.05))

    assert job.run().status == OperationState.SUCCEEDED


def test_what_a_service_says_at_length_is_kept_in_short(job):
    fill(job, 1)
    job.standing.told = Failing("list", IngestionFailed("no \0" * 10_000))

    run = job.run()

    assert run.error is not None
    assert len(run.error.message) == 4001


@pytest.mark.parametrize("call", ["list", "embed", "upsert"])
def test_what_refuses_fails_the_run_with_its_reason(job, call):
    fill(job, 3)
    job.standing.told = Failing(call, IngestionFailed("The key is wrong."))

    run = job.run()

    assert run.status == OperationState.FAILED
    assert run.error is not None
    assert run.error.message == "The key is wrong."
    assert run.progress is not None
    if call == "list":
        [listing] = run.progress.stage_progress[0].sub_stage_progress or ()
        assert (listing.name, listing.state) == ("Listing", "failed")
    assert job.run().status == OperationState.SUCCEEDED


def test_a_run_that_fails_tells_what_its_earlier_tries_failed_of(job):
    fill(job, 1)
    busy = [TryLater(f"The storage answers {status}.", 0.01) for status in (503, 429, 503)]
    job.standing.told = Failing("list", *busy, IngestionFailed("The storage refuses the key."))

    error = job.run().error

    assert error is not None
    assert error.message == "The storage refuses the key."
    assert error.inner_errors == ["The storage answers 503.", "The storage answers 429."]


def test_what_was_embedded_only_on_the_way_is_forgotten_where_that_is_asked_for(job):
    fill(job, 2)
    job.standing.cleans_up = True
    job.run()
    job.standing.write("again.txt", "title 0")

    job.run()

    assert job.standing.embedder.asked().count("title 0") == 2


def test_vectors_of_texts_that_are_no_more_are_forgotten_in_the_end(job):
    fill(job, 1)
    job.run()
    database = job.runs.database
    with database.transaction() as tx:
        its = find_any_run(tx, job.last).job
        rows = [{"job": its, "digest": b"%d" % n, "vector": b""} for n in range(10_010)]
        tx.execute(sa.insert(ingestion_embeddings), rows)

    assert job.run().status == OperationState.SUCCEEDED

    with database.reading() as connection:
        assert embeddings.count(connection, its) == 0


def test_pages_that_a_whole_crawl_did_not_find_again_leave_the_index(job):
    job.standing.crawls = True
    fill(job, 3)
    first = job.run()
    (job.standing.source / "001.txt").unlink()

    job.standing.is_crawled_whole = False
    limited = job.run()
    kept = sorted(job.standing.target.contents())
    job.standing.is_crawled_whole = True
    whole = job.run()

    assert stages(first)["Crawling"] == (3, 3, "succeeded")
    assert (limited.status, limited.warnings) == ("succeeded", ["http://slow: it was too slow"])
    assert kept == ["000.txt", "001.txt", "002.txt"]
    assert whole.status == OperationState.SUCCEEDED
    assert sorted(job.standing.target.contents()) == ["000.txt", "002.txt"]


def test_crawled_pages_are_removed_at_the_end_where_that_is_asked_for(job):
    job.standing.crawls = job.standing.cleans_up = True
    fill(job, 3)

    first, second = job.run(), job.run()

    assert (first.status, second.status) == ("succeeded", "succeeded")
    assert list(job.standing.documents.iterdir()) == []
    assert len(job.standing.target.rows()) == 6


def test_a_job_that_names_another_container_leaves_no_pages_in_the_one_before(job):
    job.standing.crawls = True
    fill(job, 3)
    job.run()

    moved = job.run("elsewhere")

    assert (moved.status, moved.warnings) == ("succeeded", None)
    assert list(job.standing.documents.iterdir()) == []
    pages = (job.standing.folder / "elsewhere").iterdir()
    assert sorted(path.name for path in pages) == ["000.txt", "001.txt", "002.txt"]


def test_pages_in_a_container_that_refuses_stay_and_the_run_says_so(job):
    job.standing.crawls = True
    fill(job, 3)
    job.run()
    job.standing.told = Failing("list", IngestionFailed("The key is wrong."))

    run = job.run("elsewhere")

    assert (run.status, run.warnings) == (
        "succeeded",
        ["What the job's crawls saved in its former container stays there: The key is wrong."],
    )
    assert len(list(job.standing.documents.iterdir())) == 3


class Holding:
    """Holds up whoever makes one kind of call."""

    def __init__(self, call: str) -> None:
        self._call = call
        self.reached, self.free = threading.Event(), threading.Event()

    def __call__(self, call: str) -> None:
        if call == self._call:
            self.reached.set()
            assert self.free.wait(20)


def test_a_lane_that_fails_reads_no_further_document(job):
    fill(job, 32 + 16)
    refused: list[str] = []

    def told(call: str) -> None:
        if call == "upsert":
            until(lambda: reached, "the next hand is read", 10)
            refused.append(call)
            raise IngestionFailed("The index is full.")
        if call == "crack" and len(cracked) >= 32:
            reached.append(call)
            until(lambda: refused, "the lane has failed", 10)
            time.sleep(0.2)
        if call == "crack":
            cracked.append(call)

    cracked: list[str] = []
    reached: list[str] = []
    job.standing.parallel, job.standing.told = 1, told

    assert job.run().error.message == "The index is full."

    assert len(cracked) == 33


def test_of_long_texts_fewer_are_in_memory_at_once(job):
    for number in range(20):
        job.standing.write(f"{number}.txt", f"packed {number}")
    job.standing.parallel, holding, cracked = 1, Holding("upsert"), []

    def told(call: str) -> None:
        cracked.append(call) if call == "crack" else holding(call)

    job.standing.told = told
    job.put()
    assert holding.reached.wait(20)
    until(lambda: len(cracked) >= 8, "a hand was read ahead", 10)
    time.sleep(0.3)
    read_ahead = len(cracked)
    holding.free.set()

    assert read_ahead == 8
    assert job.ended().status == OperationState.SUCCEEDED
    assert len(job.standing.target.rows()) == 20


def test_a_cancelled_run_fails_once_nothing_is_written_any_more(job):
    fill(job, 100)
    job.standing.told = holding = Holding("upsert")
    job.put()
    assert holding.reached.wait(20)

    job.runs.cancel("default", job.id, job.last)
    assert job.now().status == OperationState.RUNNING
    holding.free.set()
    run = job.ended()

    assert run.status == OperationState.FAILED
    assert run.error is not None
    assert "cancelled" in run.error.message
    job.standing.told = nothing
    assert job.run().status == OperationState.SUCCEEDED
    assert len(job.standing.target.rows()) == 200
