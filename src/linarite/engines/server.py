"""An embedded engine's HTTP process: one model, the OpenAI dialect, a Unix socket.

    python -m linarite.engines.server FOLDER SOCKET SLOTS STRUCTURES_BYTES [deterministic]

The socket appears when the model is loaded. When the stepper ends, whoever waits is answered 503
with `retry-after`, and this process ends too: the host starts a new pair. So it does where this
process ends itself because more than STRUCTURES_BYTES are kept of structures, which only an end
gives back. It is idle then or, at twice as much, lets new requests go to the next pair and answers
those that it has.
"""

import asyncio
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import uvloop
from aiohttp import web

from linarite.engines import dialect
from linarite.engines.bodies import reply
from linarite.engines.connections import KEPT_EMBEDDED_SECONDS
from linarite.engines.embedding_engine import EmbeddingEngine
from linarite.engines.generation import Stepping, exit_now
from linarite.engines.installed import InstalledModel, read_model
from linarite.engines.process import listen_privately
from linarite.engines.sampling import DETERMINISTIC
from linarite.engines.text_engine import TextEngine
from linarite.errors import InferenceRefused, LinariteError
from linarite.lifeline import die_with_parent

_MOST_BODY_BYTES = 64 << 20
_STALLED_SECONDS = 120.0
_FAREWELL_SECONDS = 1.0
_ANSWERED_SECONDS = 60.0
"""How long those who are being answered are waited for on SIGTERM; the host may kill before."""
_FLUSH_SECONDS = 0.05
_LOOK_SECONDS = 0.25

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class _Presence:
    """Who is being answered, and whether an engine takes leave of them."""

    askers: int = 0
    is_leaving: bool = False

    def leave(self, path: Path) -> None:
        """Let new connections go to the next engine; its socket may lie there soon."""
        if not self.is_leaving:
            path.unlink(missing_ok=True)
        self.is_leaving = True


def application(
    engine: TextEngine | EmbeddingEngine,
    slots: int,
    stepping: Stepping | None,
    presence: _Presence,
) -> web.Application:
    """The engine's routes, with what its host asks."""
    model = engine.model

    @web.middleware
    async def note(request: web.Request, handler: Handler) -> web.StreamResponse:
        presence.askers += 1
        try:
            return await handler(request)
        finally:
            presence.askers -= 1

    async def part(request: web.Request, response: web.StreamResponse) -> None:
        if presence.is_leaving:
            response.force_close()
            response.headers["connection"] = "close"  # the others are made before this is called

    async def health(request: web.Request) -> web.Response:
        if stepping is not None and stepping.is_stalled(_STALLED_SECONDS):
            return reply({"status": "stalled"}, status=503)
        return reply({"status": "ok", "model": model.id, "pid": os.getpid()})

    async def models(request: web.Request) -> web.Response:
        entry = {"id": model.id, "object": "model", "created": 0, "owned_by": "linarite"}
        return reply({"object": "list", "data": [entry]})

    async def in_use(request: web.Request) -> web.Response:
        counts = stepping.counts if stepping is not None else {}
        return reply({"total": slots, "in_use": counts})

    app = web.Application(middlewares=[note, _render_errors], client_max_size=_MOST_BODY_BYTES)
    app.on_response_prepare.append(part)
    app.add_routes(engine.routes())
    app.add_routes(
        [web.get("/health", health), web.get("/v1/models", models), web.get("/slots", in_use)]
    )
    return app


@web.middleware
async def _render_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except InferenceRefused as error:
        return reply(dialect.error_body(error), status=error.status, headers=error.headers)
    except LinariteError as error:
        failed = InferenceRefused(error.message, kind="server_error", code="serviceUnavailable")
        headers = {"retry-after": "1", **error.headers}
        return reply(dialect.error_body(failed), status=503, headers=headers)
    except web.HTTPException as error:
        refused = InferenceRefused(error.reason or "The request is not valid.")
        return reply(dialect.error_body(refused), status=error.status)


async def serve(
    model: InstalledModel,
    path: Path,
    slots: int,
    structures_bytes: int,
    *,
    is_deterministic: bool = False,
) -> None:
    """Load the model, then listen until SIGTERM, until the stepper ends or has grown too much."""
    stepping: Stepping | None = None
    engine: TextEngine | EmbeddingEngine
    if model.kind == "chat":
        stepping = await Stepping.start(model, slots, is_deterministic=is_deterministic)
        engine = TextEngine(model, stepping, slots, is_deterministic=is_deterministic)
    else:
        engine = EmbeddingEngine(model, is_deterministic=is_deterministic)
    presence = _Presence()
    app = application(engine, slots, stepping, presence)
    runner = web.AppRunner(
        app, handler_cancellation=True, access_log=None, shutdown_timeout=_ANSWERED_SECONDS
    )
    await runner.setup()
    await listen_privately(runner, path)
    stopped = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, stopped.set)
    if stepping is None or isinstance(engine, EmbeddingEngine):
        await stopped.wait()
    else:
        leaving = asyncio.create_task(
            _leave_when_grown(engine, structures_bytes, presence, path, runner)
        )
        leaving.add_done_callback(lambda _: stopped.set())
        await _until_either_ends(stepping, stopped, presence, path)
        leaving.cancel()
    presence.leave(path)
    await runner.cleanup()
    if stepping is not None:
        stepping.kill()
    if isinstance(engine, TextEngine):
        engine.close()


async def _leave_when_grown(
    engine: TextEngine,
    structures_bytes: int,
    presence: _Presence,
    path: Path,
    runner: web.AppRunner,
) -> None:
    """Return when too much is kept of structures and nobody can be asking any more."""
    while engine.structures_bytes <= structures_bytes * (2 if presence.askers else 1):
        await asyncio.sleep(_LOOK_SECONDS)
    presence.leave(path)
    # A request may come over any connection that was kept, each of which ends with its answer.
    unused = time.monotonic() + KEPT_EMBEDDED_SECONDS + 1
    while presence.askers or (
        runner.server is not None and runner.server.connections and time.monotonic() < unused
    ):
        await asyncio.sleep(_LOOK_SECONDS)


async def _until_either_ends(
    stepping: Stepping, stopped: asyncio.Event, presence: _Presence, path: Path
) -> None:
    listening = asyncio.create_task(stepping.listen())
    waiting = asyncio.create_task(stopped.wait())
    await asyncio.wait([listening, waiting], return_when=asyncio.FIRST_COMPLETED)
    if not waiting.done():
        # Nobody new comes; those who were being answered get their 503 before the process goes.
        presence.leave(path)
        ends = time.monotonic() + _FAREWELL_SECONDS
        while stepping.is_wanted() and time.monotonic() < ends:
            await asyncio.sleep(_FLUSH_SECONDS)
        await asyncio.sleep(_FLUSH_SECONDS)
        exit_now(1)


def main() -> None:
    """Run one engine, with the arguments that this file begins with."""
    die_with_parent()
    folder, path, slots, structures_bytes, *more = sys.argv[1:]
    is_deterministic = more == [DETERMINISTIC]
    model = read_model(Path(folder))
    uvloop.run(
        serve(
            model,
            Path(path),
            int(slots),
            int(structures_bytes),
            is_deterministic=is_deterministic,
        )
    )


if __name__ == "__main__":
    main()
