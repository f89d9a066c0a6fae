"""What a creation may ask for, and every refusal with its text."""

import json

import pytest
from tests.support.files import a_file, error_of
from tests.support.server import running_server
from tests.support.tuning import (
    BASE,
    JOBS,
    a_job,
    a_training_file,
    create,
    examples,
    job_now,
    tuning_server,
)


def test_a_job_has_its_address_and_is_found_there(tenant):
    answer = create(tenant)

    assert answer.status_code == 201
    job = answer.json()
    assert answer.headers["location"].endswith(f"{JOBS}/{job['id']}")
    assert tenant.get(answer.headers["location"]).json() == job
    assert job["id"].startswith("ftjob-")
    assert job["organization_id"] is None
    assert job["result_files"] is None


@pytest.mark.parametrize(
    ("body", "hyperparameters"),
    [
        ({}, (-1, -1, -1)),
        ({"hyperparameters": {"n_epochs": 3, "batch_size": "auto"}}, (3, -1, -1)),
        ({"hyperparameters": {"n_epochs": -1, "learning_rate_multiplier": 2}}, (-1, -1, 2)),
        (
            {
                "method": {
                    "type": "supervised",
                    "supervised": {"hyperparameters": {"n_epochs": 4, "batch_size": 2}},
                }
            },
            (4, 2, -1),
        ),
        (
            {
                "hyperparameters": {"n_epochs": 9, "batch_size": 8},
                "method": {"kind": "dpo", "dpo": {"hyperparameters": {"n_epochs": 5}}},
            },
            (5, 8, -1),
        ),
    ],
    ids=["none", "top level and auto", "-1", "under the method", "both"],
)
def test_hyperparameters_come_from_either_place(tenant, body, hyperparameters):
    job = a_job(tenant, **body)

    assert tuple(job["hyperparameters"].values()) == hyperparameters


@pytest.mark.parametrize(
    "method",
    [
        {"type": "dpo", "dpo": {}},
        {"kind": "dpo", "dpo": {"hyperparameters": {"beta": "auto"}}},
        {"kind": "dpo", "type": "dpo", "dpo": {}},
    ],
    ids=["type", "kind", "both"],
)
def test_a_method_is_named_by_type_or_by_kind(tenant, method):
    told = a_job(tenant, method=method)["method"]

    assert (told["type"], told["kind"]) == ("dpo", "dpo")
    assert told["dpo"]["hyperparameters"]["beta"] == -1


def test_what_the_job_is_to_be_called_and_where_it_is_shown_is_kept(tenant):
    wandb = {"project": "mine", "tags": ["a", "b"]}

    asked = {"integrations": [{"type": "wandb", "wandb": wandb}]}
    job = job_now(tenant, a_job(tenant, suffix="x" * 40, seed=-5, **asked)["id"])

    assert (job["suffix"], job["seed"]) == ("x" * 40, -5)
    assert job["integrations"] == [
        {"type": "wandb", "wandb": {"name": None, "entity": None, **wandb}}
    ]


def test_a_seed_is_made_where_none_is_given(tenant):
    assert a_job(tenant)["seed"] != a_job(tenant)["seed"]


@pytest.mark.parametrize(
    ("body", "target"),
    [
        ({"hyperparameters": {"n_epochs": 0}}, "$.hyperparameters.n_epochs"),
        ({"hyperparameters": {"n_epochs": 51}}, "$.hyperparameters.n_epochs"),
        ({"hyperparameters": {"batch_size": 257}}, "$.hyperparameters.batch_size"),
        ({"hyperparameters": {"batch_size": "many"}}, "$.hyperparameters.batch_size"),
        (
            {"hyperparameters": {"learning_rate_multiplier": 0}},
            "$.hyperparameters.learning_rate_multiplier",
        ),
        (
            {"method": {"type": "dpo", "dpo": {"hyperparameters": {"beta": 2.5}}}},
            "$.method.dpo.hyperparameters.beta",
        ),
        ({"suffix": "x" * 41}, "$.suffix"),
        ({"suffix": "a b"}, "$.suffix"),
        ({"suffix": ""}, "$.suffix"),
        ({"seed": 2**31}, "$.seed"),
        ({"integrations": [{"type": "wandb", "wandb": {"project": "p"}}] * 6}, "$.integrations"),
        ({"training_file": ""}, "$.training_file"),
    ],
)
def test_what_is_out_of_its_range_is_refused_by_its_place(tenant, body, target):
    answer = create(tenant, **{"training_file": "file-1", **body})

    assert error_of(answer)[:2] == (400, "invalidPayload")
    assert answer.json()["error"]["target"] == target


@pytest.mark.parametrize(
    "method",
    [{"type": "reinforcement"}, {}, {"type": "dpo"}, {"type": "dpo", "kind": "supervised"}, "dpo"],
)
def test_a_method_that_is_none_is_refused(tenant, method):
    answer = create(tenant, training_file="file-1", method=method)

    assert error_of(answer)[:2] == (400, "invalidPayload")


def test_a_model_that_does_not_exist_is_refused(tenant):
    answer = create(tenant, model="nobody", training_file="file-1")

    status, code, message = error_of(answer)
    assert (status, code) == (404, "DeploymentNotFound")
    assert message.startswith("The model 'nobody' does not exist")


def test_a_model_that_cannot_be_tuned_is_refused_in_the_services_words(tmp_path):
    upstream = {"id": "far", "upstream": {"base_url": "http://127.0.0.1:9/v1"}}
    with (
        running_server(tmp_path / "data", models=[upstream]) as server,
        server.client() as client,
    ):
        answer = create(client, model="far")

    assert error_of(answer) == (
        400,
        "invalidPayload",
        "The specified base model does not support fine-tuning.",
    )


def test_an_alias_stands_for_its_model(tmp_path):
    aliases = {"gpt-4o-mini-2024-07-18": BASE}
    with tuning_server(tmp_path, aliases=aliases) as (server, _), server.client() as client:
        job = a_job(client, model="gpt-4o-mini-2024-07-18")

    assert job["model"] == BASE


def test_a_file_that_is_not_ready_is_refused_in_the_services_words(tenant):
    bad = a_file(tenant, b"not json\n", purpose="fine-tune", filename="bad.jsonl")

    for body in ({"training_file": bad["id"]}, {"validation_file": bad["id"]}):
        assert error_of(create(tenant, **body)) == (
            400,
            "invalidPayload",
            "The specified file reference must point to a completed file import.",
        )


def test_a_file_of_another_purpose_or_of_nobody_is_refused(tenant, shared_tuning):
    notes = a_file(tenant)["id"]

    assert error_of(create(tenant, training_file=notes))[:2] == (400, "invalidPayload")
    assert error_of(create(tenant, training_file="file-nobody"))[:2] == (404, "notFound")
    with shared_tuning.client(key=shared_tuning.add_key("other")) as other:
        assert create(other, training_file=a_training_file(tenant)).status_code == 404


def test_as_many_jobs_wait_as_may(tmp_path):
    settings = {"fine_tuning": {"queued": 2}}
    with tuning_server(tmp_path, **settings) as (server, _), server.client() as client:
        first, second = a_job(client), a_job(client)
        refused = create(client)
        client.post(f"{JOBS}/{first['id']}/cancel")

        assert error_of(refused)[:2] == (403, "quotaExceeded")
        assert create(client).status_code == 201
        with server.client(key=server.add_key("other")) as other:
            assert create(other).status_code == 201
    assert second["status"] == "pending"


def test_a_resource_has_at_most_as_many_jobs_as_the_settings_say(tmp_path):
    limits = {"fine_tuning_jobs": 1}
    with tuning_server(tmp_path, limits=limits) as (server, _), server.client() as client:
        job = f"{JOBS}/{a_job(client)['id']}"
        client.post(f"{job}/cancel")
        refused = create(client)
        client.delete(job)

        assert error_of(refused)[:2] == (403, "quotaExceeded")
        assert create(client).status_code == 201


def test_a_resource_that_keeps_all_that_it_may_tunes_nothing(tmp_path):
    limits = {"stored_bytes": len(examples())}
    with tuning_server(tmp_path, limits=limits) as (server, _), server.client() as client:
        assert error_of(create(client))[:2] == (403, "quotaExceeded")


def test_the_same_file_may_train_and_validate(tenant):
    file_id = a_training_file(tenant, examples(12))

    job = a_job(tenant, training_file=file_id, validation_file=file_id)

    assert job["training_file"] == job["validation_file"] == file_id


def test_a_file_that_is_deleted_stays_readable_for_its_job(tenant):
    file_id = a_training_file(tenant)
    a_job(tenant, training_file=file_id)

    tenant.delete(f"/openai/files/{file_id}")

    assert tenant.get(f"/openai/files/{file_id}").json()["status"] == "deleted"


def test_a_body_that_is_no_json_is_refused(tenant):
    answer = tenant.post(JOBS, content=b"{", headers={"content-type": "application/json"})

    assert json.loads(answer.text)["error"]["code"] == "invalidPayload"
