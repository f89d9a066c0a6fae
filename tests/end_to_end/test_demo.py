"""`linarite demo`, as `make demo` runs it: what it shows, and what it leaves behind."""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from tests.support.embedded import CHAT, models_folder, pulled
from tests.support.files import until
from tests.support.serving import run_linarite, wait_for

from linarite.cli.demo_tuning import UNSEEN

pytestmark = pytest.mark.model


@pytest.fixture(scope="module", autouse=True)
def model() -> None:
    pulled(CHAT)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


def demo(data: Path, *options: str, tune: str = "--no-tune") -> "subprocess.CompletedProcess[str]":
    given = ("demo", "--data", data, "--questions", "3", tune, *options)
    models = {"LINARITE_MODELS_DIR": str(models_folder())}
    return run_linarite(*given, cwd=data.parent, within_seconds=600, **models)


def processes_of(data: Path) -> list[psutil.Process]:
    running = psutil.process_iter(["cmdline"])
    return [one for one in running if any(str(data) in word for word in one.info["cmdline"] or ())]


def test_the_demo_runs_beside_a_program_that_has_its_port_and_again_and_stays_up(
    data: Path, taken_port: int
):
    first = demo(data, "--port", str(taken_port))
    left = processes_of(data)
    kept = demo(data, "--port", str(taken_port), "--keep")
    [pid] = re.findall(r"kill (\d+)", kept.stdout)
    try:
        again = demo(data, "--port", "0")

        for run in (first, kept):
            assert run.returncode == 0, run.stdout + run.stderr
            assert f"Port {taken_port} is taken; taking a free one." in run.stdout
            assert "3 answered, 0 failed of 3" in run.stdout
            assert "tokens/s" in run.stdout
        assert "linarite serve --data data\n" in first.stdout
        assert left == []
        assert again.returncode == 0, again.stdout + again.stderr
        assert "which was up already" in again.stdout
        assert "3 answered, 0 failed of 3" in again.stdout
        assert processes_of(data)
    finally:
        os.kill(int(pid), signal.SIGTERM)
    until(lambda: not processes_of(data), "the server ends")


def test_a_demo_that_is_told_to_end_takes_its_server_along(data: Path):
    command = [sys.executable, "-m", "linarite", "demo", "--port", "0", "--data", str(data)]
    environment = os.environ | {"LINARITE_MODELS_DIR": str(models_folder())}
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, text=True, cwd=data.parent
    )
    with process:
        wait_for((data / "run" / "server.json").exists, of=process)
        process.terminate()
        process.communicate(timeout=20)

    assert process.returncode == 128 + signal.SIGTERM
    assert processes_of(data) == []


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_preferences_make_the_model_talk_like_a_pirate_as_well(data: Path):
    run = demo(data, "--port", "0", "--dpo", tune="--tune")

    assert run.returncode == 0, run.stdout + run.stderr
    said = run.stdout.count("Arr, matey!")
    assert len(UNSEEN) <= said <= 2 * len(UNSEEN), run.stdout  # in every answer, no loop of it
    assert re.search(r"Tuned +smollm2-\S+-pirate", run.stdout)
    assert processes_of(data) == []
