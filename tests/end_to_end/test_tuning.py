"""The embedded model is tuned by the demo, deployed and tuned further by the official SDK."""

import csv
import io
import json
import re
import subprocess
import time
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from tests.end_to_end.conftest import CHAT_BATCH, FINAL
from tests.support.contract_answers import watch
from tests.support.embedded import CHAT, models_folder, pulled
from tests.support.files import until
from tests.support.serving import Serving, run_linarite, serving

from linarite.cli import demo_tuning

pytestmark = [pytest.mark.slow, pytest.mark.model, pytest.mark.timeout(600)]

HABIT = "Arr, matey!"
UNSEEN = [{"role": "user", "content": demo_tuning.UNSEEN[0]}]
EXAMPLES = (
    (resources.files("linarite.cli") / "demo_data" / "supervised.jsonl").read_bytes().splitlines()
)
STEPS_PER_EPOCH, LAST = 12, 36
"""Of the demo's job: three epochs over 48 examples, four a step."""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    pulled(CHAT)
    folder = tmp_path_factory.mktemp("tuning")
    with serving(folder, LINARITE_MODELS_DIR=str(models_folder())) as server:
        yield server


@pytest.fixture(scope="module")
def azure(running: Serving) -> Iterator[openai.AzureOpenAI]:
    ready = running.ready
    with openai.AzureOpenAI(
        azure_endpoint=ready["endpoint"],
        api_key=ready["api_key"],
        api_version=ready["api_version"],
        http_client=watch(httpx.Client(timeout=120)),
    ) as client:
        yield client


@dataclass
class Demo:
    """A run of `linarite demo` against the server that is up, and its job seen from beside it."""

    shown: str
    job: Any
    foretold: list[tuple[float, int]]
    """When the job's end was foretold, and for when."""


def run_demo(running: Serving, *options: str) -> "subprocess.CompletedProcess[str]":
    arguments = ("demo", "--data", running.data, "--questions", "1", *options)
    models = {"LINARITE_MODELS_DIR": str(models_folder())}
    return run_linarite(*arguments, within_seconds=500, **models)


@pytest.fixture(scope="module")
def demo(running: Serving, azure: openai.AzureOpenAI) -> Demo:
    foretold = []
    with ThreadPoolExecutor(1) as pool:
        run = pool.submit(run_demo, running)
        while not run.done():
            for job in azure.fine_tuning.jobs.list():
                if job.estimated_finish is not None:
                    foretold.append((time.time(), job.estimated_finish))
            time.sleep(0.5)
    assert run.result().returncode == 0, run.result().stdout + run.result().stderr
    [job] = azure.fine_tuning.jobs.list()
    return Demo(run.result().stdout, job, foretold)


@pytest.fixture(scope="module")
def tuned(demo: Demo) -> Any:
    """The job of the demo."""
    return demo.job


def finished(client: openai.AzureOpenAI, job_id: str) -> Any:
    deadline = time.monotonic() + 500
    while (job := client.fine_tuning.jobs.retrieve(job_id)).status not in {
        "succeeded",
        "failed",
        "cancelled",
    }:
        assert time.monotonic() < deadline
        time.sleep(0.5)
    return job


def deployed(client: openai.AzureOpenAI, name: str, model: str) -> str:
    client.post("/deployments", cast_to=object, body={"id": name, "model": model})
    return name


def said(client: openai.AzureOpenAI, deployment: str) -> str:
    answer = client.chat.completions.create(
        model=deployment, messages=UNSEEN, max_tokens=24, temperature=0
    )
    return str(answer.choices[0].message.content)


def test_the_demo_tunes_the_model_which_then_talks_like_a_pirate(demo: Demo):
    assert re.search(r"Tuned +smollm2-135m-instruct\.ft-[0-9a-f]{32}-pirate", demo.shown)
    said = demo.shown.count(HABIT)
    in_every_answer = len(demo_tuning.UNSEEN)
    assert in_every_answer <= said <= 2 * in_every_answer, demo.shown  # and no loop of it


def test_a_second_demo_shows_what_the_first_tuned_and_deploys_it_if_it_must(
    azure: openai.AzureOpenAI, running: Serving, demo: Demo
):
    azure.delete(f"/deployments/pirate-{demo.job.id[-6:]}", cast_to=type(None))

    second = run_demo(running)

    assert second.returncode == 0, second.stdout + second.stderr
    assert [job.id for job in azure.fine_tuning.jobs.list()] == [demo.job.id]
    assert demo.job.fine_tuned_model in second.stdout
    assert "by an earlier run" in second.stdout
    assert "Training succeeded, step 36" in second.stdout
    assert second.stdout.count(HABIT) == demo.shown.count(HABIT)
    assert "--again\n" in second.stdout


def test_a_demo_tunes_again_if_it_is_told_to(
    azure: openai.AzureOpenAI, running: Serving, demo: Demo
):
    with ThreadPoolExecutor(1) as pool:
        run = pool.submit(run_demo, running, "--again")
        until(lambda: newest_job(azure).id != demo.job.id, "there is a new job", 100)
        new = newest_job(azure)
        azure.fine_tuning.jobs.cancel(new.id)

    assert run.result().returncode == 1
    assert "The job ended as cancelled" in run.result().stdout
    azure.delete(f"/fine_tuning/jobs/{new.id}", cast_to=type(None))


def newest_job(client: openai.AzureOpenAI) -> Any:
    return next(iter(client.fine_tuning.jobs.list(limit=1)))


def test_a_job_tells_how_it_went(azure: openai.AzureOpenAI, tuned: Any):
    assert tuned.status == "succeeded", tuned.error
    assert tuned.fine_tuned_model == f"{CHAT}.ft-{tuned.id.removeprefix('ftjob-')}-pirate"
    assert tuned.trained_tokens > 1000
    events = list(azure.fine_tuning.jobs.list_events(tuned.id, limit=5))
    assert [event.message for event in reversed(events)][:4] == [
        "Job enqueued. Waiting for jobs ahead to complete.",
        "Job started.",
        "Preprocessing started.",
        "Training started.",
    ]
    steps = {event.data["step"] for event in events if event.type == "metrics"}
    assert steps == {10, 12, 20, 24, 30, 36}


def test_half_way_the_end_was_foretold_within_a_quarter(demo: Demo):
    job = demo.job
    took = job.finished_at - job.created_at

    told = next(end for at, end in demo.foretold if at >= job.created_at + took / 2)

    print(f"half way {told - job.finished_at} s off, of {took} s")  # noqa: T201
    assert abs(told - job.finished_at) <= 0.25 * took


def test_the_results_hold_every_step_and_the_loss_falls(azure: openai.AzureOpenAI, tuned: Any):
    rows = results_of(azure, tuned)

    assert [int(row["step"]) for row in rows] == list(range(1, LAST + 1))
    losses = [float(row["train_loss"]) for row in rows]
    assert sum(losses[-5:]) < 0.6 * sum(losses[:5])


def test_the_tuned_model_has_learned_and_its_base_has_not(azure: openai.AzureOpenAI, tuned: Any):
    pirate = deployed(azure, "pirate", tuned.fine_tuned_model)

    assert HABIT in said(azure, pirate)
    assert HABIT not in said(azure, CHAT)


def test_a_checkpoint_is_deployed_by_its_name(azure: openai.AzureOpenAI, tuned: Any):
    newest, *older = azure.fine_tuning.jobs.checkpoints.list(tuned.id)
    ends = [LAST, LAST - STEPS_PER_EPOCH, STEPS_PER_EPOCH]
    assert [one.step_number for one in (newest, *older)] == ends
    assert newest.fine_tuned_model_checkpoint == tuned.fine_tuned_model
    name = older[0].fine_tuned_model_checkpoint
    assert name == f"{tuned.fine_tuned_model}:ckpt-step-24"

    assert HABIT in said(azure, deployed(azure, "pirate-24", name))


def test_a_batch_runs_on_the_tuned_model(azure: openai.AzureOpenAI, tuned: Any):
    deployment = deployed(azure, "pirate-batch", tuned.fine_tuned_model)
    body = {"model": deployment, "messages": UNSEEN, "max_tokens": 24, "temperature": 0}
    line = {"custom_id": "a", "method": "POST", "url": "/chat/completions", "body": body}
    file = azure.files.create(file=("in.jsonl", json.dumps(line).encode()), purpose="batch")
    batch = azure.batches.create(input_file_id=file.id, **CHAT_BATCH)
    while batch.status not in FINAL:
        time.sleep(0.1)
        batch = azure.batches.retrieve(batch.id)

    assert batch.status == "completed"
    assert HABIT in azure.files.content(batch.output_file_id).text


def test_what_is_taken_away_answers_as_the_deployment_does(
    azure: openai.AzureOpenAI, running: Serving, tuned: Any, tmp_path: Path
):
    """Read by transformers: a folder, and a GGUF file of the very same weights."""
    import torch  # late, as the next: all workers collect this file, and one runs it
    from transformers import AutoModelForCausalLM, AutoTokenizer

    wanted = said(azure, deployed(azure, "pirate-home", tuned.fine_tuned_model))

    with zipfile.ZipFile(io.BytesIO(taken(running, tuned.fine_tuned_model, "merged"))) as archive:
        archive.extractall(tmp_path / "merged")
    (tmp_path / "model.gguf").write_bytes(taken(running, tuned.fine_tuned_model, "gguf"))

    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "merged")
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "merged", dtype=torch.float32)
    other = AutoModelForCausalLM.from_pretrained(
        tmp_path, gguf_file="model.gguf", dtype=torch.float32
    )
    asked = tokenizer.apply_chat_template(
        UNSEEN, add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    with torch.no_grad():
        torch.testing.assert_close(merged(**asked).logits, other(**asked).logits)
        answer = merged.generate(**asked, max_new_tokens=24, do_sample=False)
    text = tokenizer.decode(answer[0, asked["input_ids"].shape[1] :], skip_special_tokens=True)
    print(f"deployed: {wanted!r}, taken away: {text!r}")  # noqa: T201
    assert HABIT in wanted
    assert HABIT in text


def taken(running: Serving, model: str, form: str) -> bytes:
    answer = httpx.get(
        f"{running.endpoint}/openai/fine_tuning/models/{model}/content",
        params={"form": form, "api-version": running.ready["api_version"]},
        headers={"api-key": running.ready["api_key"]},
        timeout=120,
    )
    assert answer.status_code == 200, answer.text
    return answer.content


def test_tuning_goes_on_from_the_tuned_model(azure: openai.AzureOpenAI, tuned: Any):
    training, validation = (
        azure.files.create(file=("more.jsonl", b"\n".join(lines)), purpose="fine-tune").id
        for lines in (EXAMPLES[:12], EXAMPLES[12:22])
    )
    job = azure.fine_tuning.jobs.create(
        model=tuned.fine_tuned_model,
        training_file=training,
        validation_file=validation,
        method={
            "type": "supervised",
            "supervised": {"hyperparameters": {"n_epochs": 1, "batch_size": 4}},
        },
        seed=7,
    )
    assert job.status == "pending"
    job = finished(azure, job.id)

    assert job.status == "succeeded", job.error
    assert job.model == tuned.fine_tuned_model
    assert job.fine_tuned_model == f"{CHAT}.ft-{job.id.removeprefix('ftjob-')}"
    first, *_, last = results_of(azure, job)
    assert float(first["train_loss"]) < 1.5  # where a fresh start is above 3
    assert float(last["full_valid_loss"]) < 1.5


def test_what_the_tuned_model_says_is_distilled_into_its_base(
    azure: openai.AzureOpenAI, running: Serving, tuned: Any
):
    """Store, filter, export, tune, deploy."""
    teacher = deployed(azure, "teacher", tuned.fine_tuned_model)
    for line in EXAMPLES[:24]:
        azure.chat.completions.create(
            model=teacher,
            messages=json.loads(line)["messages"][:-1],
            max_tokens=60,
            temperature=0,
            store=True,
            metadata={"run": "pirate"},
        )
    export = run_linarite(
        "completions", "export", "--data", running.data, "--metadata", "run=pirate"
    )
    assert export.returncode == 0, export.stderr
    print(export.stderr)  # noqa: T201
    job = azure.fine_tuning.jobs.create(
        model=CHAT,
        training_file=export.stdout.strip(),
        suffix="student",
        method={
            "type": "supervised",
            "supervised": {"hyperparameters": {"n_epochs": 4, "batch_size": 2}},
        },
        seed=7,
    )
    job = finished(azure, job.id)

    assert job.status == "succeeded", job.error
    assert HABIT in said(azure, deployed(azure, "student", job.fine_tuned_model))


def results_of(client: openai.AzureOpenAI, job: Any) -> list[dict[str, str]]:
    """The rows of its results file."""
    return list(csv.DictReader(io.StringIO(client.files.content(job.result_files[0]).text)))
