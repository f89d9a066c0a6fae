"""Lists and their pages, cancelling, deleting: what callers see of jobs that wait or have ended."""

import pytest
from tests.support.files import error_of, until
from tests.support.tuning import (
    JOBS,
    a_job,
    a_training_file,
    checkpoints_of,
    ended,
    job_now,
    messages_of,
)


def test_the_newest_jobs_come_first_in_pages(tenant):
    made = [a_job(tenant)["id"] for _ in range(3)]

    first = tenant.get(JOBS, params={"limit": 2}).json()
    second = tenant.get(JOBS, params={"limit": 2, "after": first["data"][-1]["id"]}).json()

    assert [job["id"] for job in first["data"]] == made[:0:-1]
    assert [job["id"] for job in second["data"]] == made[:1]
    assert (first["has_more"], second["has_more"]) == (True, False)


def test_the_sdk_pages_through_jobs_and_events(tenant, shared_tuning):
    made = [a_job(tenant)["id"] for _ in range(3)]

    with shared_tuning.sdk(key=tenant.headers["api-key"]) as sdk:
        jobs = [job.id for job in sdk.fine_tuning.jobs.list(limit=1)]
        events = list(sdk.fine_tuning.jobs.list_events(made[0], limit=1))

    assert jobs == made[::-1]
    assert [event.message for event in events] == [
        "Job enqueued. Waiting for jobs ahead to complete."
    ]


@pytest.mark.parametrize("path", ["", "/{job}/events", "/{job}/checkpoints"])
@pytest.mark.parametrize("query", [{"limit": "0"}, {"after": "nobody"}, {"after": "a\0"}])
def test_a_page_that_cannot_be_made_is_refused(tenant, path, query):
    address = JOBS + path.format(job=a_job(tenant)["id"])

    assert error_of(tenant.get(address, params=query))[:2] == (400, "invalidPayload")


def test_a_job_of_nobody_or_of_another_resource_is_not_found(tenant, shared_tuning):
    job = a_job(tenant)["id"]

    with shared_tuning.client(key=shared_tuning.add_key("other")) as other:
        for caller, name in ((tenant, "ftjob-nobody"), (other, job)):
            for method, path in (
                ("GET", ""),
                ("DELETE", ""),
                ("POST", "/cancel"),
                ("GET", "/events"),
                ("GET", "/checkpoints"),
            ):
                answer = caller.request(method, f"{JOBS}/{name}{path}")
                assert error_of(answer)[:2] == (404, "notFound")
        assert other.get(JOBS).json()["data"] == []


def test_a_waiting_job_is_cancelled_and_lets_go_of_its_file(tenant):
    file_id = a_training_file(tenant)
    job = a_job(tenant, training_file=file_id)["id"]

    cancelled = tenant.post(f"{JOBS}/{job}/cancel").json()
    tenant.delete(f"/openai/files/{file_id}")

    assert cancelled["status"] == "cancelled"
    assert messages_of(tenant, job)[-1] == "Job cancelled."
    assert tenant.get(f"/openai/files/{file_id}").status_code == 404
    assert job_now(tenant, job)["status"] == "cancelled"


def test_a_job_that_has_not_ended_cannot_be_deleted(tenant):
    job = a_job(tenant)["id"]

    refused = tenant.delete(f"{JOBS}/{job}")
    tenant.post(f"{JOBS}/{job}/cancel")
    deleted = tenant.delete(f"{JOBS}/{job}")

    assert error_of(refused)[:2] == (409, "unexpectedEntityState")
    assert refused.headers["x-should-retry"] == "false"
    assert (deleted.status_code, deleted.content) == (204, b"")
    assert tenant.get(f"{JOBS}/{job}").status_code == 404


@pytest.mark.usefixtures("working")
def test_a_job_whose_model_is_deployed_cannot_be_deleted(client, script, server):
    script.set(epochs=2, steps_per_epoch=1)
    job = ended(client, a_job(client)["id"])
    older = checkpoints_of(client, job["id"])[1]["fine_tuned_model_checkpoint"]
    deployed = client.post("/openai/deployments", json={"id": "mine", "model": older})
    assert deployed.status_code == 201, deployed.text

    refused = client.delete(f"{JOBS}/{job['id']}")
    client.delete("/openai/deployments/mine")
    deleted = client.delete(f"{JOBS}/{job['id']}")

    assert error_of(refused)[:2] == (409, "unexpectedEntityState")
    assert deleted.status_code == 204
    assert client.get(f"/openai/models/{job['fine_tuned_model']}").status_code == 404
    assert client.get(f"/openai/files/{job['result_files'][0]}").status_code == 200
    tuned = server.settings.data / "tuned"
    assert [path for path in tuned.iterdir() if not path.name.startswith(".")] == []


@pytest.mark.usefixtures("working")
def test_the_official_sdk_follows_a_job(client, script, server):
    script.set(epochs=3, steps_per_epoch=10)
    training_file = a_training_file(client)

    with server.sdk() as sdk:
        created = sdk.fine_tuning.jobs.create(
            model="tiny",
            training_file=training_file,
            method={"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 3}}},
            suffix="sdk",
        )
        until(
            lambda: sdk.fine_tuning.jobs.retrieve(created.id).status == "succeeded",
            "the job succeeded",
        )
        job = sdk.fine_tuning.jobs.retrieve(created.id)
        events = list(sdk.fine_tuning.jobs.list_events(job.id, limit=4))
        checkpoints = list(sdk.fine_tuning.jobs.checkpoints.list(job.id, limit=2))
        results = sdk.files.content(job.result_files[0]).text
        models = {model.id: model for model in sdk.models.list()}

    assert (job.hyperparameters.n_epochs, job.trained_tokens) == (3, 31_320)
    assert len({event.id for event in events}) == len(events) == 13
    assert events[0].message == "Training tokens billed: 31000"
    assert [one.step_number for one in checkpoints] == [30, 20, 10]
    assert checkpoints[0].metrics.train_loss == 2 / 31
    assert len(results.splitlines()) == 31
    assert models[job.fine_tuned_model].status == "succeeded"
