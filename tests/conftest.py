"""Fixtures that every folder of tests shares."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
import structlog
from tests.support.azurite import Azurite, running_azurite
from tests.support.postgres import Postgres, running_postgres
from tests.support.server import Server, running_server
from tests.support.sqlite import put_database

pytest_plugins = ["tests.support.contract_plugin"]

# structlog's own choice draws every frame with its variables, which takes seconds
structlog.configure(
    processors=[
        structlog.contextvars.merge_contextvars,
        structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback),
    ]
)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that share what is made once a module go to one worker of xdist: it is made once."""
    for item in items:
        if item.get_closest_marker("xdist_group") is None and _shares_with_its_module(item):
            item.add_marker(pytest.mark.xdist_group(item.nodeid.partition("::")[0]))


def _shares_with_its_module(item: pytest.Item) -> bool:
    asked: Mapping[str, Sequence[pytest.FixtureDef[Any]]]
    asked = getattr(item, "_fixtureinfo").name2fixturedefs  # noqa: B009 - pytest tells it nowhere else
    return any(found[-1].scope == "module" for found in asked.values())


@pytest.fixture
def server(tmp_path: Path, database_url: str) -> Iterator[Server]:
    """A fresh server of this test's own; nobody performs its tasks."""
    with running_server(tmp_path / "data", database_url=database_url) as running:
        yield running


@pytest.fixture
def system(server: Server) -> Iterator[Server]:
    """A fresh server of this test's own, and a worker for its tasks."""
    with server.working():
        yield server


@pytest.fixture(scope="module")
def shared_server(
    shared_database_url: str | None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """One server for a whole module, whose tests do not mind what the others leave behind."""
    data = tmp_path_factory.mktemp("shared") / "data"
    with running_server(data, database_url=shared_database_url) as running:
        yield running


@pytest.fixture
def client(server: Server) -> Iterator[httpx.Client]:
    """A client of the test's own server."""
    with server.client() as one:
        yield one


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL server for the whole session; each test takes a database of its own."""
    with running_postgres() as running:
        yield running


@pytest.fixture(scope="session")
def azurite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Azurite]:
    """Azure Storage's emulator for the whole session; each test takes a container of its own."""
    with running_azurite(tmp_path_factory.mktemp("azurite")) as running:
        yield running


@pytest.fixture
def postgres_url(postgres: Postgres) -> Iterator[str]:
    """The URL of a database of this test's own on PostgreSQL, with nothing in it."""
    with postgres.database() as url:
        yield url


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def shared_database_url(request: pytest.FixtureRequest) -> Iterator[str | None]:
    """The URL of a database for a module, of each kind in turn; None: SQLite in the data folder."""
    if request.param == "sqlite":
        yield None
        return
    with request.getfixturevalue("postgres").database() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgres"])
def empty_database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a database without tables, of each kind in turn."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'linarite.sqlite3'}"
        return
    with request.getfixturevalue("postgres").database(empty=True) as url:
        yield url


@pytest.fixture(params=["sqlite", "postgres"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a database with every table and nothing in them, of each kind in turn."""
    if request.param == "sqlite":
        put_database(tmp_path / "linarite.sqlite3")
        return f"sqlite:///{tmp_path / 'linarite.sqlite3'}"
    return str(request.getfixturevalue("postgres_url"))
