"""A whole server that a test talks to: uvicorn on a free port, over real storage, in this process.

`running_server(folder, …)` for a test with settings of its own; the fixtures `server` (fresh for
each test) and `shared_server` (one for a module whose tests do not mind each other) for all others,
each on SQLite and on PostgreSQL; `system` is a server whose tasks are performed too.
"""

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import openai
import uvicorn
from tests.support.contract_answers import ANSWERS
from tests.support.recording import Answer, Recording
from tests.support.sqlite import put_database

from linarite.app import create_app
from linarite.bootstrap import Built, build
from linarite.http.auth import put_key
from linarite.http.serving import server_config
from linarite.settings import Settings
from linarite.tasks import schema as task_schema

API_VERSION = "2025-02-01-preview"
KEY = "the-key-of-the-default-resource"


@dataclass
class Server:
    """A running server: where it is, how to call it, and what stands behind it."""

    url: str
    key: str
    built: Built = field(repr=False)
    answers: list[Answer] = field(default_factory=list, repr=False)
    """Every answer it gave."""

    def note(self, answer: Answer) -> None:
        """Keep an answer and hold it against the contract."""
        self.answers.append(answer)
        ANSWERS.note(answer)

    @property
    def settings(self) -> Settings:
        """What it was started with."""
        return self.built.settings

    def client(self, *, key: str | None = None, **options: Any) -> httpx.Client:
        """An HTTP client whose paths are relative to the server and carry key and api-version.

        Args:
            key: instead of the default resource's; an empty one sends none.
            options: further options of httpx.Client.
        """
        key = self.key if key is None else key
        headers = ({"api-key": key} if key else {}) | options.pop("headers", {})
        params = {"api-version": API_VERSION} | options.pop("params", {})
        return httpx.Client(
            base_url=self.url, headers=headers, params=params, timeout=30, **options
        )

    def sdk(self, *, key: str | None = None, **options: Any) -> openai.AzureOpenAI:
        """The official client, as a user makes it; without retries unless told otherwise."""
        return openai.AzureOpenAI(
            azure_endpoint=self.url,
            api_key=key or self.key,
            api_version=API_VERSION,
            **{"max_retries": 0, "timeout": 30} | options,
        )

    def v1(self, *, key: str | None = None, **options: Any) -> openai.OpenAI:
        """The official client for plain OpenAI, on ``/openai/v1``."""
        return openai.OpenAI(
            base_url=f"{self.url}/openai/v1/",
            api_key=key or self.key,
            **{"max_retries": 0, "timeout": 30} | options,
        )

    def add_key(self, resource: str, key: str | None = None) -> str:
        """Open another resource; gives its key."""
        key = key or f"the-key-of-the-resource-{resource}"
        with self.built.database.transaction() as tx:
            put_key(tx, resource=resource, name="first", key=key, now=int(time.time()))
        return key

    @contextmanager
    def working(self) -> Iterator[None]:
        """Perform the server's tasks, in this process, until the block ends."""
        from linarite.tasks.worker import Worker  # late: it loads for a second

        settings = self.settings.tasks.model_copy(update={"poll_seconds": 0.02})
        worker = Worker(self.built.database, self.built.tasks, self.built.schedules, settings)
        worker.start()
        try:
            yield
        finally:
            worker.stop(within_seconds=20)
            worker.close()


@contextmanager
def running_server(
    folder: Path,
    *,
    database_url: str | None = None,
    options: dict[str, Any] | None = None,
    **settings: Any,
) -> Iterator[Server]:
    """Start a server on `folder`; stop it when the block ends.

    Args:
        folder: its data folder, made when it is not there.
        database_url: an SQLAlchemy URL; by default SQLite in the folder.
        options: further ones for uvicorn, such as a certificate.
        settings: sections of the settings as dicts, such as ``limits={"json_body_bytes": 1000}``.
    """
    # of its own, whatever the environment names: tests with real models say so
    settings = {"models_dir": folder / "models"} | settings
    built = build(Settings(data=folder, database_url=database_url, **settings))
    if built.database.is_sqlite:
        put_database(Path(str(built.database.url.database)))
    built.database.migrate()
    task_schema.migrate(built.database)
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        scheme = "https" if built.settings.server.tls else "http"
        address = f"{scheme}://127.0.0.1:{listening.getsockname()[1]}"
        server = Server(address, KEY, built)
        server.add_key("default", KEY)
        app = Recording(create_app(built), server.note)
        try:
            with _serving(server_config(app, **options or {}), listening):
                yield server
        finally:
            built.database.close()


class _Server(uvicorn.Server):
    """Looks a hundred times a second whether it shall stop: tests stop hundreds of servers."""

    async def main_loop(self) -> None:
        counter = 0
        while not await self.on_tick(counter // 10):
            await asyncio.sleep(0.01)
            counter += 1


@contextmanager
def _serving(config: uvicorn.Config, listening: socket.socket) -> Iterator[None]:
    uvicorn_server = _Server(config)
    thread = threading.Thread(
        target=uvicorn_server.run, kwargs={"sockets": [listening]}, name="uvicorn"
    )
    thread.start()
    try:
        deadline = time.monotonic() + 20
        while not uvicorn_server.started:
            if not thread.is_alive() or time.monotonic() > deadline:
                raise RuntimeError("The server did not start.")
            time.sleep(0.005)
        yield
    finally:
        uvicorn_server.should_exit = True
        thread.join(20)
        if thread.is_alive():
            raise RuntimeError("The server did not stop.")
