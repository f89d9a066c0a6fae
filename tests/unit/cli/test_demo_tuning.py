"""What the demo draws of a tuning job, and which job of an earlier run it takes for its own."""

import io
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import openai
import pytest
from tests.support.server import Server, running_server
from tests.support.tuned import add_tuned

from linarite import ids
from linarite.cli.demo_tuning import _chart, find_earlier, request, training_file
from linarite.wire.models import FineTuningState

MODEL = "base"
RESULTS = b"step,train_loss\n1,3.5\n2,\n3,0.5\n"


@pytest.mark.parametrize(
    ("steps", "marks"),
    [(2, ["1", "2"]), (36, ["1", "10", "18", "27", "36"])],
    ids=["two steps", "all steps"],
)
def test_the_chart_counts_whole_steps(steps, marks):
    losses = [4 / (1 + step) for step in range(steps)]

    *_, below, _ = _chart(losses, 78).plain.rstrip().splitlines()

    assert below.split() == marks


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    upstream = {"base_url": "http://127.0.0.1:9/v1"}
    models = [{"id": name, "upstream": upstream} for name in (MODEL, "other")]
    with running_server(tmp_path_factory.mktemp("demo") / "data", models=models) as running:
        yield running


@dataclass
class Tenant:
    """A resource in which demos ran."""

    server: Server
    name: str
    client: openai.AzureOpenAI

    def file(self, content: bytes, purpose: Any) -> str:
        given = ("file.jsonl", io.BytesIO(content))
        return self.client.files.create(file=given, purpose=purpose).id

    def ran(self, method: str, /, **otherwise: Any) -> Any:
        """A job that did what the demo asks for, but for what is `otherwise` in its row."""
        asked = request(MODEL, method)
        values: dict[str, Any] = {
            "resource": self.name,
            "method": method,
            "hyperparameters": asked["method"][method]["hyperparameters"],
            "seed": asked["seed"],
            "suffix": asked["suffix"],
        }
        values |= otherwise
        if "training_file_id" not in values:
            content = training_file(method).read_bytes()
            values["training_file_id"] = self.file(content, "fine-tune")
        values["result_file_id"] = self.file(RESULTS, "assistants")
        base = values.pop("model", MODEL)
        job, _ = add_tuned(self.server, ids.job_id(), base, {36: None}, **values)
        return self.client.fine_tuning.jobs.retrieve(job.id)


@pytest.fixture
def tenant(serving: Server) -> Iterator[Tenant]:
    name = f"tenant-{secrets.token_hex(4)}"
    with serving.sdk(key=serving.add_key(name)) as client:
        yield Tenant(serving, name, client)


@pytest.mark.parametrize("method", ["supervised", "dpo"])
def test_an_earlier_run_of_the_same_is_found_with_its_losses(tenant: Tenant, method: str):
    tenant.ran(method)
    newest = tenant.ran(method, created_at=1_800_000_000)

    found = find_earlier(tenant.client, MODEL, method)

    assert found is not None
    assert (found.job.id, found.losses) == (newest.id, [3.5, 0.5])


OF_DEMO = request(MODEL, "supervised")["method"]["supervised"]["hyperparameters"]


@pytest.mark.parametrize(
    "otherwise",
    [
        {"status": FineTuningState.FAILED},
        {"model": "other"},
        {"suffix": None},
        {"suffix": "parrot"},
        {"seed": 8},
        {"hyperparameters": OF_DEMO | {"n_epochs": 2}},
        {"hyperparameters": OF_DEMO | {"learning_rate_multiplier": 1.5}},
        {"method": "dpo", "hyperparameters": OF_DEMO | {"beta": 0.1, "l2_multiplier": 0.1}},
    ],
    ids=str,
)
def test_a_job_that_was_another_is_not_the_demos(tenant: Tenant, otherwise: Mapping[str, Any]):
    tenant.ran("supervised", **otherwise)

    assert find_earlier(tenant.client, MODEL, "supervised") is None


def test_a_job_on_other_examples_is_not_the_demos(tenant: Tenant):
    lines = training_file("supervised").read_bytes().splitlines(keepends=True)
    tenant.ran("supervised", training_file_id=tenant.file(b"".join(lines[1:]), "fine-tune"))

    assert find_earlier(tenant.client, MODEL, "supervised") is None


@pytest.mark.parametrize("gone", ["training file", "results", "job"])
def test_a_job_that_is_not_whole_any_more_is_not_shown(tenant: Tenant, gone: str):
    job, client = tenant.ran("supervised"), tenant.client
    if gone == "job":
        client.delete(f"/fine_tuning/jobs/{job.id}", cast_to=type(None))
    else:
        client.files.delete(job.training_file if gone == "training file" else job.result_files[0])

    assert find_earlier(client, MODEL, "supervised") is None


def test_an_older_run_is_shown_where_the_newest_is_not_whole(tenant: Tenant):
    older = tenant.ran("supervised")
    newest = tenant.ran("supervised", created_at=1_800_000_000)
    tenant.client.files.delete(newest.result_files[0])

    found = find_earlier(tenant.client, MODEL, "supervised")

    assert found is not None
    assert found.job.id == older.id
