"""The seam that inference and batches use: any model's engine over HTTP, wherever it is.

Bodies are bytes and pass through unread, but for the model's name and a batch's priority, which an
upstream needs to be told. Statuses pass through too; what cannot be reached is `EngineUnreachable`.
"""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import aiohttp
import orjson

from linarite.engines import refusals
from linarite.engines.place import ModelPlace
from linarite.engines.posting import Answer, NotConnected, Posts
from linarite.engines.refusals import EngineFailure, EngineUnreachable
from linarite.errors import LinariteError
from linarite.settings import Upstream

PRIORITY = "x-linarite-priority"
_CONNECT_SECONDS = 5.0
_HOST_SECONDS = 10.0
_LOOK_SECONDS = 0.05
_SILENCE_SECONDS = 600.0
_KEPT_UPSTREAM_SECONDS = 4.0
"""Idle connections are dropped before uvicorn's five seconds, after which it would drop them."""
_KEPT_EMBEDDED_SECONDS = 60.0
_FRESH_SECONDS = 2.0
"""How long an embedded engine's address is used before the host is asked (and told) again."""
_BATCH_PRIORITY = 10
T = TypeVar("T")
_BROKEN = (aiohttp.ClientError, ConnectionError, TimeoutError)


@dataclass(frozen=True)
class Reply:
    """A whole answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class StreamReply:
    """An answer whose body comes as it is made."""

    status: int
    headers: Mapping[str, str]
    chunks: AsyncIterator[bytes]


class Engines:
    """Every engine that this process talks to. One for each event loop; close it at the end.

    Args:
        host_socket: where the engine host of this machine listens (`place.host_socket`).
        host_seconds: how long to wait for it where it is not there: it starts after the API, and
            anew when it died.
    """

    def __init__(self, host_socket: Path, *, host_seconds: float = _HOST_SECONDS) -> None:
        self._host_socket = host_socket
        self._host_seconds = host_seconds
        self._sessions: dict[str, aiohttp.ClientSession] = {}
        self._posts: dict[str, Posts] = {}
        self._engines: dict[ModelPlace, Engine] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close every connection."""
        sessions, self._sessions = list(self._sessions.values()), {}
        for posts in self._posts.values():
            posts.close()
        self._posts.clear()
        self._engines.clear()
        await asyncio.gather(*(session.close() for session in sessions))

    async def reach(self, place: ModelPlace) -> "Engine":
        """The engine of a model; an embedded one is started if it does not run.

        Raises:
            ModelMissing: its files are not on this machine.
            EngineFailure: it does not start.
            EngineUnreachable: the engine host does not run.
        """
        engine = self._engines.get(place)
        if engine is None:
            made = _UpstreamEngine if place.upstream is not None else _EmbeddedEngine
            engine = self._engines.setdefault(place, made(self, place))
        await engine.prepare()
        return engine

    async def state(self) -> list[dict[str, Any]]:
        """The embedded engines that run, as their host tells it."""
        reply = await self.ask_host("GET", "/engines", None)
        engines: list[dict[str, Any]] = reply["engines"]
        return engines

    async def stop(self, place: ModelPlace) -> None:
        """End a model's embedded engine, so that its memory is free."""
        if place.folder is not None:
            await self.ask_host("POST", "/stop", {"folder": str(place.folder)})

    async def ask_host(self, method: str, path: str, body: dict[str, Any] | None) -> dict[str, Any]:
        """Ask the engine host; its refusals are raised here again."""
        session = self.session_on(self._host_socket)
        given = None if body is None else orjson.dumps(body)
        try:
            answer = await self._once_there(
                lambda: session.request(method, f"http://host{path}", data=given)
            )
            async with answer:
                known: dict[str, Any] = orjson.loads(await answer.read())
                if answer.status == 200:
                    return known
                retry = answer.headers.get("retry-after")
        except _BROKEN as error:
            raise EngineUnreachable(
                f"The engine host does not answer on {self._host_socket}: {error}",
                headers={"retry-after": "1"},
            ) from error
        raise _raised_by_host(known["error"], retry)

    async def _once_there(
        self, ask: Callable[[], Awaitable[aiohttp.ClientResponse]]
    ) -> aiohttp.ClientResponse:
        deadline = time.monotonic() + self._host_seconds
        while True:
            try:
                return await ask()
            except aiohttp.ClientConnectorError:
                if time.monotonic() >= deadline:
                    raise
            await asyncio.sleep(_LOOK_SECONDS)

    def session_on(self, socket: Path) -> aiohttp.ClientSession:
        """A pool of connections to a Unix socket."""
        key = str(socket)
        if key not in self._sessions:
            connector = aiohttp.UnixConnector(
                key, limit=0, keepalive_timeout=_KEPT_EMBEDDED_SECONDS
            )
            self._sessions[key] = _session(connector)
        return self._sessions[key]

    def posts_on(self, socket: Path) -> Posts:
        """Connections for whole answers of an engine on a Unix socket."""
        key = str(socket)
        if key not in self._posts:
            self._posts[key] = Posts("http://engine/v1", _KEPT_EMBEDDED_SECONDS, socket)
        return self._posts[key]

    def posts_to(self, base_url: str) -> Posts:
        """Connections for whole answers of an upstream."""
        if base_url not in self._posts:
            self._posts[base_url] = Posts(base_url, _KEPT_UPSTREAM_SECONDS)
        return self._posts[base_url]

    def session_for_upstreams(self) -> aiohttp.ClientSession:
        """A pool of connections to addresses that the operator named."""
        if "upstream" not in self._sessions:
            connector = aiohttp.TCPConnector(
                limit=0, keepalive_timeout=_KEPT_UPSTREAM_SECONDS, ttl_dns_cache=60
            )
            self._sessions["upstream"] = _session(connector)
        return self._sessions["upstream"]


class Engine:
    """One model's engine. `path` is the OpenAI path after ``/v1``, such as ``/embeddings``."""

    def __init__(self, engines: Engines, place: ModelPlace) -> None:
        self._engines = engines
        self._place = place

    async def prepare(self) -> None:
        """Make sure that it can be asked."""

    async def slots(self) -> int | None:
        """How many requests of batches it answers at once; None where that is not known."""
        return None

    async def in_use(self) -> Mapping[str, int]:
        """Answers in the making and waiting, by kind; empty where that is not known."""
        return {}

    async def post(
        self,
        path: str,
        body: bytes,
        headers: Mapping[str, str] | None = None,
        *,
        batch: bool = False,
        silence_seconds: float = _SILENCE_SECONDS,
    ) -> Reply:
        """Ask and wait for the whole answer.

        Args:
            path: such as ``/chat/completions``.
            body: the request's JSON.
            headers: sent beside the engine's own; never a caller's key.
            batch: chats go first where the engine knows priorities.
            silence_seconds: how long nothing may come before it counts as broken.

        Raises:
            EngineUnreachable: no whole answer came.
        """
        try:
            answer = await self._post(path, body, headers or {}, batch, silence_seconds)
        except _BROKEN as error:
            self._doubt()
            raise _unreachable(self._place, error) from error
        if answer.status == HTTPStatus.SERVICE_UNAVAILABLE:
            self._doubt()
        return Reply(answer.status, answer.headers, answer.body)

    @asynccontextmanager
    async def stream(
        self,
        path: str,
        body: bytes,
        headers: Mapping[str, str] | None = None,
        *,
        batch: bool = False,
        silence_seconds: float = _SILENCE_SECONDS,
    ) -> AsyncIterator[StreamReply]:
        """Ask and take the answer as it comes; leaving the block early stops the engine's work.

        Raises:
            EngineUnreachable: the connection broke, also in the middle of `chunks`.
        """
        async with self._request(path, body, headers, batch, silence_seconds) as answer:
            chunks = self._chunks(answer)
            yield StreamReply(answer.status, answer.headers, chunks)

    async def _chunks(self, answer: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
        try:
            async for chunk in answer.content.iter_any():
                yield chunk
        except _BROKEN as error:
            raise _unreachable(self._place, error) from error

    @asynccontextmanager
    async def _request(
        self,
        path: str,
        body: bytes,
        headers: Mapping[str, str] | None,
        batch: bool,
        silence_seconds: float,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        timeout = aiohttp.ClientTimeout(
            total=None, sock_connect=_CONNECT_SECONDS, sock_read=silence_seconds
        )
        try:
            answer = await self._send(path, body, headers or {}, batch, timeout)
        except _BROKEN as error:
            self._doubt()
            raise _unreachable(self._place, error) from error
        if answer.status == HTTPStatus.SERVICE_UNAVAILABLE:
            self._doubt()
        try:
            yield answer
        except EngineUnreachable:
            self._doubt()
            raise
        finally:
            # A whole answer has given its connection back; a half-read one is cut off.
            answer.close()

    def _doubt(self) -> None:
        """It may be gone: find out before it is asked again."""

    async def _post(
        self,
        path: str,
        body: bytes,
        headers: Mapping[str, str],
        batch: bool,
        silence_seconds: float,
    ) -> Answer:
        raise NotImplementedError

    async def _send(
        self,
        path: str,
        body: bytes,
        headers: Mapping[str, str],
        batch: bool,
        timeout: aiohttp.ClientTimeout,
    ) -> aiohttp.ClientResponse:
        raise NotImplementedError


class _EmbeddedEngine(Engine):
    """An engine of this machine's host."""

    def __init__(self, engines: Engines, place: ModelPlace) -> None:
        super().__init__(engines, place)
        self._socket: Path | None = None
        self._slots = 0
        self._pid: int | None = None
        self._doubted: int | None = None
        self._asked_at = 0.0

    async def prepare(self) -> None:
        if self._socket is None or time.monotonic() - self._asked_at > _FRESH_SECONDS:
            await self._ask_for_address()

    async def slots(self) -> int | None:
        return max(1, self._slots - 4)

    async def in_use(self) -> Mapping[str, int]:
        await self.prepare()
        if self._socket is None:
            return {}
        try:
            async with self._engines.session_on(self._socket).get("http://engine/slots") as answer:
                counts: Mapping[str, int] = (await answer.json())["in_use"]
                return counts
        except _BROKEN as error:
            raise _unreachable(self._place, error) from error

    def _doubt(self) -> None:
        self._asked_at = 0.0
        self._doubted = self._pid

    async def _ask_for_address(self) -> None:
        self._asked_at = time.monotonic()
        asked = {"id": self._place.id, "folder": str(self._place.folder), "doubted": self._doubted}
        told = await self._engines.ask_host("POST", "/reach", asked)
        self._socket, self._slots, self._pid = Path(told["socket"]), told["slots"], told["pid"]
        self._doubted = None

    async def _send(
        self,
        path: str,
        body: bytes,
        headers: Mapping[str, str],
        batch: bool,
        timeout: aiohttp.ClientTimeout,
    ) -> aiohttp.ClientResponse:
        sent = _sent(headers, batch)

        async def send(socket: Path) -> aiohttp.ClientResponse:
            session = self._engines.session_on(socket)
            url = f"http://engine/v1{path}"
            return await session.post(url, data=body, headers=sent, timeout=timeout)

        return await self._where_it_is(send)

    async def _post(
        self,
        path: str,
        body: bytes,
        headers: Mapping[str, str],
        batch: bool,
        silence_seconds: float,
    ) -> Answer:
        sent = _sent(headers, batch)

        async def post(socket: Path) -> Answer:
            posts = self._engines.posts_on(socket)
            return await posts.post(path, sent, body, silence_seconds)

        return await self._where_it_is(post)

    async def _where_it_is(self, ask: Callable[[Path], Awaitable[T]]) -> T:
        """Ask the engine at its address, and once more where its successor is."""
        await self.prepare()
        for is_last in (False, True):
            if self._socket is None:
                raise EngineUnreachable(headers={"retry-after": "1"})
            try:
                return await ask(self._socket)
            except (aiohttp.ClientConnectorError, NotConnected):
                # It died before it heard of this request: the host has another one.
                if is_last:
                    raise
                self._doubt()
                await self._ask_for_address()
        raise EngineUnreachable(headers={"retry-after": "1"})


class _UpstreamEngine(Engine):
    """A server of someone else that speaks the same dialect."""

    async def _send(
        self,
        path: str,
        body: bytes,
        headers: Mapping[str, str],
        batch: bool,
        timeout: aiohttp.ClientTimeout,
    ) -> aiohttp.ClientResponse:
        upstream = self._upstream()
        sent = self._headers(headers, upstream)
        body = _addressed(body, upstream, self._place.id, batch)
        url = upstream.base_url.rstrip("/") + path
        return await self._engines.session_for_upstreams().post(
            url, data=body, headers=sent, timeout=timeout, allow_redirects=False
        )

    async def _post(
        self,
        path: str,
        body: bytes,
        headers: Mapping[str, str],
        batch: bool,
        silence_seconds: float,
    ) -> Answer:
        upstream = self._upstream()
        sent = self._headers(headers, upstream)
        body = _addressed(body, upstream, self._place.id, batch)
        posts = self._engines.posts_to(upstream.base_url)
        return await posts.post(path, sent, body, silence_seconds)

    def _headers(self, headers: Mapping[str, str], upstream: Upstream) -> dict[str, str]:
        sent = {**headers, "content-type": "application/json"}
        if upstream.api_key_env is not None:
            sent["authorization"] = f"Bearer {_key(upstream.api_key_env)}"
        return sent

    def _upstream(self) -> Upstream:
        if self._place.upstream is None:
            raise EngineFailure(f"{self._place.id} has no upstream.")
        return self._place.upstream


def _sent(headers: Mapping[str, str], batch: bool) -> dict[str, str]:
    """The headers that an embedded engine gets."""
    sent = {**headers, "content-type": "application/json"}
    if batch:
        sent[PRIORITY] = "batch"
    return sent


def _addressed(body: bytes, upstream: Upstream, model_id: str, batch: bool) -> bytes:
    """The body under the name that the upstream knows the model by."""
    request = orjson.loads(body)
    request["model"] = upstream.model or model_id
    if upstream.priority and batch:
        request["priority"] = _BATCH_PRIORITY
    return orjson.dumps(request)


def _key(name: str) -> str:
    key = os.environ.get(name)
    if not key:
        raise EngineFailure(
            f"The environment variable {name}, which holds this model's upstream key, is not set."
        )
    return key


def _session(connector: aiohttp.BaseConnector) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=connector, cookie_jar=aiohttp.DummyCookieJar(), timeout=aiohttp.ClientTimeout()
    )


def _unreachable(place: ModelPlace, error: BaseException) -> EngineUnreachable:
    reason = str(error) or type(error).__name__
    return EngineUnreachable(
        f"The engine of {place.id} did not answer: {reason}", headers={"retry-after": "1"}
    )


def _raised_by_host(error: Mapping[str, str], retry: str | None) -> LinariteError:
    kind = getattr(refusals, error["kind"], EngineFailure)
    headers = {"retry-after": retry} if retry else {}
    raised: LinariteError = kind(error["message"], headers=headers)
    return raised
