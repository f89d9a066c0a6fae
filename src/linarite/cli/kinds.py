"""The three kinds of process, each as one function that runs until SIGTERM or SIGINT.

The supervisor forks them; `linarite api|worker|engines` are them.
"""

import os
import signal
import socket
import threading
from collections.abc import Callable
from types import FrameType

import uvicorn

from linarite import bootstrap
from linarite.app import create_app
from linarite.cli import logs
from linarite.http.serving import server_config
from linarite.settings import Settings, TlsFiles
from linarite.tasks import schema
from linarite.tasks.queue import Queue


def run_api(
    settings: Settings,
    listening: socket.socket,
    tls: TlsFiles | None,
    on_ready: Callable[[], None] = lambda: None,
) -> None:
    """Serve HTTP on a bound socket; `on_ready` is called once it answers."""
    logs.configure(settings, "api")
    built = bootstrap.build(settings)
    built.database.check_version()
    schema.check_version(built.database)
    options = {"ssl_certfile": str(tls.cert), "ssl_keyfile": str(tls.key)} if tls else {}
    # uvicorn raises the signal that ended it once more, for handlers that were there before
    _on_stop(lambda: None)
    config = server_config(create_app(built), **options)
    _Api(config, built.queue, on_ready).run(sockets=[listening])


class _Api(uvicorn.Server):
    """uvicorn that, once it answers, loads what the first enqueueing call would wait for."""

    def __init__(self, config: uvicorn.Config, queue: Queue, on_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._queue = queue
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._on_ready()
        threading.Thread(target=self._queue.open, name="open-queue", daemon=True).start()


def run_worker(settings: Settings) -> None:
    """Perform durable work."""
    logs.configure(settings, "worker")
    from linarite import worker  # late: DBOS takes a second, which the API need not wait for

    stop = threading.Event()
    _on_stop(stop.set)
    worker.run(bootstrap.build(settings), stop)
    os._exit(0)


def run_engines(settings: Settings) -> None:
    """Host the embedded engines of this machine."""
    logs.configure(settings, "engines")
    from linarite.engines import host  # late: only this kind needs it

    host.main(settings)


def _on_stop(call: Callable[[], None]) -> None:
    def handle(_signal: int, _frame: FrameType | None) -> None:
        call()

    signal.signal(signal.SIGTERM, handle)
    signal.signal(signal.SIGINT, handle)
