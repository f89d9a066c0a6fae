"""A server on which a scripted trainer tunes a tiny model, and tuning jobs as callers see them."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from tests.support.adapters import write_adapter
from tests.support.files import a_file, until
from tests.support.server import Server, running_server
from tests.support.tiny_models import tiny_config, write_tiny_model

from linarite.engines.installed import InstalledModel, installing, put_in_place

BASE = "tiny"
JOBS = "/openai/fine_tuning/jobs"
FINAL = {"succeeded", "failed", "cancelled"}

_TRAINER = Path(__file__).parent / "scripted_trainer.py"


class Script:
    """What the scripted trainer does from its next start on."""

    def __init__(self, folder: Path, adapter: Path) -> None:
        self.path = folder / "script.json"
        self._adapter = adapter
        self.set()

    def set(self, **script: Any) -> None:
        """Replace the script."""
        part = self.path.with_suffix(".part")
        part.write_text(json.dumps({"adapter": str(self._adapter), **script}))
        part.replace(self.path)

    @property
    def command(self) -> list[str]:
        """The trainer's command, without the job's folder."""
        return [sys.executable, str(_TRAINER), str(self.path)]


def scripted(folder: Path) -> Script:
    """A script, a base model in ``folder``/models, and an adapter that fits it."""
    adapter = write_adapter(folder / "adapter", tiny_base(folder / "models").hf_folder)
    return Script(folder, adapter)


def tiny_base(models: Path) -> InstalledModel:
    """A tiny model that can be tuned, installed in `models`."""
    with installing(models, BASE) as scratch:
        write_tiny_model(scratch / "hf", tiny_config(model_type="llama"))
        model = InstalledModel(BASE, "chat", scratch, 512, True, is_tunable=True)
        return put_in_place(model, models)


@contextmanager
def tuning_server(
    folder: Path, *, database_url: str | None = None, **settings: Any
) -> Iterator[tuple[Server, Script]]:
    """A server whose trainer is scripted; nobody performs its tasks."""
    folder.mkdir(parents=True, exist_ok=True)
    script = scripted(folder)
    settings["fine_tuning"] = {"command": script.command} | settings.get("fine_tuning", {})
    with running_server(
        folder / "data", database_url=database_url, models_dir=folder / "models", **settings
    ) as server:
        yield server, script


def examples(count: int = 10) -> bytes:
    """A training file."""
    turns = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
    return b"".join(json.dumps({"messages": turns}).encode() + b"\n" for _ in range(count))


def a_training_file(client: httpx.Client, content: bytes | None = None) -> str:
    """The id of a file to learn from."""
    told = a_file(client, content or examples(), purpose="fine-tune", filename="train.jsonl")
    assert told["status"] == "processed", told
    return str(told["id"])


def create(client: httpx.Client, **body: Any) -> httpx.Response:
    """Ask for a job on the base model."""
    asked = {"model": BASE} | body
    if "training_file" not in asked:
        asked["training_file"] = a_training_file(client)
    return client.post(JOBS, json=asked)


def a_job(client: httpx.Client, **body: Any) -> dict[str, Any]:
    """A job that was taken."""
    answer = create(client, **body)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def job_now(client: httpx.Client, job_id: str) -> dict[str, Any]:
    """The job as it stands."""
    return dict(client.get(f"{JOBS}/{job_id}").json())


def ended(client: httpx.Client, job_id: str, within_seconds: float = 30) -> dict[str, Any]:
    """The job once it is over."""
    until(lambda: job_now(client, job_id)["status"] in FINAL, "the job ended", within_seconds)
    return job_now(client, job_id)


def events_of(client: httpx.Client, job_id: str) -> list[dict[str, Any]]:
    """All events of a job, oldest first."""
    answer = client.get(f"{JOBS}/{job_id}/events", params={"limit": 1000, "order": "asc"})
    return list(answer.json()["data"])


def messages_of(client: httpx.Client, job_id: str) -> list[str]:
    """What a job's events say, oldest first."""
    return [event["message"] for event in events_of(client, job_id)]


def checkpoints_of(client: httpx.Client, job_id: str) -> list[dict[str, Any]]:
    """A job's checkpoints, newest first."""
    return list(client.get(f"{JOBS}/{job_id}/checkpoints").json()["data"])


def content_of(client: httpx.Client, file_id: str) -> str:
    """What a file holds."""
    return client.get(f"/openai/files/{file_id}/content").text
