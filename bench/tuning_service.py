"""How long does one wait around the training itself?

A short supervised job of the embedded model over the API: from asking for it until its first
metrics can be read, and from its success until its deployed model has answered, the deployment made
and the engine started in between.
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import openai

from bench import script
from bench.measure import Finding, quantity
from bench.servers import linarite
from bench.tuning import MODEL, training_lines

_LOOK_SECONDS = 0.1
_LONGEST_SECONDS = 600


def measure(options: argparse.Namespace, folder: Path) -> list[Finding]:
    """As many jobs as pairs, one after the other, on one server."""
    lines = training_lines("supervised", options.examples)
    to_metrics, to_answer = [], []
    with linarite(folder) as server:
        client = server.sdk()
        file_id = _uploaded(client, lines)
        for number in range(options.pairs):
            metrics, answer = _waits(client, file_id, f"tuned-{number}")
            to_metrics.append(metrics)
            to_answer.append(answer)
    return [
        quantity("from create to the first metrics", to_metrics, unit="s", limit=None),
        quantity("from success to the first answer", to_answer, unit="s", limit=None),
    ]


def _waits(client: openai.OpenAI, file_id: str, deployment: str) -> tuple[float, float]:
    """Run a job; the seconds to its first metrics, and those from success to an answer."""
    began = time.monotonic()
    job_id = client.fine_tuning.jobs.create(
        model=MODEL, training_file=file_id, hyperparameters={"n_epochs": 1, "batch_size": 4}
    ).id
    _until(lambda: _has_metrics(client, job_id))
    metrics = time.monotonic() - began
    _until(lambda: client.fine_tuning.jobs.retrieve(job_id).finished_at)
    began = time.monotonic()
    _ask(client, job_id, deployment)
    return metrics, time.monotonic() - began


def _uploaded(client: openai.OpenAI, lines: list[dict[str, object]]) -> str:
    data = "".join(f"{json.dumps(line)}\n" for line in lines).encode()
    file_id = client.files.create(file=("training.jsonl", data), purpose="fine-tune").id
    _until(lambda: client.files.retrieve(file_id).status == "processed")
    return file_id


def _has_metrics(client: openai.OpenAI, job_id: str) -> bool:
    events = client.fine_tuning.jobs.list_events(job_id, limit=100).data
    return any(event.type == "metrics" for event in events)


def _ask(client: openai.OpenAI, job_id: str, deployment: str) -> None:
    """Deploy what a job made, and have it answer."""
    job = client.fine_tuning.jobs.retrieve(job_id)
    if job.fine_tuned_model is None:
        raise RuntimeError(f"The job ended as {job.status}: {job.error}")
    body = {"id": deployment, "model": job.fine_tuned_model}
    client.post("/deployments", cast_to=object, body=body)
    client.chat.completions.create(
        model=deployment, messages=[{"role": "user", "content": "Hello!"}], max_tokens=1
    )


def _until(is_so: Callable[[], object]) -> None:
    deadline = time.monotonic() + _LONGEST_SECONDS
    while not is_so():
        if time.monotonic() > deadline:
            raise RuntimeError(f"Not within {_LONGEST_SECONDS} seconds.")
        time.sleep(_LOOK_SECONDS)


if __name__ == "__main__":
    options = script.parser(__doc__ or "", pairs=3, examples=40).parse_args()
    script.run("tuning_service", options, measure)
