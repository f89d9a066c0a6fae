"""The engine host: starts, watches, evicts and ends the embedded engines of its machine.

It listens on a Unix socket that only its user can open:

    POST /reach  {"id", "folder", "deterministic", "doubted"}
                                the address of a model's engine, started if need be
    POST /stop   {"folder"}     ends a model's engines
    GET  /engines               what runs
    GET  /health

A model has one engine that answers many requests at once, and another one, where a deployment asks
for it, that answers one at a time and each the same again.

Requests to models do not pass through it.
"""

import asyncio
import contextlib
import os
import signal
import stat
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import structlog
import uvloop
from aiohttp import web

from linarite.engines import extra, place
from linarite.engines.bodies import reply
from linarite.engines.installed import folder_of, read_model
from linarite.engines.process import EngineProcess, listen_privately
from linarite.engines.refusals import EngineFailure
from linarite.errors import LinariteError
from linarite.settings import Settings

_LOOK_SECONDS = 5.0
_END_SECONDS = 5.0
_LEAVE_SECONDS = 60.0
"""How long one that takes leave may go on answering where its memory is wanted."""
_LONGEST_PAUSE_SECONDS = 30.0

log = structlog.get_logger("linarite.engines")


@dataclass(frozen=True)
class HostOptions:
    """What a host needs to know."""

    data: Path
    models: Path
    slots: int = 64
    memory_bytes: int | None = None
    """Budget of all engines together; None: half of the machine's memory."""
    start_seconds: float = 120.0
    structures_bytes: int = 512 << 20
    """What an engine may keep of structures before it is renewed, when it is idle."""


def options_of(settings: Settings) -> HostOptions:
    """The host's part of the settings."""
    engines = settings.engines
    return HostOptions(
        settings.data,
        place.models_folder(settings),
        engines.slots,
        engines.memory_bytes,
        engines.start_seconds,
    )


@dataclass(frozen=True)
class EngineKey:
    """Which engine: a model's folder, and whether the deterministic one of the two."""

    folder: Path
    is_deterministic: bool = False


class Host:
    """The engines of one machine."""

    def __init__(self, options: HostOptions) -> None:
        self._options = options
        self._run = place.run_folder(options.data)
        self.budget_bytes = options.memory_bytes or _half_of_memory()
        self._engines: dict[EngineKey, EngineProcess] = {}
        self._starts: dict[EngineKey, asyncio.Task[EngineProcess]] = {}
        self._failures: dict[EngineKey, tuple[int, float]] = {}
        self._room = asyncio.Lock()

    async def reach(self, key: EngineKey, doubted: int | None = None) -> EngineProcess:
        """The running engine of a model; concurrent askers share one start.

        Args:
            key: which engine.
            doubted: process id of an engine that did not answer the asker; it is looked at first.

        Raises:
            ModelMissing: the folder holds no whole model.
            EngineFailure: it does not start, or there is no memory for it now.
            ExtraMissing: the embedded engine is not part of this installation.
        """
        engine = self._engines.get(key)
        is_doubted = engine is not None and engine.is_alive and engine.pid == doubted
        if engine is not None and is_doubted and not await engine.is_answering():
            engine.kill()
            await engine.wait()
        if engine is not None and engine.is_alive:
            engine.asked_at = time.monotonic()
            return engine
        start = self._starts.get(key)
        if start is None:
            extra.require()
            self._refuse_during_pause(key)
            start = asyncio.create_task(self._start(key))
            self._starts[key] = start
            start.add_done_callback(lambda done: self._started(key, done))
        return await asyncio.shield(start)

    async def stop(self, folder: Path) -> bool:
        """End a model's engines; whether any ran."""
        keys = [key for key in self._engines if key.folder == folder]
        await asyncio.gather(*(self._end(key) for key in keys))
        return bool(keys)

    async def end(self) -> None:
        """End every engine."""
        for start in list(self._starts.values()):
            start.cancel()
        engines, self._engines = list(self._engines.values()), {}
        await asyncio.gather(*(engine.end(_END_SECONDS) for engine in engines))

    async def watch(self) -> None:
        """Replace engines that died, end those that hang; for ever."""
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            for engine in list(self._engines.values()):
                if engine.is_alive and not await engine.is_healthy():
                    log.warning("engine_hangs", model=engine.model.id, pid=engine.pid)
                    engine.kill()

    def state(self) -> list[dict[str, Any]]:
        """Every engine, for people and tests."""
        return [
            {
                "id": engine.model.id,
                "folder": str(key.folder),
                "deterministic": key.is_deterministic,
                "pid": engine.pid,
                "state": "running" if engine.is_alive else "dead",
                "memory_bytes": engine.model.memory_bytes,
                "idle_seconds": round(time.monotonic() - engine.asked_at, 1),
            }
            for key, engine in self._engines.items()
        ]

    async def _end(self, key: EngineKey) -> None:
        engine = self._engines.pop(key, None)
        if engine is not None:  # nobody else is ending it
            await engine.end(_LEAVE_SECONDS if engine.is_leaving else _END_SECONDS)

    async def _start(self, key: EngineKey) -> EngineProcess:
        model = read_model(key.folder)
        async with self._room:
            await self._make_room(model.memory_bytes)
            engine = EngineProcess(
                model,
                self._run,
                self._options.slots,
                self._options.structures_bytes,
                is_deterministic=key.is_deterministic,
            )
            self._engines[key] = engine
        try:
            await engine.start(self._options.start_seconds)
        except LinariteError:
            self._engines.pop(key, None)
            raise
        log.info("engine_started", model=model.id, pid=engine.pid)
        asyncio.create_task(self._replace_when_dead(key, engine))  # noqa: RUF006 - it ends itself
        return engine

    def _started(self, key: EngineKey, done: "asyncio.Task[EngineProcess]") -> None:
        del self._starts[key]
        if done.cancelled():
            return
        error = done.exception()
        if error is None:
            self._failures.pop(key, None)
            return
        failures, _ = self._failures.get(key, (0, 0.0))
        self._failures[key] = (failures + 1, time.monotonic())
        log.error("engine_failed_to_start", model=key.folder.name, reason=str(error))

    def _refuse_during_pause(self, key: EngineKey) -> None:
        """A model whose engine fails to start again and again is not tried at every request."""
        failures, at = self._failures.get(key, (0, 0.0))
        pause = min(2.0 ** (failures - 1), _LONGEST_PAUSE_SECONDS) if failures else 0.0
        left = at + pause - time.monotonic()
        if left > 0:
            raise EngineFailure(
                f"The engine of this model failed to start {failures} times; it is tried again in "
                f"{left:.0f} seconds.",
                headers={"retry-after": str(max(1, round(left)))},
            )

    async def _replace_when_dead(self, key: EngineKey, engine: EngineProcess) -> None:
        """When an engine ends unasked, start another, so that it is there when it is wanted."""
        status = await engine.wait()
        if self._engines.get(key) is not engine:
            return
        if status == 0:  # it had grown and was idle
            log.info("engine_renewed", model=engine.model.id)
        else:
            log.warning("engine_died", model=engine.model.id, status=status)
        try:
            await self.reach(key)
        except LinariteError as error:
            log.error("engine_not_replaced", model=engine.model.id, reason=error.message)

    async def _make_room(self, wanted: int) -> None:
        """End the least used engines until the wanted memory is within the budget.

        Raises:
            EngineFailure: those that would have to go are answering.
        """
        by_use = sorted(self._engines.items(), key=lambda item: item[1].asked_at)
        for key, engine in by_use:
            used = sum(one.model.memory_bytes for one in self._engines.values())
            if used + wanted <= self.budget_bytes:
                return
            if not engine.is_alive or not await engine.is_busy():
                log.info("engine_evicted", model=engine.model.id)
                await self._end(key)
        used = sum(one.model.memory_bytes for one in self._engines.values())
        if self._engines and used + wanted > self.budget_bytes:
            raise EngineFailure(
                f"The engines that run take {used >> 20} MB and are busy; this model needs "
                f"{wanted >> 20} MB more than the budget of {self.budget_bytes >> 20} MB allows "
                "([engines] memory_bytes).",
                headers={"retry-after": "5"},
            )


def application(host: Host, models: Path) -> web.Application:
    """The host's routes."""

    async def reach(request: web.Request) -> web.Response:
        asked = orjson.loads(await request.read())
        folder = Path(asked["folder"]) if asked.get("folder") else folder_of(models, asked["id"])
        key = EngineKey(folder, bool(asked.get("deterministic")))
        engine = await host.reach(key, asked.get("doubted"))
        model = engine.model
        return reply(
            {
                "id": model.id,
                "kind": model.kind,
                "socket": str(engine.socket),
                "slots": engine.slots,
                "context_tokens": model.context_tokens,
                "pid": engine.pid,
            }
        )

    async def stop(request: web.Request) -> web.Response:
        asked = orjson.loads(await request.read())
        return reply({"stopped": await host.stop(Path(asked["folder"]))})

    async def engines(request: web.Request) -> web.Response:
        return reply({"pid": os.getpid(), "engines": host.state()})

    async def health(request: web.Request) -> web.Response:
        return reply({"status": "ok", "pid": os.getpid()})

    app = web.Application(middlewares=[_render_errors])
    app.add_routes(
        [
            web.post("/reach", reach),
            web.post("/stop", stop),
            web.get("/engines", engines),
            web.get("/health", health),
        ]
    )
    return app


async def run_host(options: HostOptions) -> None:
    """Serve until SIGTERM or SIGINT, then end every engine.

    Raises:
        EngineFailure: another host serves this data folder.
    """
    path = place.host_socket(options.data)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    _refuse_anothers_folder(path.parent)
    await _refuse_second_host(path)
    host = Host(options)
    runner = web.AppRunner(
        application(host, options.models), access_log=None, shutdown_timeout=_END_SECONDS
    )
    await runner.setup()
    await listen_privately(runner, path)
    stopped = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, stopped.set)
    watching = asyncio.create_task(host.watch())
    log.info("engine_host_ready", socket=str(path), budget_mb=host.budget_bytes >> 20)
    await stopped.wait()
    watching.cancel()
    path.unlink(missing_ok=True)
    await host.end()
    await runner.cleanup()
    with contextlib.suppress(OSError):
        path.parent.rmdir()  # where the sockets had a folder of their own, and left nothing in it


def main(settings: Settings) -> None:
    """`linarite engines`: run this machine's engine host until it is told to stop."""
    uvloop.run(run_host(options_of(settings)))


@web.middleware
async def _render_errors(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    try:
        return await handler(request)
    except LinariteError as error:
        refused = error
    except Exception as error:  # who asks can read nothing but a refusal of ours
        log.error("engine_host_failed", exc_info=error)
        refused = EngineFailure("The engine host failed; its log tells why.")
    body = {"error": {"kind": type(refused).__name__, "message": refused.message}}
    return reply(body, status=refused.status, headers=refused.headers)


def _refuse_anothers_folder(folder: Path) -> None:
    """Sockets may lie in the shared temporary folder, where anyone could have been first."""
    found = folder.lstat()
    if found.st_uid != os.getuid() or not stat.S_ISDIR(found.st_mode):
        raise EngineFailure(f"{folder} belongs to someone else; choose another data folder.")
    folder.chmod(0o700)


async def _refuse_second_host(path: Path) -> None:
    try:
        _, writer = await asyncio.open_unix_connection(str(path))
    except (FileNotFoundError, ConnectionError):
        path.unlink(missing_ok=True)
        return
    writer.close()
    raise EngineFailure(f"Another engine host serves this data folder ({path}).")


def _half_of_memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
