"""A server that is told to stop while it works: it ends soon, and goes on where it was."""

import json
import signal
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import openai
import pytest
from tests.end_to_end.conftest import CHAT_BATCH, STORY, chat_lines, settled
from tests.support.embedded import CHAT, models_folder, pulled
from tests.support.files import until
from tests.support.running_engine import RunningEngine, scripted_engine
from tests.support.sdk_variants import sdk_client
from tests.support.serving import Serving, is_alive, serving

LINES, IN_FLIGHT = 120, 8
STOP_SECONDS = 10
AT_ONCE_SECONDS = 5
"""Half of what a dead worker's work waits for: what was handed back need not wait."""


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[RunningEngine]:
    with scripted_engine(tmp_path / "engine", "--delay-ms", "200") as running:
        yield running


@pytest.fixture
def config(tmp_path: Path, engine: RunningEngine) -> Path:
    file = tmp_path / "linarite.toml"
    file.write_text(
        f"""
        [batches]
        in_flight = {IN_FLIGHT}
        [[models]]
        id = "{CHAT}"
        upstream = {{ base_url = "{engine.base_url}" }}
        """
    )
    return file


def running_batch(client: openai.AzureOpenAI, content: bytes, *, answered: int) -> str:
    """A batch of which some lines are answered, and some are not."""
    file = client.files.create(file=("in.jsonl", content), purpose="batch")
    batch_id = client.batches.create(input_file_id=file.id, **CHAT_BATCH).id
    until(lambda: completed(client, batch_id) >= answered, "some lines are answered", 60)
    return batch_id


def completed(client: openai.AzureOpenAI, batch_id: str) -> int:
    counts = client.batches.retrieve(batch_id).request_counts
    assert counts is not None
    return counts.completed


def stop_in_time(server: Serving) -> None:
    pids = list(server.processes().values())
    began = time.monotonic()

    assert server.stop(signal.SIGTERM) == 0, server.log.read_text()

    assert time.monotonic() - began < STOP_SECONDS
    assert not any(map(is_alive, pids))


def answers_of(client: openai.AzureOpenAI, batch: Any) -> Counter[str]:
    lines = client.files.content(batch.output_file_id).text.splitlines()
    return Counter(json.loads(line)["custom_id"] for line in lines)


def test_a_batch_goes_on_at_once_after_a_clean_stop(
    tmp_path: Path, config: Path, engine: RunningEngine
):
    options = ("--config", str(config))
    with serving(tmp_path, *options) as server, sdk_client("azure", server.ready) as client:
        batch_id = running_batch(client, chat_lines(LINES), answered=2 * IN_FLIGHT)
        stop_in_time(server)
    asked_before = engine.asked()["total"]
    assert asked_before < LINES

    with serving(tmp_path, *options) as server, sdk_client("azure", server.ready) as client:
        until(
            lambda: engine.asked()["total"] > asked_before,
            "the batch goes on",
            within_seconds=AT_ONCE_SECONDS,
        )
        batch = settled(client, batch_id)

        assert (batch.status, batch.request_counts.completed) == ("completed", LINES)
        assert answers_of(client, batch) == Counter(map(str, range(LINES)))
    assert engine.asked()["total"] <= LINES + IN_FLIGHT


@pytest.mark.model
def test_a_server_stops_in_the_middle_of_chats_and_batches_of_its_own_engine(tmp_path: Path):
    pulled(CHAT)
    models = {"LINARITE_MODELS_DIR": str(models_folder())}
    content = chat_lines(100, messages=STORY, max_tokens=20)
    with (
        serving(tmp_path, **models) as server,
        sdk_client("azure", server.ready, max_retries=0) as client,
        ThreadPoolExecutor(1) as pool,
    ):
        batch_id = running_batch(client, content, answered=1)
        chat = client.chat.completions.create(
            model=CHAT, messages=STORY, max_tokens=1500, stream=True
        )
        next(iter(chat))
        reading = pool.submit(lambda: sum(1 for _ in chat))
        stop_in_time(server)
        is_cut_off = reading.exception(timeout=1) is not None
        assert is_cut_off or reading.result() < 1500

    with serving(tmp_path, **models) as server, sdk_client("azure", server.ready) as client:
        batch = settled(client, batch_id)

        assert (batch.status, batch.request_counts.failed) == ("completed", 0)
        assert answers_of(client, batch) == Counter(map(str, range(100)))
