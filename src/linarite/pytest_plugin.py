"""A pytest plugin: the fixture `linarite`, a server of the test session's own.

    def test_my_program(linarite):
        client = linarite.client()              # openai.AzureOpenAI
        file = client.files.create(file=open("lines.jsonl", "rb"), purpose="batch")

The server starts with the first test that asks for it and takes its data with it. Its settings are
those of ``linarite.toml`` beside the tests, if any; the ini option `linarite_config` names another.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from openai import AzureOpenAI

_START_SECONDS = 60.0
_STOP_SECONDS = 15.0


@dataclass(frozen=True)
class LinariteServer:
    """A running server: what a client needs to know of it."""

    endpoint: str
    api_key: str
    api_version: str
    pid: int

    def client(self, **options: Any) -> "AzureOpenAI":
        """The official client for this server; `options` are further ones of AzureOpenAI."""
        from openai import AzureOpenAI  # late: whoever speaks HTTP otherwise need not have it

        given = {
            "azure_endpoint": self.endpoint,
            "api_key": self.api_key,
            "api_version": self.api_version,
        }
        return AzureOpenAI(**{**given, **options})

    @property
    def environment(self) -> dict[str, str]:
        """What to set for a program under test, so that its SDK finds the server."""
        return {
            "AZURE_OPENAI_ENDPOINT": self.endpoint,
            "AZURE_OPENAI_API_KEY": self.api_key,
            "OPENAI_API_VERSION": self.api_version,
        }


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the plugin's ini option."""
    parser.addini("linarite_config", "Settings file of the `linarite` fixture's server.")


@pytest.fixture(scope="session")
def linarite(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LinariteServer]:
    """A server for this test session, whose data is gone at its end."""
    folder = tmp_path_factory.mktemp("linarite")
    ready_file, log_file = folder / "ready.json", folder / "server.log"
    command = [sys.executable, "-m", "linarite", "serve", "--ephemeral", "--port", "0"]
    command += ["--ready-file", str(ready_file)]
    if config := request.config.getini("linarite_config"):
        command += ["--config", str(request.config.rootpath / config)]
    with log_file.open("wb") as log:
        server = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=request.config.rootpath
        )
    try:
        yield _wait_until_ready(server, ready_file, log_file)
    finally:
        _end(server)


def _wait_until_ready(
    server: "subprocess.Popen[bytes]", ready_file: Path, log_file: Path
) -> LinariteServer:
    deadline = time.monotonic() + _START_SECONDS
    while not ready_file.exists():
        if server.poll() is not None or time.monotonic() > deadline:
            pytest.fail(f"Linarite did not start:\n{log_file.read_text(errors='replace')}")
        time.sleep(0.05)
    return LinariteServer(**json.loads(ready_file.read_text()))


def _end(server: "subprocess.Popen[bytes]") -> None:
    if server.poll() is None:
        os.kill(server.pid, signal.SIGTERM)
    try:
        server.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()
