"""A server with a scripted trainer, and a worker behind it."""

import secrets
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest
import sqlalchemy as sa
from tests.support.files import until
from tests.support.server import Server
from tests.support.tuning import Script, tuning_server

from linarite.storage.tables import fine_tuning_jobs
from linarite.tasks import rows


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


@pytest.fixture(scope="module")
def shared_tuning(
    shared_database_url: str | None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """One server for a whole module; nobody performs its tasks."""
    folder = tmp_path_factory.mktemp("tuning")
    with tuning_server(folder, database_url=shared_database_url) as (server, _):
        yield server


@pytest.fixture
def tenant(shared_tuning: Server) -> Iterator[httpx.Client]:
    """A caller of the module's server to whom nothing belongs yet."""
    key = shared_tuning.add_key(secrets.token_hex(8))
    with shared_tuning.client(key=key) as one:
        yield one


@pytest.fixture
def working(server: Server) -> Iterator[Server]:
    """The server with a worker; every job is brought to its end.

    What a worker hands back somebody has to take: DBOS waits for that in this process otherwise.
    """
    with server.working():
        yield server
        until(lambda: all_are_over(server), "every job is over", 60)


def all_are_over(server: Server) -> bool:
    data = server.settings.data
    for folder in (data / "fine-tuning").glob("ftjob-*"):
        with suppress(FileNotFoundError):
            (folder / "go").touch()
    query = sa.select(fine_tuning_jobs.c.id).where(
        fine_tuning_jobs.c.status.in_(("pending", "running"))
    )
    with server.built.database.reading() as connection:
        is_open = connection.execute(query).first() is not None
    return not is_open and not rows.busy_executors(server.built.database)
