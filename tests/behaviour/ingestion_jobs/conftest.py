"""Servers on which jobs are made; nobody performs their tasks."""

import secrets
from collections.abc import Iterator

import httpx
import pytest
from tests.support.ingestion_jobs import NAMED, ingesting_server
from tests.support.server import Server, running_server


@pytest.fixture(scope="module")
def named(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for a module whose tests are about definitions, not about rows."""
    with ingesting_server(tmp_path_factory.mktemp("ingestion") / "data") as server:
        yield server


@pytest.fixture
def caller(named: Server) -> Iterator[httpx.Client]:
    """A caller of that server to whom nothing belongs yet."""
    with named.client(key=named.add_key(secrets.token_hex(8))) as one:
        yield one


@pytest.fixture(scope="module")
def shared_jobs(
    shared_database_url: str | None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """One server a module, on each database in turn."""
    folder = tmp_path_factory.mktemp("jobs") / "data"
    with running_server(folder, database_url=shared_database_url, **NAMED) as server:
        yield server


@pytest.fixture
def tenant(shared_jobs: Server) -> Iterator[httpx.Client]:
    """A caller of that server to whom nothing belongs yet."""
    with shared_jobs.client(key=shared_jobs.add_key(secrets.token_hex(8))) as one:
        yield one
