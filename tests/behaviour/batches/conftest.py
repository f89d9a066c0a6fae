"""A system for batches: real storage and queue, a scripted engine, tasks stepped by hand."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import pytest
from tests.support.running_engine import RunningEngine, scripted_engine

from linarite.engines.place import ModelPlace
from linarite.engines.tokens import Tokens
from linarite.http.auth import Keys
from linarite.resources.batches.deployed import DeployedEngines, TokenCounts
from linarite.resources.batches.records import BatchRecord
from linarite.resources.batches.service import Batches
from linarite.resources.batches.tasks import Work
from linarite.resources.deployments.service import Deployments
from linarite.resources.files.repository import FileRecord
from linarite.resources.files.rules import NewFile
from linarite.resources.files.service import Files
from linarite.resources.indexes.service import Indexes
from linarite.resources.inference.grounding import Grounding
from linarite.resources.inference.service import Inference
from linarite.resources.models.records import ModelRecord
from linarite.resources.models.service import Models
from linarite.resources.stored_completions.service import StoredCompletions
from linarite.settings import (
    BatchSettings,
    DeploymentEntry,
    LimitSettings,
    OutboundSettings,
    StoredCompletionSettings,
    Upstream,
)
from linarite.storage.blobs import BlobStore
from linarite.storage.database import Database
from linarite.storage.secrets import Secrets, kept_key
from linarite.tasks import schema as task_schema
from linarite.tasks.queue import Queue
from linarite.tasks.task import HandedBack
from linarite.wire.batches import BatchCreateRequest
from linarite.wire.files import Purpose

RESOURCE = "default"


@dataclass
class Clock:
    """A clock that a test sets."""

    seconds: int = 1_750_000_000

    def now(self) -> int:
        return self.seconds


@dataclass
class Ticket:
    """A ticket that a test can revoke."""

    attempt: int = 0
    is_revoked: bool = False

    def check(self) -> None:
        if self.is_revoked:
            raise HandedBack

    def wait(self, seconds: float) -> None:
        time.sleep(seconds)
        self.check()

    def guard(self, tx: object) -> None:
        self.check()


@dataclass
class BatchSystem:
    """Batches over real parts; `validate`, `run` and `settle` are the worker's steps."""

    batches: Batches
    work: Work
    clock: Clock
    engine: RunningEngine
    ticket: Ticket = field(default_factory=Ticket)

    def upload(self, data: bytes, resource: str = RESOURCE) -> FileRecord:
        async def pieces() -> AsyncIterator[bytes]:
            yield data

        stored = asyncio.run(self.batches.blobs.write(pieces()))
        return self.batches.files.create(NewFile(resource, Purpose.BATCH, "in.jsonl"), stored)

    def create(self, *lines: Any, resource: str = RESOURCE, **changes: Any) -> BatchRecord:
        return self.create_over(self.upload(jsonl(*lines), resource), resource, **changes)

    def create_over(
        self, file: FileRecord, resource: str = RESOURCE, **changes: Any
    ) -> BatchRecord:
        body = {
            "input_file_id": file.id,
            "endpoint": "/v1/chat/completions",
            "completion_window": "24h",
        } | changes
        record, self.tokens = self.batches.create(resource, BatchCreateRequest(**body))
        return record

    def validate(self, batch: BatchRecord) -> BatchRecord:
        self.work.validate(batch.id, self.ticket)
        return self.now(batch)

    def run(self, batch: BatchRecord) -> BatchRecord:
        self.work.run(batch.id, self.ticket)
        return self.now(batch)

    def settle(self, batch: BatchRecord) -> BatchRecord:
        self.work.settle(batch.id, self.ticket)
        return self.now(batch)

    def finish(self, *lines: Any, **changes: Any) -> BatchRecord:
        """Create a batch and take it to its end."""
        batch = self.validate(self.create(*lines, **changes))
        return self.run(batch)

    def now(self, batch: BatchRecord) -> BatchRecord:
        return self.batches.get(batch.resource, batch.id)

    def content(self, file_id: str | None, resource: str = RESOURCE) -> list[dict[str, Any]]:
        """The lines of a file, also of one that is still being written."""
        content = self.batches.files.content(resource, file_id or "")
        live = content.live
        pieces = live if live is not None else self.batches.blobs.read(content.blob.extents)
        return [orjson.loads(line) for line in b"".join(pieces).splitlines()]


def line(number: int, text: str | None = None, **body: Any) -> dict[str, Any]:
    """One good line, asking `text` of the deployment `chat`."""
    content = f"question {number}" if text is None else text
    messages = [{"role": "user", "content": content}]
    return {
        "custom_id": f"task-{number}",
        "method": "POST",
        "url": "/chat/completions",
        "body": {"model": "chat", "messages": messages} | body,
    }


def jsonl(*lines: Any) -> bytes:
    texts = [one if isinstance(one, bytes) else orjson.dumps(one) for one in lines]
    return b"".join(text + b"\n" for text in texts)


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningEngine]:
    with scripted_engine(tmp_path_factory.mktemp("engine")) as running:
        yield running


@contextmanager
def batch_system(
    folder: Path, database_url: str, engine: RunningEngine, **settings: Any
) -> Iterator[BatchSystem]:
    """A system over a database of its own; `settings` are those of batches, and a few others."""
    limits = settings.pop("limits", {})
    token_limit = settings.pop("enqueued_token_limit", 1_000_000)
    database = Database(database_url)
    try:
        database.migrate()
        task_schema.migrate(database)
        yield _system(
            folder,
            database,
            engine,
            LimitSettings(**limits),
            BatchSettings(**settings),
            DeploymentEntry(name="chat", model="tiny", enqueued_token_limit=token_limit),
        )
    finally:
        database.close()


@pytest.fixture
def make(tmp_path: Path, database_url: str, engine: RunningEngine) -> Iterator[Any]:
    """Makes a system with settings of the test's own."""
    engine.steer(delay_ms=0, every="", limit=None)
    engine.forget()
    with ExitStack() as stack:
        yield lambda **settings: stack.enter_context(
            batch_system(tmp_path, database_url, engine, **settings)
        )


@pytest.fixture
def system(make: Any) -> BatchSystem:
    return make()


def _system(
    folder: Path,
    database: Database,
    engine: RunningEngine,
    limits: LimitSettings,
    settings: BatchSettings,
    entry: DeploymentEntry,
) -> BatchSystem:
    clock = Clock()
    blobs = BlobStore((folder / "blobs").as_uri())
    queue = Queue(database)
    files = Files(database, blobs, queue, clock, limits, Secrets(kept_key(folder)))
    upstream = Upstream(base_url=engine.base_url)
    models = Models(list, [ModelRecord("tiny", "chat", upstream=upstream)])
    deployments = Deployments(database, models, clock, [entry])
    deployments.sync()

    def place_of(model: ModelRecord) -> ModelPlace:
        return ModelPlace(model.id, upstream=model.upstream)

    inference = Inference(deployments, place_of)
    counts = TokenCounts(Tokens(), place_of)
    batches = Batches(database, blobs, files, deployments, queue, clock, limits, settings, counts)
    files.live[Purpose.BATCH_OUTPUT] = batches.live_content
    keys, indexes = Keys(database), Indexes(folder / "indexes", limits)
    grounding = Grounding(inference, Tokens(), keys, indexes, OutboundSettings(), [])
    engines = DeployedEngines(
        folder / "no.sock",
        place_of,
        inference.prepare,
        inference.settle,
        inference.to_store,
        grounding.ground,
    )
    stored = StoredCompletions(database, clock, StoredCompletionSettings())
    work = Work(batches, engines, stored.add)
    return BatchSystem(batches, work, clock, engine)
