"""Deployments by the data plane: made, found, changed and removed by those they belong to."""

import json
import time

import httpx
import pytest
from tests.support.server import Server

PATH = "/openai/deployments"
CHAT = {"messages": [{"role": "user", "content": "hello"}]}


def made(caller: httpx.Client, **body: object) -> httpx.Response:
    return caller.post(PATH, json={"id": "mine", "model": "tiny"} | body)


def patched(caller: httpx.Client, name: str, **body: object) -> httpx.Response:
    headers = {"content-type": "application/merge-patch+json"}
    return caller.patch(f"{PATH}/{name}", content=json.dumps(body), headers=headers)


def ids(caller: httpx.Client) -> list[str]:
    return [one["id"] for one in caller.get(PATH).json()["data"]]


def test_a_deployment_has_the_shape_of_the_authoring_api(caller: httpx.Client):
    before = int(time.time())

    answer = made(caller, scale_settings={"scale_type": "manual", "capacity": 3})

    deployment = answer.json()
    assert answer.status_code == 201
    assert before <= deployment.pop("created_at") == deployment.pop("updated_at")
    assert deployment == {
        "object": "deployment",
        "id": "mine",
        "model": "tiny",
        "scale_settings": {"scale_type": "manual", "capacity": 3},
        "owner": "organization-owner",
        "enqueued_token_limit": 200_000_000,
        "requests_per_minute": None,
        "tokens_per_minute": None,
        "deterministic": False,
        "status": "succeeded",
        "error": None,
    }


def test_a_new_deployment_is_where_its_location_says(caller: httpx.Client):
    answer = made(caller)

    found = caller.get(answer.headers["location"])

    assert answer.headers["location"].endswith("/openai/deployments/mine")
    assert found.json() == answer.json()


def test_a_name_is_made_for_a_deployment_without_one(caller: httpx.Client):
    first, second = (caller.post(PATH, json={"model": "tiny"}).json()["id"] for _ in range(2))

    assert first.startswith("deployment-")
    assert len(first) == len("deployment-") + 32
    assert first != second


def test_an_alias_is_deployed_as_the_model_it_means(caller: httpx.Client):
    assert made(caller, model="gpt-4o-mini").json()["model"] == "tiny"


@pytest.mark.parametrize("name", ["mine", "ops", "tiny"])
def test_a_name_that_is_taken_is_refused_for_good(caller: httpx.Client, name: str):
    made(caller)

    answer = made(caller, id=name)

    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "itemDoesAlreadyExist")
    assert answer.headers["x-should-retry"] == "false"


@pytest.mark.parametrize("name", ["", "a b", "-a", "a/b", "ä", "a" * 65, 5])
def test_a_name_that_no_address_could_carry_is_refused(caller: httpx.Client, name: object):
    answer = made(caller, id=name)

    assert (answer.status_code, answer.json()["error"]["target"]) == (400, "$.id")


def test_a_model_that_is_not_there_cannot_be_deployed(caller: httpx.Client):
    answer = made(caller, model="huge")

    assert answer.status_code == 400
    assert answer.json()["error"]["target"] == "$.model"
    assert "'huge'" in answer.json()["error"]["message"]


def test_every_model_is_deployed_under_its_own_name(caller: httpx.Client):
    assert {"tiny", "large", "vectors", "m" * 200, "ops"} <= set(ids(caller))


def test_a_change_keeps_what_it_does_not_name(caller: httpx.Client):
    made(caller, enqueued_token_limit=500)

    answer = patched(caller, "mine", model="large")

    assert (answer.status_code, answer.json()["model"]) == (200, "large")
    assert answer.json()["enqueued_token_limit"] == 500
    assert caller.get(f"{PATH}/mine").json() == answer.json()


def test_a_merge_patch_keeps_what_it_does_not_name_inside_an_object(caller: httpx.Client):
    made(caller, scale_settings={"scale_type": "standard", "capacity": 3})

    answer = patched(caller, "mine", scale_settings={"scale_type": "manual"})

    assert answer.json()["scale_settings"] == {"scale_type": "manual", "capacity": 3}


@pytest.mark.parametrize("value", [0, -1, "many", 2**63, 1.5])
def test_a_token_limit_is_a_number_of_tokens(caller: httpx.Client, value: object):
    made(caller)

    answer = patched(caller, "mine", enqueued_token_limit=value)

    assert answer.status_code == 400
    assert answer.json()["error"]["target"] == "$.enqueued_token_limit"


@pytest.mark.parametrize("name", ["requests_per_minute", "tokens_per_minute"])
@pytest.mark.parametrize("value", [0, -1, "many", 2**63, 1.5])
def test_a_rate_limit_is_a_number(caller: httpx.Client, name: str, value: object):
    answers = [made(caller, **{name: value}), patched(caller, "mine", **{name: value})]

    for answer in answers:
        assert (answer.status_code, answer.json()["error"]["target"]) == (400, f"$.{name}")


def test_rate_limits_are_set_kept_and_taken_away(caller: httpx.Client):
    first = made(caller, requests_per_minute=10, tokens_per_minute=1000).json()

    second = patched(caller, "mine", requests_per_minute=20).json()
    third = patched(caller, "mine", tokens_per_minute=None).json()

    assert (first["requests_per_minute"], first["tokens_per_minute"]) == (10, 1000)
    assert (second["requests_per_minute"], second["tokens_per_minute"]) == (20, 1000)
    assert (third["requests_per_minute"], third["tokens_per_minute"]) == (20, None)
    assert caller.get(f"{PATH}/mine").json() == third


def test_whether_it_is_deterministic_is_set_and_changed(caller: httpx.Client):
    first = made(caller, model="near", deterministic=True).json()

    unchanged = patched(caller, "mine", deterministic=None).json()
    changed = patched(caller, "mine", deterministic=False).json()

    told = [answer["deterministic"] for answer in (first, unchanged, changed)]
    assert told == [True, True, False]
    assert made(caller, id="other", deterministic="yes").status_code == 400


def test_what_an_upstream_answers_cannot_be_deterministic(caller: httpx.Client):
    made(caller)
    made(caller, id="exact", model="near", deterministic=True)

    refused = [
        made(caller, id="other", deterministic=True),
        patched(caller, "mine", deterministic=True),
        patched(caller, "exact", model="tiny"),
    ]

    for answer in refused:
        assert answer.status_code == 400
        assert "'tiny' cannot be deterministic" in answer.json()["error"]["message"]
    assert caller.get(f"{PATH}/exact").json()["model"] == "near"


def test_a_deployment_that_was_removed_is_gone(caller: httpx.Client):
    made(caller)

    answer = caller.delete(f"{PATH}/mine")

    assert (answer.status_code, answer.content) == (204, b"")
    assert caller.get(f"{PATH}/mine").json()["error"]["code"] == "notFound"
    assert "mine" not in ids(caller)


@pytest.mark.parametrize("name", ["ops", "tiny"])
def test_the_operators_deployments_are_not_callers_to_change(caller: httpx.Client, name: str):
    change, removal = patched(caller, name, model="large"), caller.delete(f"{PATH}/{name}")

    assert (change.status_code, change.json()["error"]["code"]) == (403, "forbidden")
    assert removal.status_code == 403
    assert caller.get(f"{PATH}/{name}").json()["model"] == "tiny"


def test_another_resource_does_not_see_a_deployment(caller: httpx.Client, stranger: httpx.Client):
    made(caller)

    answers = [
        stranger.get(f"{PATH}/mine"),
        patched(stranger, "mine", model="large"),
        stranger.delete(f"{PATH}/mine"),
    ]

    assert [answer.status_code for answer in answers] == [404, 404, 404]
    assert "mine" not in ids(stranger)
    assert caller.get(f"{PATH}/mine").status_code == 200


def test_another_resource_cannot_ask_a_deployment(caller: httpx.Client, stranger: httpx.Client):
    made(caller)

    answer = stranger.post(f"{PATH}/mine/chat/completions", json=CHAT)

    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "DeploymentNotFound")


def test_two_resources_may_use_one_name(caller: httpx.Client, stranger: httpx.Client):
    made(caller)

    answer = made(stranger, model="large")

    assert answer.status_code == 201
    assert caller.get(f"{PATH}/mine").json()["model"] == "tiny"
    stranger.delete(f"{PATH}/mine")


def test_a_batch_tells_the_limit_of_its_deployment(deploying: Server, caller: httpx.Client):
    line = {"custom_id": "a", "method": "POST", "url": "/chat/completions"}
    line["body"] = {"model": "ops"} | CHAT  # type: ignore[assignment]  # a line is any JSON
    client = deploying.sdk()
    file = client.files.create(file=("in.jsonl", json.dumps(line).encode()), purpose="batch")

    answer = caller.post(
        "/openai/batches",
        json={
            "input_file_id": file.id,
            "endpoint": "/chat/completions",
            "completion_window": "24h",
        },
    )

    assert answer.headers["deployment-maximum-enqueued-tokens"] == "4000"
