"""A server on each database whose runs work with stand-ins, in a folder for each test's job."""

import secrets
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from tests.support.files import until
from tests.support.ingestion_parts import Standing
from tests.support.server import Server, running_server

from linarite.resources.ingestion.parts import Parts
from linarite.resources.ingestion.service import Ingestion
from linarite.resources.ingestion.tasks import Work
from linarite.wire.ingestion import IngestionJob, IngestionJobRun, OperationState

RESOURCE = "default"
ENDED = {OperationState.SUCCEEDED, OperationState.FAILED}


@dataclass
class World:
    """A server with a worker, and what the runs of its jobs work with."""

    server: Server
    standings: dict[str, Standing] = field(default_factory=dict)

    def open(self, resource: str, job: IngestionJob) -> AbstractContextManager[Parts]:
        return self.standings[str(job.job_id)].open(resource, job)


@dataclass
class Job:
    """A job of a test's own."""

    id: str
    runs: Ingestion
    standing: Standing
    last: str = ""

    def put(self, container: str = "documents") -> str:
        """Make it, or run it again; the run's id."""
        source = {
            "kind": "Storage",
            "connection": {"kind": "RelativeConnection"},
            "containerName": container,
            "embeddings": [],
        }
        if self.standing.crawls:
            source |= {"kind": "Urls", "urls": ["https://site.test/"]}
        body = IngestionJob.model_validate({"kind": "SystemCompute", "datasource": source})
        self.last = self.runs.put(RESOURCE, self.id, body)[1].id
        return self.last

    def now(self) -> IngestionJobRun:
        """The last run as it stands."""
        return self.runs.run(RESOURCE, self.id, self.last)

    def ended(self, within_seconds: float = 30) -> IngestionJobRun:
        """The last run once it is over."""
        until(lambda: self.now().status in ENDED, "the run ended", within_seconds)
        return self.now()

    def run(self, container: str = "documents") -> IngestionJobRun:
        """Put it and wait for its end."""
        self.put(container)
        return self.ended()

    def retry(self) -> IngestionJobRun:
        """Retry what failed, and wait for the end."""
        self.last = self.runs.retry_failed(RESOURCE, self.id).id
        return self.ended()


@pytest.fixture(scope="module")
def world(
    shared_database_url: str | None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("ingestion")
    with running_server(
        folder / "data",
        database_url=shared_database_url,
        ingestion={"running": 8, "documents": 200},
    ) as server:
        made = World(server)
        work = Work(server.built.parts[Ingestion], made.open)
        tasks = [replace(task, retry_seconds=0.05) for task in work.tasks()]
        made.server = replace(server, built=replace(server.built, tasks=tasks, schedules=[]))
        with made.server.working():
            yield made


@pytest.fixture
def job(world: World, tmp_path: Path) -> Job:
    one = f"job-{secrets.token_hex(4)}"
    world.standings[one] = Standing(tmp_path / "standing")
    return Job(one, world.server.built.parts[Ingestion], world.standings[one])
