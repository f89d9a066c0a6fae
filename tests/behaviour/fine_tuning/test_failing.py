"""The real trainer fails: the job tells a reason that its user can act on, and the server lives on.

All jobs run beside each other, each on a model of its own, whose name says what is wrong.
"""

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from tests.support import limited_trainer
from tests.support.files import until
from tests.support.server import running_server
from tests.support.training_jobs import chats
from tests.support.tuning import a_job, a_training_file, ended, events_of, tiny_base

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

REASONS = {
    "no-disk": ("disk_full", "Free some space", None),
    "no-memory": ("out_of_memory", "Lower the batch size", "hyperparameters"),
    "no-mercy": ("out_of_memory", "was killed again and again", "hyperparameters"),
    "no-peft": ("extra_missing", "pip install 'linarite[train]'", None),
    "torn": ("invalid_model", "add it again", "model"),
    "no-numbers": ("invalid_model", "add it again", "model"),
}
SOUND = "sound"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of models, some of which are broken."""
    folder = tmp_path_factory.mktemp("models")
    placed = tiny_base(folder / "models")
    for name in (*REASONS, SOUND):
        copy = placed.folder.with_name(name)
        shutil.copytree(placed.folder, copy)
        stated = json.loads((copy / "model.json").read_text())
        (copy / "model.json").write_text(json.dumps(stated | {"id": name}))
    weights = folder / "models/torn/hf/model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    weights = folder / "models/no-numbers/hf/model.safetensors"
    tensors = load_file(weights)
    tensors["model.norm.weight"][3] = np.nan
    save_file(tensors, weights)
    return folder / "models"


@pytest.fixture(scope="module")
def jobs(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """What became of the jobs, by model, with their events; the server is asked once more."""
    command = (sys.executable, limited_trainer.__file__)
    settings = {"command": command, "running": 8, "at_once": 8}
    data = tmp_path_factory.mktemp("failing")
    with (
        running_server(data / "data", models_dir=models, fine_tuning=settings) as server,
        server.working(),
        server.client() as client,
    ):
        made = {name: create(client, name) for name in (*REASONS, SOUND)}
        found = {name: ended(client, job_id, 300) for name, job_id in made.items()}
        for name, job_id in made.items():
            found[name]["events"] = events_of(client, job_id)
        until(lambda: not list((data / "data/commands").iterdir()), "all is tidied up")
        assert list((data / "data/fine-tuning").iterdir()) == []
        assert client.get("/readyz").status_code == 200
        yield found


def create(client: httpx.Client, model: str) -> str:
    lines = chats(256 if model == "no-memory" else 12)
    if model == "no-memory":
        for line in lines:
            line["messages"][1]["content"] *= 20
    file_id = a_training_file(client, b"".join(json.dumps(line).encode() + b"\n" for line in lines))
    wishes = {"n_epochs": 1, "batch_size": len(lines)}
    return a_job(client, model=model, training_file=file_id, hyperparameters=wishes)["id"]


@pytest.mark.parametrize("model", REASONS)
def test_a_job_tells_why_it_failed_and_what_to_do(jobs, model):
    job = jobs[model]
    code, words, param = REASONS[model]

    assert job["status"] == "failed", job
    assert (job["error"]["code"], job["error"]["param"]) == (code, param), job["error"]
    assert words in job["error"]["message"]
    last = job["events"][-1]
    assert (last["message"], last["level"]) == (job["error"]["message"], "error")
    assert str(Path(__file__).parents[3]) not in job["error"]["message"]


def test_a_job_beside_them_succeeds(jobs):
    assert jobs[SOUND]["status"] == "succeeded", jobs[SOUND]
