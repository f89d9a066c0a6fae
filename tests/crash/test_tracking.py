"""A worker is killed over a run that it tells Weights & Biases of: no step is lost or doubled."""

import json
import os
import signal
from pathlib import Path

import httpx
import psutil
import pytest
from tests.support.files import until
from tests.support.scripted_wandb import API_KEY, scripted_wandb, trackers_of
from tests.support.server import API_VERSION
from tests.support.serving import is_alive, serving
from tests.support.tuning import a_job, events_of, job_now, scripted

pytestmark = [pytest.mark.crash, pytest.mark.timeout(300)]

WANDB = {"project": "mine", "name": "first", "entity": "us", "tags": ["a", "b"]}
STEPS = 60


def test_a_killed_workers_run_is_told_further_and_its_clients_end(tmp_path: Path):
    script = scripted(tmp_path)
    script.set(epochs=2, steps_per_epoch=STEPS // 2, wait_at=STEPS // 2 + 1)
    config = tmp_path / "linarite.toml"
    with scripted_wandb() as service:
        config.write_text(
            f"[fine_tuning]\ncommand = {json.dumps(script.command)}\n"
            f'[wandb]\napi_key = "{API_KEY}"\nbase_url = "{service.url}"\n'
        )
        models = {"LINARITE_MODELS_DIR": str(tmp_path / "models")}
        with (
            serving(tmp_path / "serving", "--config", str(config), **models) as running,
            httpx.Client(
                base_url=running.endpoint,
                headers={"api-key": running.ready["api_key"]},
                params={"api-version": API_VERSION},
                timeout=30,
            ) as client,
        ):
            job = a_job(client, integrations=[{"type": "wandb", "wandb": WANDB}])["id"]
            until(lambda: job in service.runs, "the run is begun", 60)
            until(lambda: len(service.runs[job].steps) == STEPS // 2, "half of it is told", 60)
            clients = trackers_of(psutil.Process(running.processes()["worker"]))
            os.kill(running.processes()["worker"], signal.SIGKILL)
            until(lambda: not any(map(is_alive, clients)), "its clients have ended", 10)
            (running.data / "fine-tuning" / job / "go").touch()
            kept = running.data / "wandb" / job
            until(lambda: service.runs[job].exit_code is not None, "the run has ended", 90)
            until(lambda: not kept.exists(), "nothing is left to be sent", 10)
            ended, run = job_now(client, job), service.runs[job]
            events = [one["message"] for one in events_of(client, job)]

        assert len(clients) == 2
        assert run.steps == list(range(1, STEPS + 1))
        assert (run.entity, run.project, run.name, run.tags) == ("us", "mine", "first", ["a", "b"])
        assert (run.exit_code, ended["status"]) == (0, "succeeded")
        assert run.summary["fine_tuned_model"] == ended["fine_tuned_model"]
        [address] = [one for one in events if "Weights & Biases" in one]
        assert address == f"Weights & Biases run: {service.url}/us/mine/runs/{job}"
        written = [one for one in running.data.parent.rglob("*") if one.is_file()]
        assert not [one for one in written if API_KEY.encode() in one.read_bytes()]
