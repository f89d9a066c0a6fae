"""What becomes of a job: its states, events, checkpoints, results, and its model."""

import csv
import io

import pytest
import sqlalchemy as sa
import structlog
from tests.support.files import until
from tests.support.server import Server
from tests.support.tuning import (
    BASE,
    JOBS,
    a_job,
    a_training_file,
    checkpoints_of,
    content_of,
    create,
    ended,
    events_of,
    job_now,
    messages_of,
)

from linarite.storage.tables import usage

pytestmark = pytest.mark.usefixtures("working")


def test_a_job_becomes_a_model(client, script):
    script.set(epochs=2, steps_per_epoch=5)

    created = a_job(client, suffix="mine", seed=7)
    job = ended(client, created["id"])

    assert created["status"] == "pending"
    assert created["hyperparameters"] == {
        "n_epochs": -1,
        "batch_size": -1,
        "learning_rate_multiplier": -1.0,
    }
    assert job["status"] == "succeeded", job
    assert job["fine_tuned_model"] == f"{BASE}.ft-{job['id'].removeprefix('ftjob-')}-mine"
    assert job["hyperparameters"] == {
        "n_epochs": 2,
        "batch_size": 1,
        "learning_rate_multiplier": 1.0,
    }
    assert (job["seed"], job["trained_tokens"], job["error"]) == (7, 10_440, None)
    assert job["method"] == {"kind": "supervised", "type": "supervised"}
    assert job["finished_at"] == events_of(client, job["id"])[-1]["created_at"]


def test_events_come_in_the_services_words_and_order(client, script):
    script.set(epochs=2, steps_per_epoch=6, messages=[["warning", "2 examples were truncated."]])

    job = ended(client, a_job(client)["id"])

    [file_id] = job["result_files"]
    assert messages_of(client, job["id"]) == [
        "Job enqueued. Waiting for jobs ahead to complete.",
        "Job started.",
        "Preprocessing started.",
        "2 examples were truncated.",
        "Training started.",
        f"Created results file: {file_id}",
        f"Step 6: training loss={2 / 7}",
        f"Step 10: training loss={2 / 11}",
        f"Step 12: training loss={2 / 13}",
        "Job succeeded.",
        "Postprocessing started.",
        "Model Evaluation Passed.",
        f"Completed results file: {file_id}",
        "Training tokens billed: 12000",
    ]
    newest = client.get(f"{JOBS}/{job['id']}/events").json()["data"]
    assert newest[0]["message"] == "Training tokens billed: 12000"
    events = events_of(client, job["id"])
    assert {event["level"] for event in events} == {"info", "warning"}
    [step] = [event for event in events if event["message"].startswith("Step 10")]
    assert step["type"] == "metrics"
    assert step["data"] == {
        "step": 10,
        "train_loss": 2 / 11,
        "train_mean_token_accuracy": 10 / 12,
    }
    told = step["id"].removeprefix("ftevent-")
    assert told[:16] == told[16:]


def test_checkpoints_of_the_last_three_epochs_are_kept(client, script):
    script.set(epochs=5, steps_per_epoch=4)

    job = ended(client, a_job(client, validation_file=a_training_file(client))["id"])

    model = job["fine_tuned_model"]
    kept = checkpoints_of(client, job["id"])
    assert [one["fine_tuned_model_checkpoint"] for one in kept] == [
        model,
        f"{model}:ckpt-step-16",
        f"{model}:ckpt-step-12",
    ]
    assert [one["step_number"] for one in kept] == [20, 16, 12]
    assert kept[0]["metrics"] == {
        "step": 20.0,
        "train_loss": 2 / 21,
        "train_mean_token_accuracy": 1.0,
        "valid_loss": 3 / 21,
        "valid_mean_token_accuracy": 0.5,
        "full_valid_loss": 2.5,
        "full_valid_mean_token_accuracy": 0.25,
    }
    assert all(one["fine_tuning_job_id"] == job["id"] for one in kept)
    assert kept[0]["id"].startswith("ftchkpt-")


def test_results_are_a_row_a_step_and_can_be_read_while_the_job_runs(client, script, server):
    script.set(epochs=1, steps_per_epoch=20, wait_at=11)
    job = a_job(client)
    until(lambda: "Step 10: " in str(messages_of(client, job["id"])), "ten steps are told")

    running = job_now(client, job["id"])
    [file_id] = running["result_files"]
    live = content_of(client, file_id).splitlines()
    file = client.get(f"/openai/files/{file_id}").json()
    (server.settings.data / "fine-tuning" / job["id"] / "go").touch()
    ended(client, job["id"])

    assert (running["status"], len(live)) == ("running", 11)
    assert running["estimated_finish"] >= running["created_at"]
    assert (file["status"], file["purpose"], file["filename"]) == (
        "running",
        "fine-tune-results",
        "results.csv",
    )
    rows = list(csv.DictReader(io.StringIO(content_of(client, file_id))))
    assert [int(row["step"]) for row in rows] == list(range(1, 21))
    assert float(rows[9]["train_loss"]) == 2 / 11
    assert rows[9]["valid_loss"] == ""


def test_preferences_have_their_hyperparameters_and_columns(client, script):
    script.set(epochs=1, steps_per_epoch=3)
    method = {"type": "dpo", "dpo": {"hyperparameters": {"beta": 0.2, "n_epochs": "auto"}}}

    created = a_job(client, method=method)
    job = ended(client, created["id"])

    assert created["method"]["dpo"]["hyperparameters"]["beta"] == 0.2
    assert job["method"] == {
        "kind": "dpo",
        "type": "dpo",
        "dpo": {
            "hyperparameters": {
                "n_epochs": 1,
                "batch_size": 1,
                "learning_rate_multiplier": 1.0,
                "beta": 0.2,
                "l2_multiplier": 0.5,
            }
        },
    }
    header = content_of(client, job["result_files"][0]).splitlines()[0]
    assert header.startswith("step,train_loss,train_mean_token_accuracy,valid_loss,")
    assert header.endswith(",full_valid_reward_chosen,full_valid_reward_rejected")


def test_a_job_fails_with_the_trainers_reason(client, script):
    message = "Training data validation failed. Line 3 of the training file: no messages."
    script.set(fail={"code": "invalid_training_file", "message": message, "param": "training_file"})

    job = ended(client, a_job(client)["id"])

    assert job["status"] == "failed"
    assert job["error"] == {
        "code": "invalid_training_file",
        "message": message,
        "param": "training_file",
    }
    assert job["fine_tuned_model"] is None
    last = events_of(client, job["id"])[-1]
    assert (last["message"], last["level"]) == (message, "error")
    assert checkpoints_of(client, job["id"]) == []


def test_a_trainer_that_dies_again_and_again_fails_the_job(client, script):
    script.set(exit=3)

    with structlog.testing.capture_logs() as logged:
        job = ended(client, a_job(client)["id"])

    assert job["error"]["code"] == "server_error"
    assert "exit code 3" in job["error"]["message"]
    [died] = [line for line in logged if line["event"] == "training died"]
    assert (died["job"], died["output"]) == (job["id"], "Leaving.\n" * 5)


def test_a_running_job_is_cancelled_within_seconds(client, script, server):
    script.set(epochs=4, steps_per_epoch=2, wait_at=6)
    job = a_job(client)
    until(lambda: len(checkpoints_of(client, job["id"])) == 2, "two epochs are over")

    cancelled = client.post(f"{JOBS}/{job['id']}/cancel").json()
    folder = server.settings.data / "fine-tuning" / job["id"]
    until(lambda: not folder.exists(), "the trainer is gone", 5)

    assert (cancelled["status"], cancelled["finished_at"] > 0) == ("cancelled", True)
    assert messages_of(client, job["id"])[-1] == "Job cancelled."
    assert [one["step_number"] for one in checkpoints_of(client, job["id"])] == [4, 2]
    now = job_now(client, job["id"])
    assert (now["status"], now["fine_tuned_model"]) == ("cancelled", None)
    file = client.get(f"/openai/files/{now['result_files'][0]}").json()
    assert file["status"] == "processed"
    again = client.post(f"{JOBS}/{job['id']}/cancel")
    assert (again.status_code, again.headers["x-should-retry"]) == (409, "false")


def test_a_job_that_is_deleted_as_soon_as_it_was_cancelled_leaves_nothing(client, script, server):
    script.set(wait_at=0)
    job = f"{JOBS}/{a_job(client)['id']}"
    folders = [server.settings.data / name for name in ("fine-tuning", "commands")]
    until(lambda: list(folders[0].glob("*/lock")), "the trainer runs")

    statuses = [client.post(f"{job}/cancel").status_code, client.delete(job).status_code]

    assert statuses == [200, 204]
    until(lambda: not any(list(folder.iterdir()) for folder in folders), "nothing is left", 5)


def test_a_job_goes_on_from_a_tuned_model_and_from_a_checkpoint(client, script, server):
    script.set(epochs=2, steps_per_epoch=2)
    first = ended(client, a_job(client)["id"])
    _, older = checkpoints_of(client, first["id"])

    for name in (first["fine_tuned_model"], older["fine_tuned_model_checkpoint"], older["id"]):
        script.set(epochs=1, steps_per_epoch=2, wait_at=2)
        job = a_job(client, model=name)
        folder = server.settings.data / "fine-tuning" / job["id"]
        until((folder / "log.jsonl").exists, "the trainer runs")
        files = {path.name for path in (folder / "adapter").iterdir()}
        (folder / "go").touch()
        job = ended(client, job["id"])

        resolved = older["fine_tuned_model_checkpoint"] if name == older["id"] else name
        assert job["model"] == resolved
        assert job["fine_tuned_model"].startswith(f"{BASE}.ft-")
        assert files == {"adapter_config.json", "adapter_model.safetensors"}


def test_a_result_that_was_deployed_as_a_checkpoint_stays_deployed(client, script, server):
    script.set(epochs=1, steps_per_epoch=2, wait_at=3)
    job = f"{JOBS}/{a_job(client)['id']}"
    until(lambda: client.get(f"{job}/checkpoints").json()["data"], "the last epoch is over")
    [step] = client.get(f"{job}/checkpoints").json()["data"]
    name = step["fine_tuned_model_checkpoint"]
    client.post("/openai/deployments", json={"id": "mine", "model": name})

    (server.settings.data / "fine-tuning" / step["fine_tuning_job_id"] / "go").touch()
    model = ended(client, step["fine_tuning_job_id"])["fine_tuned_model"]

    assert name == f"{model}:ckpt-step-2"
    assert client.get("/openai/deployments/mine").json()["status"] == "succeeded"
    assert client.get(f"/openai/models/{name}").json()["id"] == model
    assert client.delete(job).status_code == 409


def test_a_tuned_model_is_listed_for_its_resource_alone(client, script, server):
    script.set(epochs=1, steps_per_epoch=1)
    job = ended(client, a_job(client)["id"])
    name = job["fine_tuned_model"]

    model = client.get(f"/openai/models/{name}").json()

    assert (model["model"], model["fine_tune"], model["status"]) == (BASE, job["id"], "succeeded")
    with server.client(key=server.add_key("other")) as other:
        assert other.get(f"/openai/models/{name}").status_code == 404
        assert create(other, model=name).json()["error"]["code"] == "DeploymentNotFound"


def test_one_job_of_a_resource_runs_at_a_time_and_another_resource_does_not_wait(
    client, script, server
):
    script.set(epochs=1, steps_per_epoch=2, wait_at=2)
    first, second = a_job(client), a_job(client)
    with server.client(key=server.add_key("other")) as other:
        third = a_job(other)
        until(lambda: job_now(other, third["id"])["status"] == "running", "the other's runs")
    until(lambda: job_now(client, first["id"])["status"] == "running", "the first runs")

    waiting = job_now(client, second["id"])["status"]
    for job in (first, second, third):
        folder = server.settings.data / "fine-tuning" / job["id"]
        until(folder.exists, "its turn has come")
        (folder / "go").touch()

    assert waiting == "pending"
    assert ended(client, second["id"])["status"] == "succeeded"


def test_a_trainer_that_is_killed_goes_on_and_nothing_is_told_twice(client, script):
    script.set(
        epochs=2,
        steps_per_epoch=10,
        state_every=4,
        deaths={"start": 1, "step 7": 1, "torn 9": 1, "checkpoint 10": 1, "end": 1},
    )

    job = ended(client, a_job(client)["id"])

    assert job["status"] == "succeeded", job
    told = [message for message in messages_of(client, job["id"]) if message.startswith("Step")]
    assert [message.partition(":")[0] for message in told] == ["Step 10", "Step 20"]
    assert messages_of(client, job["id"]).count("Training started.") == 1
    rows = content_of(client, job["result_files"][0]).splitlines()[1:]
    assert [int(row.partition(",")[0]) for row in rows] == list(range(1, 21))
    assert [one["step_number"] for one in checkpoints_of(client, job["id"])] == [20, 10]


def test_a_job_that_has_ended_leaves_nothing_but_its_models(client, script, server):
    script.set(epochs=1, steps_per_epoch=2)
    file_id = a_training_file(client)
    job = ended(client, a_job(client, training_file=file_id)["id"])
    data = server.settings.data
    until(lambda: not (data / "fine-tuning" / job["id"]).exists(), "the folder is gone")

    client.delete(f"/openai/files/{file_id}")

    assert client.get(f"/openai/files/{file_id}").status_code == 404
    assert list((data / "commands").iterdir()) == []
    [folder] = [path for path in (data / "tuned").iterdir() if not path.name.startswith(".")]
    assert (folder / "model.json").is_file()


def test_a_model_counts_in_what_its_resource_keeps(client, script, server):
    script.set(epochs=4, steps_per_epoch=1)
    job = ended(client, a_job(client)["id"])
    until(lambda: not list((server.settings.data / "commands").iterdir()), "all is tidy")

    with_models = _kept(server)
    client.delete(f"{JOBS}/{job['id']}")

    adapter = script.path.parent / "adapter"
    assert with_models - _kept(server) == 3 * sum(one.stat().st_size for one in adapter.iterdir())
    files = client.get("/openai/files").json()["data"]
    assert _kept(server) == sum(file["bytes"] for file in files)


def _kept(server: Server) -> int:
    with server.built.database.reading() as connection:
        return int(connection.execute(sa.select(usage.c.bytes)).scalar_one())
