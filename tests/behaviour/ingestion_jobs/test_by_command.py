"""`linarite ingestion` as its users run it, on a server that the environment names."""

import json
import threading

import pytest
import sqlalchemy as sa
from tests.support.files import until
from tests.support.ingestion_jobs import JOBS, KEY, begin, finish, put, storage
from tests.support.server import API_VERSION
from tests.support.serving import run_linarite

from linarite.indexing.containers.container import Item
from linarite.resources.ingestion import documents
from linarite.resources.ingestion.repository import find_any_run
from linarite.storage.tables import ingestion_documents


@pytest.fixture(scope="module")
def command(named):
    """Runs `linarite ingestion` on the module's server; each costs the better part of a second."""

    def run(*arguments, refused=None):
        ran = run_linarite(
            "ingestion",
            *arguments,
            AZURE_OPENAI_ENDPOINT=named.url,
            AZURE_OPENAI_API_KEY=named.key,
            OPENAI_API_VERSION=API_VERSION,
        )
        assert ran.returncode == (0 if refused is None else 1), ran.stderr
        assert refused is None or refused in ran.stderr
        return ran

    return run


def test_a_job_is_made_followed_and_removed(named, command, tmp_path):
    definition = tmp_path / "job.json"
    definition.write_text(json.dumps(storage(KEY)))

    run_id = command("create", "a-job", definition).stdout.strip()

    got = json.loads(command("get", "a-job").stdout)
    assert got == storage(KEY | {"key": "***"}) | {"jobId": "a-job"}
    command("delete", "a-job", refused="is open")
    command("documents", "a-job", "--state", "broken", refused="must be one of pending")
    command("cancel", "a-job")
    again = command("retry-failed", "a-job").stdout.strip()
    command("cancel", "a-job", again)
    assert command("runs", "a-job").stdout == f"{again}\tfailed\n{run_id}\tfailed\n"
    command("delete", "a-job")
    with named.client() as client:
        assert client.get(f"{JOBS}/a-job").status_code == 404


def test_a_run_is_waited_for(named, command):
    with named.client() as client:
        run_id = put(client, "waited", storage())

    def work():
        begin(named, run_id)
        until(lambda: any("/waited/runs/" in one.path for one in named.answers), "it is looked at")
        finish(named, run_id)

    worker = threading.Thread(target=work)
    worker.start()
    waited = command("run", "waited", "--wait")
    worker.join()

    assert json.loads(waited.stdout)["status"] == "succeeded"
    assert waited.stderr.splitlines()[-1] == "succeeded"


def test_every_job_is_listed_however_many_pages_there_are(named, command):
    with named.client() as client:
        for n in range(101):
            put(client, f"listed-{n}", storage())

        listed = command("list").stdout.splitlines()

        assert {f"listed-{n}\tSystemCompute" for n in range(101)} <= set(listed)
        assert "nextLink" in client.get(JOBS).json()


def test_a_definition_that_is_none_is_refused(command, tmp_path):
    definition = tmp_path / "job.json"
    command("create", "b-job", definition, refused="job.json cannot be read")
    definition.write_text("{}")
    command("create", "b-job", definition, refused="`kind` is required")


def test_documents_are_listed_with_what_became_of_them(named, command):
    with named.client() as client:
        run_id = put(client, "with-documents", storage())
    with named.built.database.transaction() as tx:
        job = find_any_run(tx, run_id).job
        documents.add(tx, job, {n: Item(f"{n}.md", "v", f"https://a.test/{n}", 1) for n in "ab"})
        failed = sa.update(ingestion_documents).where(ingestion_documents.c.key == "b.md")
        tx.execute(failed.values(state="failed", error="It is\n\x1b[2Jempty."))

    listed = command("documents", "with-documents").stdout

    assert listed == "pending\ta.md\nfailed\tb.md\tIt is\\n\\x1b[2Jempty.\n"
