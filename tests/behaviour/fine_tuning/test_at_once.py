"""What is asked for at the same moment: on PostgreSQL, which has more than one writer, as well.

A lock that the test holds keeps the requests waiting at a known place until all of them are there.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
import sqlalchemy as sa
from tests.support.files import error_of, until
from tests.support.server import Server
from tests.support.tuned import add_tuned
from tests.support.tuning import JOBS, a_training_file, create, tuning_server

from linarite.resources.fine_tuning.integrations import Tracking
from linarite.resources.fine_tuning.service import FineTuning

PARENT = "ftjob-" + "5" * 32


@contextmanager
def held(server: Server, statement: str) -> Iterator[None]:
    """Keep what `statement` locks; on SQLite, every writer waits for a transaction anyway."""
    with server.built.database.transaction() as tx:
        if not server.built.database.is_sqlite:
            tx.execute(sa.text(statement))
        yield


def wait_for_waiting(server: Server, count: int) -> None:
    """Wait until that many transactions wait for a lock, where the database tells it."""
    if server.built.database.is_sqlite:
        return
    query = sa.text(
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )

    def are_waiting() -> bool:
        with server.built.database.reading() as connection:
            return bool(connection.execute(query).scalar_one() == count)

    until(are_waiting, f"{count} transactions wait", 10)


def test_of_many_jobs_at_once_as_many_wait_as_may(tmp_path, database_url):
    settings = {"database_url": database_url, "fine_tuning": {"queued": 2}}
    with (
        tuning_server(tmp_path, **settings) as (server, _),
        server.client() as client,
        ThreadPoolExecutor(6) as pool,
    ):
        files = [a_training_file(client) for _ in range(6)]
        with held(server, "LOCK TABLE fine_tuning_jobs IN SHARE MODE"):
            asked = [pool.submit(create, client, training_file=file) for file in files]
            wait_for_waiting(server, len(asked))
        answers = [one.result() for one in asked]

    assert sorted(answer.status_code for answer in answers) == [201] * 2 + [403] * 4


@pytest.mark.parametrize(
    ("first", "statement", "answers"),
    [
        ("create", "SELECT id FROM files FOR UPDATE", {201}),
        ("delete", "SELECT resource FROM usage FOR UPDATE", {404}),
    ],
    ids=["created first", "deleted first"],
)
@pytest.mark.parametrize("by", ["its name", "its id"])
def test_a_start_that_is_deleted_meanwhile_is_kept_or_not_found(
    server, client, script, first, statement, answers, by
):
    adapter = script.path.parent / "adapter"
    parent, [checkpoint] = add_tuned(server, PARENT, "tiny", {1: adapter})
    model = parent.tuned_model if by == "its name" else checkpoint.id
    file = a_training_file(client)
    calls = {
        "create": lambda: create(client, model=model, training_file=file),
        "delete": lambda: client.delete(f"{JOBS}/{PARENT}"),
    }

    with ThreadPoolExecutor(2) as pool:
        with held(server, statement):
            asked = {first: pool.submit(calls.pop(first))}
            wait_for_waiting(server, 1)
            [(second, call)] = calls.items()
            asked[second] = pool.submit(call)
            wait_for_waiting(server, 2)
        created, deleted = asked["create"].result(), asked["delete"].result()

    assert deleted.status_code == 204
    assert created.status_code in ({201, 404} if server.built.database.is_sqlite else answers)
    if created.status_code == 404:
        status, code, message = error_of(created)
        assert (status, code) == (404, "DeploymentNotFound")
        assert message.startswith(f"The model {model!r} does not exist")


def test_a_job_may_be_deleted_while_its_runs_are_told(server, client):
    job, _ = add_tuned(server, PARENT, "tiny", {1: None})
    tracking = Tracking(server.built.parts[FineTuning], server.settings.wandb)

    with ThreadPoolExecutor(2) as pool:
        with held(server, "LOCK TABLE fine_tuning_events IN SHARE MODE"):
            told = pool.submit(tracking.warn, job, "something", "It is not as asked.")
            wait_for_waiting(server, 1)
            deleted = pool.submit(client.delete, f"{JOBS}/{PARENT}")
            wait_for_waiting(server, 2)
        told.result()

    assert deleted.result().status_code == 204
