"""What Weights & Biases is told of a job: read back from its own files, by its own reader."""

import csv
import io
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from tests.behaviour.fine_tuning.conftest import all_are_over
from tests.support.files import until
from tests.support.scripted_wandb import API_KEY, ScriptedWandb, scripted_wandb, trackers_of
from tests.support.server import Server
from tests.support.serving import is_alive
from tests.support.tuning import (
    BASE,
    JOBS,
    Script,
    a_job,
    a_training_file,
    content_of,
    ended,
    events_of,
    messages_of,
    tuning_server,
)

from linarite.resources.fine_tuning.integrations import Tracking
from linarite.resources.fine_tuning.results import columns
from linarite.resources.fine_tuning.service import FineTuning
from linarite.tasks.tickets import TickTicket
from linarite.wire.fine_tuning import FineTuningMethodType

WANDB = {"project": "mine", "name": "first", "entity": "us", "tags": ["a", "b"]}
SUPERVISED = FineTuningMethodType.SUPERVISED


@pytest.fixture
def service() -> Iterator[ScriptedWandb]:
    with scripted_wandb() as running:
        yield running


@contextmanager
def served(folder: Path, **wandb: Any) -> Iterator[tuple[Server, Script, httpx.Client]]:
    with (
        tuning_server(folder, wandb=wandb) as (server, script),
        server.client() as client,
    ):
        yield server, script, client


@contextmanager
def reached(
    folder: Path, service: ScriptedWandb, **how: Any
) -> Iterator[tuple[Server, Script, httpx.Client]]:
    how = {"api_key": API_KEY, "connect_seconds": 30, "finish_seconds": 2} | how
    with served(folder, base_url=service.url, **how) as parts:
        yield parts


def metrics_in(row: dict[str, Any]) -> dict[str, float]:
    """A row of results.csv, or a line of a run's history, without what only one of them has."""
    named = {name.removeprefix("_"): value for name, value in row.items()}
    return {name: float(named[name]) for name in columns(SUPERVISED) if named.get(name, "") != ""}


def asked(*wandb: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"type": "wandb", "wandb": one} for one in wandb]


def run_to_the_end(server: Server, client: httpx.Client, job_id: str) -> dict[str, Any]:
    with server.working():
        job = ended(client, job_id)
        until(lambda: all_are_over(server), "its runs are told", 90)
    return job


def kept(server: Server, job_id: str, number: int = 1) -> list[dict[str, Any]]:
    """The records of the one offline run, as ``wandb leet inspect`` reads them."""
    folder = server.settings.data / "wandb" / job_id / str(number)
    [file] = folder.glob("wandb/offline-run-*/*.wandb")
    core = files("wandb") / "bin" / "wandb-core"
    command = [str(core), "leet", "inspect", "--no-observability", "--json"]
    command += ["--run-file", str(file), str(file.parent.parent)]
    told = subprocess.run(command, capture_output=True, text=True, check=True)
    return [json.loads(line) for line in told.stdout.splitlines()]


def warnings_of(client: httpx.Client, job_id: str) -> list[str]:
    return [one["message"] for one in events_of(client, job_id) if one["level"] == "warning"]


def send_later(server: Server, job_id: str, service: ScriptedWandb) -> None:
    """What the operator does with a kept run, as the documentation says."""
    home = server.settings.data.parent
    [folder] = (server.settings.data / "wandb" / job_id / "1" / "wandb").glob("offline-run-*")
    environment = {"WANDB_API_KEY": API_KEY, "WANDB_BASE_URL": service.url, "HOME": str(home)}
    command = [sys.executable, "-m", "wandb", "sync", str(folder)]
    subprocess.run(command, env=environment, cwd=home, check=True, capture_output=True, timeout=60)


def told(records: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [record[kind] for record in records if record["type"] == kind]


def history_of(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [line["item"] for line in told(records, "history")]


def test_without_a_key_every_run_is_kept_whole(tmp_path):
    with served(tmp_path) as (server, script, client):
        script.set(epochs=2, steps_per_epoch=30, deaths={"step 17": 1, "torn 40": 1})
        data = a_training_file(client)
        wanted = asked(WANDB, {"project": "other"})
        job = a_job(client, training_file=data, validation_file=data, integrations=wanted, seed=7)
        job = run_to_the_end(server, client, job["id"])
        rows = list(csv.DictReader(io.StringIO(content_of(client, job["result_files"][0]))))
        records, others = kept(server, job["id"]), kept(server, job["id"], 2)
        warnings = warnings_of(client, job["id"])

    for lines in (history_of(records), history_of(others)):
        assert [metrics_in(line) for line in lines] == [metrics_in(row) for row in rows]
    [run], [other] = told(records, "run"), told(others, "run")
    assert {
        name: run[name] for name in ("run_id", "project", "display_name", "entity", "tags")
    } == {
        "run_id": job["id"],
        "project": "mine",
        "display_name": "first",
        "entity": "us",
        "tags": ["a", "b"],
    }
    config = run["config"]["update"]
    assert {name: config[name] for name in config if not name.startswith("_")} == {
        "job": job["id"],
        "model": BASE,
        "base_model": BASE,
        "method": "supervised",
        "hyperparameters": job["hyperparameters"],
        "seed": 7,
        "suffix": None,
        "training_file": data,
        "validation_file": data,
        "results_file": job["result_files"][0],
    }
    assert (other["run_id"], other["display_name"]) == (f"{job['id']}-2", job["id"])
    assert [one["exit_code"] for one in told(records, "exit")] == [0]
    assert told(records, "summary")[-2]["update"]["fine_tuned_model"] == job["fine_tuned_model"]
    assert len(warnings) == 1
    assert warnings[0].startswith("No key for Weights & Biases is set")


def test_a_service_that_falls_silent_costs_the_job_nothing(tmp_path, service):
    with reached(tmp_path, service) as (server, script, client):
        script.set(epochs=2, steps_per_epoch=30, wait_at=31)
        job_id = a_job(client, integrations=asked(WANDB))["id"]
        with server.working():
            until(lambda: job_id in service.runs, "its run is begun", 60)
            service.hangs.set()
            (server.settings.data / "fine-tuning" / job_id / "go").touch()
            job = ended(client, job_id, 5)
            until(lambda: all_are_over(server), "its run is kept", 90)
        records = kept(server, job_id)
        warnings = warnings_of(client, job_id)
        service.hangs.clear()
        send_later(server, job_id, service)

    assert job["status"] == "succeeded"
    assert [line["_step"] for line in history_of(records)] == list(range(1, 61))
    assert len(warnings) == 1
    assert "to be sent there later" in warnings[0]
    assert service.runs[job_id].steps == list(range(1, 61))


def test_a_job_that_fails_is_a_failed_run_and_goes_with_its_job(tmp_path, service):
    service.hangs.set()
    fault = {"code": "out_of_memory", "message": "Too large.", "param": None}
    with reached(tmp_path, service, connect_seconds=2) as (server, script, client):
        script.set(epochs=1, steps_per_epoch=9, fail=fault, fail_at=3)
        job_id = a_job(client, integrations=asked(WANDB))["id"]
        job = run_to_the_end(server, client, job_id)
        records = kept(server, job_id)
        warnings = warnings_of(client, job_id)
        client.delete(f"{JOBS}/{job_id}").raise_for_status()
        is_kept = (server.settings.data / "wandb" / job_id).exists()

    assert (job["status"], is_kept) == ("failed", False)
    assert [line["_step"] for line in history_of(records)] == [1, 2, 3]
    assert len(warnings) == 1
    assert [one["exit_code"] for one in told(records, "exit")] == [1]


def test_a_job_that_is_cancelled_is_a_run_that_ended_there(tmp_path, service):
    with reached(tmp_path, service, finish_seconds=30) as (server, script, client):
        script.set(epochs=2, steps_per_epoch=30, wait_at=31)
        job_id = a_job(client, integrations=asked(WANDB))["id"]
        with server.working():
            until(lambda: job_id in service.runs, "its run is begun", 60)
            until(lambda: "Step 30" in messages_of(client, job_id)[-1], "it has come so far")
            client.post(f"{JOBS}/{job_id}/cancel").raise_for_status()
            until(lambda: service.runs[job_id].exit_code is not None, "its run has ended", 60)
            until(lambda: all_are_over(server), "nobody tells of it any more")
        warnings = warnings_of(client, job_id)
        is_kept = (server.settings.data / "wandb" / job_id).exists()

    run = service.runs[job_id]
    assert run.steps == list(range(1, 31))
    assert (run.exit_code, run.summary["status"]) == (1, "cancelled")
    assert "fine_tuned_model" not in run.summary
    assert (warnings, is_kept) == ([], False)


@pytest.mark.parametrize("is_silent", [False, True], ids=["reached", "silent"])
def test_a_job_that_is_deleted_is_told_no_further_and_leaves_nothing(tmp_path, service, is_silent):
    with reached(tmp_path, service, finish_seconds=60) as (server, script, client):
        script.set(epochs=2, steps_per_epoch=30, wait_at=31)
        job_id = a_job(client, integrations=asked(WANDB))["id"]
        with server.working():
            until(lambda: job_id in service.runs, "its run is begun", 60)
            if is_silent:
                service.hangs.set()
            trackers = trackers_of(psutil.Process())
            client.post(f"{JOBS}/{job_id}/cancel").raise_for_status()
            job = f"{JOBS}/{job_id}"
            until(lambda: client.delete(job).status_code == 204, "it is deleted")
            until(lambda: all_are_over(server), "nobody tells of it any more", 20)
        until(lambda: not any(map(is_alive, trackers)), "its clients have ended", 10)
        left = list((server.settings.data / "wandb").rglob("*"))

    assert len(trackers) == 2
    assert left == []


def test_a_wrong_key_costs_the_job_nothing(tmp_path, service):
    wrong = API_KEY[::-1]
    with reached(tmp_path, service, api_key=wrong) as (server, script, client):
        script.set(epochs=1, steps_per_epoch=9)
        job = run_to_the_end(server, client, a_job(client, integrations=asked(WANDB))["id"])
        records = kept(server, job["id"])
        [warning] = warnings_of(client, job["id"])
        send_later(server, job["id"], service)

    assert job["status"] == "succeeded"
    assert [line["_step"] for line in history_of(records)] == list(range(1, 10))
    assert "401" in warning
    assert "to be sent there later" in warning
    assert wrong not in warning
    assert service.runs[job["id"]].steps == list(range(1, 10))


def test_without_the_extra_a_warning_names_it(tmp_path):
    with served(tmp_path) as (server, _, client):
        job = a_job(client, integrations=asked(WANDB))
        jobs = server.built.parts[FineTuning]
        tracking = Tracking(jobs, server.settings.wandb, is_installed=lambda: False)

        for _ in range(2):
            tracking.track(job["id"], TickTicket())

        [warning] = warnings_of(client, job["id"])
    assert "pip install 'linarite[wandb]'" in warning
