"""A server with a scripted trainer, and a worker behind it."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from tests.support.server import Server
from tests.support.tuning import Script, tuning_server


@pytest.fixture
def tuning(tmp_path: Path, database_url: str) -> Iterator[tuple[Server, Script]]:
    with tuning_server(tmp_path / "tuning", database_url=database_url) as made:
        yield made


@pytest.fixture
def server(tuning: tuple[Server, Script]) -> Server:
    """Nobody performs its tasks."""
    return tuning[0]


@pytest.fixture
def script(tuning: tuple[Server, Script]) -> Script:
    return tuning[1]


@pytest.fixture
def client(server: Server) -> Iterator[httpx.Client]:
    with server.client() as one:
        yield one


@pytest.fixture
def working(server: Server) -> Iterator[Server]:
    """The server with a worker."""
    with server.working():
        yield server
