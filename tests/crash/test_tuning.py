"""Trainers, workers and servers die while jobs are tuned: nothing is lost, nothing told twice.

The trainer is scripted, so that all of this is about who follows it; a step takes 30 ms.
"""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from tests.support.crashing import Crashing, client_of, kill, told_of_success
from tests.support.files import until
from tests.support.serving import Serving, is_alive, serving
from tests.support.tuning import (
    Script,
    a_job,
    a_training_file,
    checkpoints_of,
    content_of,
    events_of,
    job_now,
    scripted,
)

from linarite.storage.tables import fine_tuning_events, fine_tuning_jobs

pytestmark = [pytest.mark.crash, pytest.mark.timeout(300)]

JOBS, EPOCHS, STEPS = 10, 4, 15
LAST = EPOCHS * STEPS
KILLS = ["api", "worker", "worker", "worker"] * 2
DEATHS = {"start": 1, "step 8": 1, "torn 12": 1, "checkpoint 30": 1, "end": 1}


@pytest.fixture
def script(tmp_path: Path) -> Script:
    return scripted(tmp_path)


@contextmanager
def server_of(folder: Path, script: Script, **environment: str) -> Iterator[Serving]:
    """A server that runs ten jobs at once, by the scripted trainer."""
    config = folder / "linarite.toml"
    config.write_text(
        f"[fine_tuning]\nrunning = {JOBS}\nat_once = {2 * JOBS}\n"
        f"command = {json.dumps(script.command)}\n"
    )
    environment["LINARITE_MODELS_DIR"] = str(folder / "models")
    with serving(folder / "serving", "--config", str(config), **environment) as running:
        yield running


def statuses(database: sa.Engine) -> list[str]:
    with database.connect() as connection:
        return list(connection.execute(sa.select(fine_tuning_jobs.c.status)).scalars())


def wait_for_news(database: sa.Engine) -> None:
    """Until a living worker has told some ten things more, or nothing is left to tell."""

    def told() -> int:
        query = sa.select(sa.func.count()).select_from(fine_tuning_events)
        with database.connect() as connection:
            return connection.execute(query).scalar_one()

    before = told()
    until(lambda: told() > before + JOBS or are_over(database), "more is told of the jobs", 60)


def are_over(database: sa.Engine) -> bool:
    return not {"pending", "running"} & set(statuses(database))


def check_whole(client: httpx.Client, job_id: str) -> None:
    """Everything of a job that succeeded is there once, in its order."""
    job = job_now(client, job_id)
    assert job["status"] == "succeeded", job
    [file_id] = job["result_files"]
    rows = [row.split(",") for row in content_of(client, file_id).splitlines()[1:]]
    assert [int(row[0]) for row in rows] == list(range(1, LAST + 1))
    assert [float(row[1]) for row in rows] == [2 / (1 + step) for step in range(1, LAST + 1)]
    told = [event["message"].partition(":")[0] for event in events_of(client, job_id)]
    ends = {STEPS * epoch for epoch in range(1, EPOCHS + 1)}
    assert told == told_of_success(sorted({*ends, *range(10, LAST + 1, 10)}))
    kept = [one["step_number"] for one in checkpoints_of(client, job_id)]
    assert kept == sorted(ends, reverse=True)[:3]
    assert client.get(f"/openai/models/{job['fine_tuned_model']}").status_code == 200


def check_nothing_left(running: Serving) -> None:
    """No folder of a job, no command, no object without a name."""
    assert list((running.data / "fine-tuning").iterdir()) == []
    assert list((running.data / "commands").iterdir()) == []


def test_ten_jobs_survive_the_death_of_trainers_workers_and_the_api(tmp_path, script):
    script.set(epochs=EPOCHS, steps_per_epoch=STEPS, seconds=0.03, state_every=4, deaths=DEATHS)
    kills = 0
    with server_of(tmp_path, script) as running, client_of(running) as client:
        database = sa.create_engine(f"sqlite:///{running.data / 'linarite.sqlite3'}")
        file_id = a_training_file(client)
        made = [a_job(client, training_file=file_id)["id"] for _ in range(JOBS)]
        for kind in KILLS:
            wait_for_news(database)
            if are_over(database):
                break
            kill(running, kind)
            kills += 1
        until(lambda: are_over(database), "all jobs are over", 150)
        until(lambda: not any((running.data / "commands").iterdir()), "all is tidied up", 30)

        for job_id in made:
            check_whole(client, job_id)
        check_nothing_left(running)
        crashing = Crashing(running)
        crashing.sweep()
        assert crashing.whole_objects() == crashing.named_objects()
        assert kills >= 3
        database.dispose()
    print(f"{kills} kills of worker and API, {JOBS * len(DEATHS)} of trainers")  # noqa: T201


def test_a_worker_dies_between_an_adapters_bytes_and_its_row(tmp_path, script):
    script.set(epochs=EPOCHS, steps_per_epoch=STEPS, wait_at=STEPS)
    with server_of(tmp_path, script) as running, client_of(running) as client:
        crashing, job = Crashing(running), a_job(client)["id"]
        folder = running.data / "fine-tuning" / job
        until(lambda: job_now(client, job)["estimated_finish"], "the first steps are told")
        before = crashing.whole_objects()
        with crashing.nobody_writes():
            (folder / "go").touch()
            until(lambda: len(crashing.whole_objects() - before) >= 2, "the adapter is stored")
            kill(running, "worker")
        until(lambda: job_now(client, job)["status"] == "succeeded", "the job succeeded", 60)

        check_whole(client, job)


def test_a_worker_dies_while_it_registers_the_model(tmp_path, script):
    script.set(epochs=EPOCHS, steps_per_epoch=STEPS, wait_at=LAST)
    with server_of(tmp_path, script) as running, client_of(running) as client:
        crashing, job = Crashing(running), a_job(client)["id"]
        folder, tuned = running.data / "fine-tuning" / job, running.data / "tuned"
        until(lambda: len(checkpoints_of(client, job)) == EPOCHS - 1, "the last epoch runs")
        (folder / "go").touch()
        # the model's folder is made before the row that names it can be written
        deadline = time.monotonic() + 20
        while not (tuned.exists() and any(path.name[0] != "." for path in tuned.iterdir())):
            assert time.monotonic() < deadline
            time.sleep(0.001)
        kill(running, "worker")
        until(lambda: job_now(client, job)["status"] == "succeeded", "the job succeeded", 60)

        check_whole(client, job)
        assert crashing.serving is running


def test_a_server_that_stops_lets_the_training_go_on_at_its_next_start(tmp_path, script):
    script.set(epochs=EPOCHS, steps_per_epoch=STEPS, seconds=0.05, state_every=1000)
    with server_of(tmp_path, script) as running, client_of(running) as client:
        job = a_job(client)["id"]
        until(lambda: len(checkpoints_of(client, job)) == 1, "an epoch is over")
        pid = trainer_of(running, job)
        assert running.stop() == 0
        until(lambda: not is_alive(pid), "the trainer has ended", 5)
        code = (running.data / "commands" / job / "rc").read_text()

    with server_of(tmp_path, script) as running, client_of(running) as client:
        until(lambda: job_now(client, job)["status"] == "succeeded", "the job succeeded", 60)
        check_whole(client, job)

    assert code == "75\n"


def test_a_killed_worker_finds_its_training_again(tmp_path, script):
    script.set(epochs=EPOCHS, steps_per_epoch=STEPS, seconds=0.1)
    with server_of(tmp_path, script) as running, client_of(running) as client:
        job = a_job(client)["id"]
        until(lambda: len(checkpoints_of(client, job)) == 1, "an epoch is over")
        pid = trainer_of(running, job)
        kill(running, "worker")
        until(lambda: len(checkpoints_of(client, job)) == 2, "the next one is over too", 60)

        assert trainer_of(running, job) == pid
        until(lambda: job_now(client, job)["status"] == "succeeded", "the job succeeded", 60)
        check_whole(client, job)


def test_killed_workers_lose_nothing_on_postgresql_either(tmp_path, script, postgres_url):
    script.set(epochs=EPOCHS, steps_per_epoch=STEPS, seconds=0.03, deaths={"step 8": 1})
    with (
        server_of(tmp_path, script, LINARITE_DATABASE_URL=postgres_url) as running,
        client_of(running) as client,
    ):
        made: list[Any] = [a_job(client)["id"] for _ in range(3)]
        database = sa.create_engine(postgres_url)
        for _ in range(3):
            wait_for_news(database)
            kill(running, "worker")
        until(lambda: are_over(database), "all jobs are over", 100)
        database.dispose()

        for job_id in made:
            check_whole(client, job_id)


def trainer_of(running: Serving, job_id: str) -> int:
    """The pid of the shell that a job's trainer runs in."""
    return int((running.data / "commands" / job_id / "process").read_text().split()[0])
