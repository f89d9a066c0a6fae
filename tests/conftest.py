"""Fixtures that every folder of tests shares."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from tests.support.server import Server, running_server

pytest_plugins = ["tests.support.contract_plugin"]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A fresh server of this test's own."""
    with running_server(tmp_path / "data") as running:
        yield running


@pytest.fixture(scope="module")
def shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for a whole module, whose tests do not mind what the others leave behind."""
    with running_server(tmp_path_factory.mktemp("shared") / "data") as running:
        yield running


@pytest.fixture
def client(server: Server) -> Iterator[httpx.Client]:
    """A client of the test's own server."""
    with server.client() as one:
        yield one
