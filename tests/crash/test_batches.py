"""Processes die at every moment of a batch: no line is lost, none has two answers.

What the engine's log says after all the kills is the proof that little was asked twice.
"""

import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest
import sqlalchemy as sa
from openai import AzureOpenAI, OpenAIError
from tests.support.crashing import Crashing
from tests.support.files import until
from tests.support.running_engine import RunningEngine, scripted_engine
from tests.support.server import API_VERSION
from tests.support.serving import is_alive, serving

from linarite.storage.tables import batch_answers, batches

pytestmark = [pytest.mark.crash, pytest.mark.timeout(600)]

LINES = 500
IN_FLIGHT = 16
PHASES = {"validating", "in_progress", "between bytes and row", "finalizing", "cancelling"}
VICTIMS = ["worker", "engine", "api", "worker", "engine", "engines", "worker", "api"] * 2
"""Who dies while the batch is in progress; four more die in the other phases."""


class Engine:
    """A scripted engine that can be killed and comes back at the same address."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stack = ExitStack()
        self.running: RunningEngine
        self._start(0)

    def _start(self, port: int) -> None:
        self._stack = ExitStack()
        one = scripted_engine(self._folder, "--delay-ms", "80", port=port)
        self.running = self._stack.enter_context(one)

    def restart_after_a_kill(self) -> None:
        self.running.process.kill()
        self.running.process.wait()
        port = int(self.running.base_url.removesuffix("/v1").rpartition(":")[2])
        self.close()
        self._start(port)

    def close(self) -> None:
        self._stack.close()


@pytest.fixture
def engine(tmp_path) -> Iterator[Engine]:
    one = Engine(tmp_path / "engine")
    yield one
    one.close()


@pytest.fixture
def crashing(tmp_path, engine) -> Iterator[Crashing]:
    with serving(tmp_path / "serving", "--config", str(configured(tmp_path, engine))) as running:
        yield Crashing(running)


def configured(folder: Path, engine: Engine) -> Path:
    """The settings of a server that deploys the scripted engine."""
    config = folder / "linarite.toml"
    config.write_text(
        f"""
        [batches]
        in_flight = {IN_FLIGHT}
        [[models]]
        id = "tiny"
        upstream = {{ base_url = "{engine.running.base_url}" }}
        [[deployments]]
        name = "chat"
        model = "tiny"
        """
    )
    return config


@pytest.fixture
def sdk(crashing) -> Iterator[AzureOpenAI]:
    with client_of(crashing) as client:
        yield client


@contextmanager
def client_of(crashing: Crashing) -> Iterator[AzureOpenAI]:
    ready = crashing.serving.ready
    with AzureOpenAI(
        azure_endpoint=ready["endpoint"],
        api_key=ready["api_key"],
        api_version=API_VERSION,
        timeout=10,
    ) as client:
        yield client


@pytest.fixture
def database(crashing) -> Iterator[sa.Engine]:
    one = sa.create_engine(f"sqlite:///{crashing.serving.data / 'linarite.sqlite3'}")
    yield one
    one.dispose()


def line(number: int, text: str) -> bytes:
    body = {"model": "chat", "messages": [{"role": "user", "content": f"{number}: {text}"}]}
    return orjson.dumps(
        {"custom_id": f"task-{number}", "method": "POST", "url": "/chat/completions", "body": body}
    )


def start(sdk: AzureOpenAI, lines: list[bytes]) -> str:
    file = sdk.files.create(file=("in.jsonl", b"\n".join(lines)), purpose="batch")
    batch = sdk.batches.create(
        input_file_id=file.id, endpoint="/chat/completions", completion_window="24h"
    )
    return batch.id


def row(database: sa.Engine, batch_id: str) -> Any:
    with database.connect() as connection:
        return connection.execute(sa.select(batches).where(batches.c.id == batch_id)).one()


def reach(database: sa.Engine, batch_id: str, holds: Callable[[Any], bool], what: str) -> None:
    """Wait, without missing a moment, until the batch's row is as `holds` says."""
    deadline = time.monotonic() + 90
    while not holds(now := row(database, batch_id)):
        assert time.monotonic() < deadline, f"the batch did not come to {what}: {now}"
        time.sleep(0.001)


def kill(crashing: Crashing, kind: str, where: str) -> None:
    """Kill -9 a process, without waiting for the next; and note where it was."""
    until(lambda: is_alive(crashing.serving.processes()[kind]), f"there is a {kind}", 60)
    os.kill(crashing.serving.processes()[kind], signal.SIGKILL)
    crashing.fell[f"{kind}, {where}"] += 1


def die_while_validating(crashing: Crashing, sdk: AzureOpenAI, database: sa.Engine) -> None:
    """The last of many lines is bad, so that reading them takes a moment and has a known end."""
    batch_id = start(sdk, [*[line(n, "hi") for n in range(20_000)], b"not json"])
    with crashing.nobody_writes():
        time.sleep(0.3)
        assert row(database, batch_id).status == "validating"
        kill(crashing, "worker", "validating")

    reach(database, batch_id, lambda now: now.status == "failed", "failed")
    [error] = row(database, batch_id).errors
    assert (error["code"], error["line"]) == ("invalid_json_line", 20_001)


def die_while_in_progress(
    crashing: Crashing, engine: Engine, database: sa.Engine, batch_id: str
) -> None:
    for number, victim in enumerate(VICTIMS):
        wanted = (number + 1) * LINES // (len(VICTIMS) + 2)
        reach(database, batch_id, lambda now, w=wanted: now.completed >= w, f"{wanted} answers")
        assert row(database, batch_id).status == "in_progress"
        if victim == "engine":
            engine.restart_after_a_kill()
            crashing.fell["engine, in_progress"] += 1
        else:
            kill(crashing, victim, "in_progress")


def die_while_finalizing(crashing: Crashing, database: sa.Engine, batch_id: str) -> None:
    reach(database, batch_id, lambda now: now.status == "finalizing", "finalizing")
    kill(crashing, "worker", "finalizing")
    assert row(database, batch_id).status == "finalizing"


def die_between_bytes_and_row(crashing: Crashing, database: sa.Engine, batch_id: str) -> None:
    """Both files are stored, and the row that names them waits for the lock that we hold."""
    before, run = crashing.whole_objects(), row(database, batch_id).run
    reach(database, batch_id, lambda now: now.run > run, "another worker")
    with crashing.nobody_writes():
        until(lambda: len(crashing.whole_objects() - before) >= 2, "both files are stored")
        assert row(database, batch_id).status == "finalizing"
        kill(crashing, "worker", "between bytes and row")


def die_while_cancelling(crashing: Crashing, sdk: AzureOpenAI, database: sa.Engine) -> str:
    quick = [line(n, "hi") for n in range(30)]
    batch_id = start(sdk, [*quick, *[line(n, "[[hang]]") for n in range(30, 60)]])
    reach(database, batch_id, lambda now: now.completed == 30, "30 answers")
    sdk.batches.cancel(batch_id)
    time.sleep(1)
    assert row(database, batch_id).status == "cancelling"
    kill(crashing, "worker", "cancelling")
    reach(database, batch_id, lambda now: now.status == "cancelled", "cancelled")
    return batch_id


def custom_ids(sdk: AzureOpenAI, file_id: str) -> Counter[str]:
    lines = read(sdk, file_id).splitlines()
    return Counter(orjson.loads(text)["custom_id"] for text in lines)


def read(sdk: AzureOpenAI, file_id: str) -> bytes:
    """A file's bytes; asked again where the API has just died."""
    for _ in range(20):
        try:
            return sdk.files.content(file_id).read()
        except OpenAIError:
            time.sleep(0.5)
    return sdk.files.content(file_id).read()


def test_twenty_kills_lose_no_line_and_answer_none_twice(crashing, engine, sdk, database):
    batch_id = start(sdk, [line(n, "[[tokens 4000]]") for n in range(LINES)])

    die_while_in_progress(crashing, engine, database, batch_id)
    die_while_finalizing(crashing, database, batch_id)
    die_between_bytes_and_row(crashing, database, batch_id)
    reach(database, batch_id, lambda now: now.status == "completed", "completed")
    asked = len(engine.running.logged())
    die_while_validating(crashing, sdk, database)
    cancelled_id = die_while_cancelling(crashing, sdk, database)

    expected = {f"task-{n}" for n in range(LINES)}
    batch = row(database, batch_id)
    assert (batch.completed, batch.failed) == (LINES, 0)
    answers = custom_ids(sdk, batch.output_file_id)
    assert answers == Counter(expected)
    assert read(sdk, batch.error_file_id) == b""
    cancelled = row(database, cancelled_id)
    assert custom_ids(sdk, cancelled.output_file_id) == Counter(f"task-{n}" for n in range(30))
    assert custom_ids(sdk, cancelled.error_file_id) == Counter(f"task-{n}" for n in range(30, 60))
    with database.connect() as connection:
        left = connection.execute(sa.select(sa.func.count()).select_from(batch_answers)).scalar()
    assert left == 0

    told = ["where processes fell:", *(f"{n} x {w}" for w, n in sorted(crashing.fell.items()))]
    told.append(f"requests that the engine saw: {asked} for {LINES} lines")
    print(*told, sep="\n  ")  # noqa: T201 - what this test has to tell
    assert {where.partition(", ")[2] for where in crashing.fell} == PHASES
    assert crashing.fell.total() == 20
    assert asked <= LINES + len(VICTIMS) * IN_FLIGHT


def test_stopping_workers_hand_a_batch_on_and_ask_nothing_twice(crashing, engine, sdk, database):
    batch_id = start(sdk, [line(n, "hi") for n in range(LINES)])

    for stop in range(1, 9):
        wanted = stop * LINES // 10
        reach(database, batch_id, lambda now, w=wanted: now.completed >= w, f"{wanted} answers")
        until(lambda: is_alive(crashing.serving.processes()["worker"]), "there is a worker", 60)
        os.kill(crashing.serving.processes()["worker"], signal.SIGTERM)
    reach(database, batch_id, lambda now: now.status == "completed", "completed")

    answers = custom_ids(sdk, row(database, batch_id).output_file_id)
    assert answers == Counter(f"task-{n}" for n in range(LINES))
    assert len(engine.running.logged()) == LINES


def test_killed_workers_lose_nothing_on_postgresql_either(tmp_path, engine, postgres_url):
    options = ("--config", str(configured(tmp_path, engine)))
    with serving(tmp_path / "serving", *options, LINARITE_DATABASE_URL=postgres_url) as running:
        crashing, database = Crashing(running), sa.create_engine(postgres_url)
        with client_of(crashing) as sdk:
            batch_id = start(sdk, [line(n, "hi") for n in range(LINES)])
            for number in range(1, 6):
                wanted = number * LINES // 6
                reach(database, batch_id, lambda now, w=wanted: now.completed >= w, f"{wanted}")
                kill(crashing, "worker", "in_progress")
            reach(database, batch_id, lambda now: now.status == "completed", "completed")

            answers = custom_ids(sdk, row(database, batch_id).output_file_id)
        database.dispose()

    assert answers == Counter(f"task-{n}" for n in range(LINES))
    assert len(engine.running.logged()) <= LINES + 5 * IN_FLIGHT
