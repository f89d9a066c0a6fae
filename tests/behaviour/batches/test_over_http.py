"""Batches as callers see them: over HTTP and by the official SDK, with a worker behind."""

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import openai
import pytest
from tests.behaviour.batches.conftest import Ticket, jsonl, line
from tests.support.clock import StandingClock
from tests.support.files import until
from tests.support.running_engine import RunningEngine
from tests.support.server import Server, running_server

from linarite.resources.batches.service import Batches
from linarite.resources.batches.tasks import Work


@pytest.fixture
def serving(tmp_path: Path, database_url: str, engine: RunningEngine) -> Iterator[Server]:
    engine.steer(delay_ms=0, every="", limit=None)
    upstream = {"base_url": engine.base_url}
    settings = {
        "models": [
            {"id": "tiny", "upstream": upstream},
            {"id": "vectors", "kind": "embedding", "upstream": upstream},
        ],
        "deployments": [
            {"name": "chat", "model": "tiny", "enqueued_token_limit": 5000},
            {"name": "embed", "model": "vectors"},
        ],
        "batches": {"cancel_seconds": 0.5},
    }
    with running_server(tmp_path / "data", database_url=database_url, **settings) as server:
        yield server


@pytest.fixture
def sdk(serving: Server) -> Iterator[openai.AzureOpenAI]:
    with serving.working(), serving.sdk() as client:
        yield client


def upload(sdk: openai.AzureOpenAI, *lines: object) -> str:
    file = sdk.files.create(file=("in.jsonl", jsonl(*lines)), purpose="batch")
    assert file.status == "processed"
    return file.id


def finished(sdk: openai.AzureOpenAI, batch_id: str):
    deadline = time.monotonic() + 30
    while True:
        batch = sdk.batches.retrieve(batch_id)
        if batch.status in {"completed", "failed", "expired", "cancelled"}:
            return batch
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_the_official_sdk_runs_a_batch(sdk):
    file_id = upload(sdk, *[line(n) for n in range(25)])

    created = sdk.batches.create(
        input_file_id=file_id,
        endpoint="/v1/chat/completions",
        completion_window="24h",
        metadata={"batch_description": "Evaluation job"},
    )
    batch = finished(sdk, created.id)

    assert created.status == "validating"
    assert batch.status == "completed"
    assert batch.request_counts.completed == 25
    assert batch.metadata == {"batch_description": "Evaluation job"}
    answers = sdk.files.content(batch.output_file_id).text.splitlines()
    assert len(answers) == 25
    assert sdk.files.content(batch.error_file_id).content == b""
    assert sdk.files.retrieve(batch.output_file_id).purpose == "batch_output"


def test_embeddings_and_completions_run_in_batches(sdk):
    asked = {
        "/embeddings": {"model": "embed", "input": "text"},
        "/completions": {"model": "chat", "prompt": "text"},
    }
    for endpoint, body in asked.items():
        one = {"custom_id": "a", "method": "POST", "url": f"/v1{endpoint}", "body": body}
        file_id = upload(sdk, one)
        batch = sdk.batches.create(
            input_file_id=file_id, endpoint=endpoint, completion_window="24h"
        )

        batch = finished(sdk, batch.id)

        assert (batch.status, batch.request_counts.completed) == ("completed", 1)


def test_a_failed_batch_tells_its_lines(sdk):
    file_id = upload(sdk, line(0), line(0))

    batch = sdk.batches.create(
        input_file_id=file_id, endpoint="/chat/completions", completion_window="24h"
    )
    batch = finished(sdk, batch.id)

    [error] = batch.errors.data
    assert (error.code, error.line, error.param) == ("duplicate_custom_id", 2, "custom_id")


def test_a_file_that_is_no_jsonl_fails_as_a_batch_with_its_line(sdk):
    file = sdk.files.create(file=("in.jsonl", b"{}\nnot json\n"), purpose="batch")

    batch = sdk.batches.create(
        input_file_id=file.id, endpoint="/chat/completions", completion_window="24h"
    )
    batch = finished(sdk, batch.id)

    assert ("invalid_json_line", 2) in [(e.code, e.line) for e in batch.errors.data]


def test_a_running_batch_is_cancelled(sdk):
    file_id = upload(sdk, line(0), line(1, "[[hang]]"))
    batch = sdk.batches.create(
        input_file_id=file_id, endpoint="/chat/completions", completion_window="24h"
    )
    deadline = time.monotonic() + 20
    while sdk.batches.retrieve(batch.id).request_counts.completed < 1:
        assert time.monotonic() < deadline
        time.sleep(0.05)

    assert sdk.batches.cancel(batch.id).status == "cancelling"
    batch = finished(sdk, batch.id)

    assert (batch.status, batch.request_counts.completed) == ("cancelled", 1)
    assert "batch_cancelled" in sdk.files.content(batch.error_file_id).text
    with pytest.raises(openai.ConflictError) as refusal:
        sdk.batches.cancel(batch.id)
    assert refusal.value.code == "unexpectedEntityState"
    assert refusal.value.response.headers["x-should-retry"] == "false"


def test_a_batch_that_expired_is_read_as_such(serving):
    with serving.sdk() as sdk:
        batch = sdk.batches.create(
            input_file_id=upload(sdk, line(0)),
            endpoint="/chat/completions",
            completion_window="24h",
        )
        batches = serving.built.parts[Batches]
        Work(batches, no_engine, nothing).validate(batch.id, Ticket())
        late = Work(replace(batches, clock=StandingClock(batch.expires_at)), no_engine, nothing)
        late.expire(Ticket())
        late.settle(batch.id, Ticket())

        seen = sdk.batches.retrieve(batch.id)

        assert (seen.status, seen.expired_at) == ("expired", batch.expires_at)
        assert "batch_expired" in sdk.files.content(seen.error_file_id).text


def no_engine(_place, _resource):
    raise AssertionError("Nobody is asked.")


def nothing(_tx, _resource, _group):
    raise AssertionError("Nothing is stored.")


def test_batches_of_several_resources_run_at_once(serving):
    """Each has a line that takes two seconds; one after the other would be twelve."""
    keys = [serving.key, serving.add_key("other")]
    with serving.working():
        began, running = time.monotonic(), []
        for sdk in [serving.sdk(key=key) for key in keys] * 3:
            file_id = upload(sdk, line(0, "[[delay 2000]]"))
            batch = sdk.batches.create(
                input_file_id=file_id, endpoint="/chat/completions", completion_window="24h"
            )
            running.append((sdk, batch.id))
        statuses = [finished(sdk, batch_id).status for sdk, batch_id in running]

    assert statuses == ["completed"] * 6
    assert time.monotonic() - began < 10


def test_the_sdk_pages_through_all_batches(serving):
    sdk = serving.sdk()
    file_id = upload(sdk, line(0))
    made = [
        sdk.batches.create(
            input_file_id=file_id, endpoint="/chat/completions", completion_window="24h"
        ).id
        for _ in range(5)
    ]

    assert [batch.id for batch in sdk.batches.list(limit=2)] == made[::-1]


@pytest.fixture
def client(serving: Server):
    with serving.client() as one:
        yield one


def created(client, serving, **changes):
    file_id = upload(serving.sdk(), line(0, "hi", max_tokens=95))
    body = {"input_file_id": file_id, "endpoint": "/chat/completions", "completion_window": "24h"}
    return client.post("/openai/batches", json=body | changes)


def test_the_token_headers_are_there_when_one_deployment_is_in_view(client, serving):
    answer = created(client, serving)
    assert answer.status_code == 201
    assert answer.headers["deployment-enqueued-tokens"] == "100"
    assert answer.headers["deployment-maximum-enqueued-tokens"] == "5000"

    created(client, serving)
    listed = client.get("/openai/batches")
    assert listed.headers["deployment-enqueued-tokens"] == "200"


def test_filters_and_orders_travel_as_odata(client, serving):
    ids = [created(client, serving).json()["id"] for _ in range(3)]

    query = {"$filter": "created_at gt 1 and status eq 'Validating'", "$orderby": "id asc"}
    answer = client.get("/openai/batches", params=query)

    assert [batch["id"] for batch in answer.json()["data"]] == sorted(ids)


@pytest.mark.parametrize(
    "query",
    [
        {"$filter": "status eq"},
        {"$filter": "nobody eq 1"},
        {"$orderby": "status sideways"},
        {"limit": "0"},
        {"limit": "101"},
        {"after": "batch_nobody"},
        {"after": "batch_\x00"},
        {"$filter": "id eq '\x00'"},
    ],
)
def test_a_list_that_cannot_be_made_is_refused(client, query):
    answer = client.get("/openai/batches", params=query)

    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "invalidPayload"


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ("x", "Invalid type for 'metadata': expected an object, but got a string instead."),
        ({"x": []}, "Invalid type for 'metadata.x': expected a string, but got an array instead."),
        ({str(n): "v" for n in range(17)}, "Invalid 'metadata': too many properties."),
    ],
)
def test_bad_metadata_is_refused_in_openais_words(client, serving, metadata, message):
    answer = created(client, serving, metadata=metadata)

    assert answer.status_code == 400
    assert answer.json()["error"]["message"].startswith(message)


@pytest.mark.parametrize("missing", ["input_file_id", "endpoint", "completion_window"])
def test_a_body_without_what_is_required_is_refused(client, missing):
    body = {"input_file_id": "file-1", "endpoint": "/completions", "completion_window": "24h"}
    del body[missing]

    answer = client.post("/openai/batches", json=body)

    assert answer.status_code == 400
    assert missing in answer.json()["error"]["message"]


@pytest.mark.parametrize("path", ["/openai/batches/batch_x", "/openai/batches/batch_x/cancel"])
def test_a_batch_that_is_not_there_is_not_found(client, path):
    method = "POST" if path.endswith("cancel") else "GET"

    answer = client.request(method, path)

    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "notFound"


def test_a_batch_of_another_resource_is_not_found(client, serving):
    batch_id = created(client, serving).json()["id"]

    with serving.client(key=serving.add_key("other")) as other:
        assert other.get(f"/openai/batches/{batch_id}").status_code == 404
        assert other.post(f"/openai/batches/{batch_id}/cancel").status_code == 404
        assert other.get("/openai/batches").json()["data"] == []


def test_the_figures_count_batches_whose_engine_is_away(sdk, serving, engine):
    def waiting() -> str:
        with serving.client() as client:
            figures = client.get("/metrics").text.splitlines()
        [line] = [one for one in figures if one.startswith("linarite_batches_without_engine ")]
        return line.partition(" ")[2]

    engine.steer(every="[[drop]]")
    file_id = upload(sdk, *[line(n) for n in range(40)])
    before = waiting()
    created = sdk.batches.create(
        input_file_id=file_id, endpoint="/v1/chat/completions", completion_window="24h"
    )
    until(lambda: waiting() == "1.0", "it waits for its engine")
    engine.steer(every="", delay_ms=500)
    until(lambda: waiting() == "0.0", "its engine is back")
    status = sdk.batches.retrieve(created.id).status
    engine.steer(delay_ms=0)

    assert (before, status) == ("0.0", "in_progress")
    assert finished(sdk, created.id).status == "completed"
