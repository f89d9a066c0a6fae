"""The embedded engine and its host die under a batch: every line still gets its one answer."""

import os
import signal
import time
from collections import Counter

import orjson
import psutil
import pytest
from openai import AzureOpenAI
from tests.support.embedded import CHAT, models_folder, pulled
from tests.support.files import until
from tests.support.server import API_VERSION
from tests.support.serving import Serving, serving

pytestmark = [pytest.mark.crash, pytest.mark.model, pytest.mark.timeout(600)]

LINES = 160


@pytest.fixture
def running(tmp_path):
    pulled(CHAT)
    with serving(tmp_path, LINARITE_MODELS_DIR=str(models_folder())) as one:
        yield one


def line(number: int) -> bytes:
    messages = [{"role": "user", "content": f"Write about the number {number}."}]
    body = {"model": CHAT, "messages": messages, "max_tokens": 24, "temperature": 0}
    one = {"custom_id": f"task-{number}", "method": "POST", "url": "/v1/chat/completions"}
    return orjson.dumps(one | {"body": body})


def kill_the_engine(running: Serving) -> None:
    host = psutil.Process(running.processes()["engines"])
    until(lambda: host.children(recursive=True), "an engine runs", 120)
    os.kill(host.children(recursive=True)[-1].pid, signal.SIGKILL)


def kill_the_host(running: Serving) -> None:
    os.kill(running.processes()["engines"], signal.SIGKILL)


def test_engines_and_hosts_that_die_cost_a_batch_no_line(running):
    ready = running.ready
    sdk = AzureOpenAI(
        azure_endpoint=ready["endpoint"], api_key=ready["api_key"], api_version=API_VERSION
    )
    data = b"\n".join(line(n) for n in range(LINES))
    file = sdk.files.create(file=("in.jsonl", data), purpose="batch")
    batch = sdk.batches.create(
        input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h"
    )

    for wanted, kill in ((8, kill_the_engine), (30, kill_the_host), (50, kill_the_engine)):
        until(
            lambda w=wanted: sdk.batches.retrieve(batch.id).request_counts.completed >= w,
            f"{wanted} are answered",
            240,
        )
        assert sdk.batches.retrieve(batch.id).status == "in_progress"
        kill(running)
        time.sleep(0.5)

    until(lambda: sdk.batches.retrieve(batch.id).status == "completed", "it is completed", 240)
    batch = sdk.batches.retrieve(batch.id)
    answers = sdk.files.content(batch.output_file_id).text.splitlines()
    found = Counter(orjson.loads(answer)["custom_id"] for answer in answers)
    assert batch.request_counts.failed == 0
    assert found == Counter(f"task-{n}" for n in range(LINES))
