"""The seam that inference and batches use: any model's engine over HTTP, wherever it is.

Bodies are bytes and pass through unread, but for the model's name and a batch's priority, which an
upstream needs to be told. Statuses pass through too; what cannot be reached is `EngineUnreachable`.
"""

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import aiohttp
import orjson
import structlog

from linarite.engines import refusals
from linarite.engines.admission import RESERVED_SLOTS
from linarite.engines.connections import CONNECT_SECONDS, Connections
from linarite.engines.place import ModelPlace
from linarite.engines.posting import Answer, NotConnected
from linarite.engines.refusals import EngineFailure, EngineUnreachable
from linarite.engines.upstreams import addressed, with_key
from linarite.errors import LinariteError
from linarite.settings import Upstream

PRIORITY = "x-linarite-priority"
_HOST_SECONDS = 10.0
_LOOK_SECONDS = 0.05
_SILENCE_SECONDS = 600.0
_ADAPTER_SECONDS = 120.0
_UNLOAD_SECONDS = 10.0
_FRESH_SECONDS = 2.0
"""How long an embedded engine's address is used before the host is asked (and told) again."""
_WAITING = 8
"""Requests of a batch that wait at an embedded engine, so that no slot is empty for a step."""
T = TypeVar("T")
_Answered = TypeVar("_Answered", Answer, aiohttp.ClientResponse)
_BROKEN = (aiohttp.ClientError, ConnectionError, TimeoutError)

log = structlog.get_logger("linarite.engines")


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
        self._connections = Connections()
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
        self._engines.clear()
        await self._connections.close()

    async def reach(self, place: ModelPlace) -> "Engine":
        """The engine of a model; an embedded one is started if it does not run.

        Raises:
            ModelMissing: its files are not on this machine.
            EngineFailure: it does not start.
            EngineUnreachable: the engine host does not run.
        """
        engine = self._engines.get(place)
        if engine is None:
            engine = self._engines.setdefault(place, self._engine(place))
        await engine.prepare()
        return engine

    def _engine(self, place: ModelPlace) -> "Engine":
        if place.upstream is not None:
            return _UpstreamEngine(place, self._connections)
        return _EmbeddedEngine(place, self._connections, self)

    async def state(self) -> list[dict[str, Any]]:
        """The embedded engines that run, as their host tells it."""
        reply = await self.ask_host("GET", "/engines", None)
        engines: list[dict[str, Any]] = reply["engines"]
        return engines

    async def stop(self, place: ModelPlace) -> None:
        """End a model's embedded engine, so that its memory is free."""
        if place.folder is not None:
            await self.ask_host("POST", "/stop", {"folder": str(place.folder)})

    async def forget(self, place: ModelPlace) -> None:
        """Have an upstream unload a tuned model that is served no more, if it can be had to.

        Nothing depends on it: where it fails, the adapter stays there until the upstream starts
        anew, and where the model is asked for all the same, it is loaded once more.
        """
        self._engines.pop(place, None)
        if place.upstream is not None and place.adapter_folder is not None:
            await _UpstreamEngine(place, self._connections).unload()

    async def ask_host(self, method: str, path: str, body: dict[str, Any] | None) -> dict[str, Any]:
        """Ask the engine host; its refusals are raised here again."""
        session = self._connections.to_socket(self._host_socket)
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


@dataclass(frozen=True, slots=True)
class _Ask:
    """One request to an engine; the arguments of `Engine.post`."""

    path: str
    body: bytes
    headers: Mapping[str, str]
    is_batch: bool
    silence_seconds: float

    @property
    def timeout(self) -> aiohttp.ClientTimeout:
        return aiohttp.ClientTimeout(
            total=None, sock_connect=CONNECT_SECONDS, sock_read=self.silence_seconds
        )


class Engine(ABC):
    """One model's engine. `path` is the OpenAI path after ``/v1``, such as ``/embeddings``."""

    def __init__(self, place: ModelPlace, connections: Connections) -> None:
        self._place = place
        self._connections = connections

    @abstractmethod
    async def prepare(self) -> None:
        """Make sure that it can be asked."""

    @abstractmethod
    async def slots(self) -> int | None:
        """How many requests of batches it is best given at once; None where that is not known."""

    @abstractmethod
    async def in_use(self) -> Mapping[str, int]:
        """Answers in the making and waiting, by kind; empty where that is not known."""

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
        ask = _Ask(path, body, headers or {}, batch, silence_seconds)
        answer = await self._doubting(self._post(ask))
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
        ask = _Ask(path, body, headers or {}, batch, silence_seconds)
        answer = await self._doubting(self._open(ask))
        try:
            yield StreamReply(answer.status, answer.headers, self._chunks(answer))
        finally:
            # A whole answer has given its connection back; a half-read one is cut off.
            answer.close()

    async def _chunks(self, answer: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
        try:
            async for chunk in answer.content.iter_any():
                yield chunk
        except _BROKEN as error:
            self._doubt()
            raise _unreachable(self._place, error) from error

    async def _doubting(self, asking: Awaitable[_Answered]) -> _Answered:
        """Wait for an answer; where it shows that the engine may be gone, look before the next."""
        try:
            answer = await asking
        except _BROKEN as error:
            self._doubt()
            raise _unreachable(self._place, error) from error
        if answer.status == HTTPStatus.SERVICE_UNAVAILABLE:
            self._doubt()
        return answer

    @abstractmethod
    def _doubt(self) -> None:
        """It may be gone: find out before it is asked again."""

    @abstractmethod
    async def _post(self, ask: _Ask) -> Answer:
        """Its whole answer."""

    @abstractmethod
    async def _open(self, ask: _Ask) -> aiohttp.ClientResponse:
        """Its answer, the body still to come."""


class _EmbeddedEngine(Engine):
    """An engine of this machine's host."""

    def __init__(self, place: ModelPlace, connections: Connections, engines: Engines) -> None:
        super().__init__(place, connections)
        self._engines = engines
        self._socket: Path | None = None
        self._slots = 0
        self._pid: int | None = None
        self._doubted: int | None = None
        self._asked_at = 0.0

    async def prepare(self) -> None:
        if self._socket is None or time.monotonic() - self._asked_at > _FRESH_SECONDS:
            await self._ask_for_address()

    async def slots(self) -> int | None:
        return max(1, self._slots - RESERVED_SLOTS) + _WAITING

    async def in_use(self) -> Mapping[str, int]:
        await self.prepare()
        if self._socket is None:
            return {}
        session = self._connections.to_socket(self._socket)
        try:
            async with session.get("http://engine/slots") as answer:
                counts: Mapping[str, int] = (await answer.json())["in_use"]
                return counts
        except _BROKEN as error:
            raise _unreachable(self._place, error) from error

    def _doubt(self) -> None:
        self._asked_at = 0.0
        self._doubted = self._pid

    async def _ask_for_address(self) -> None:
        self._asked_at = time.monotonic()
        asked = {
            "id": self._place.id,
            "folder": str(self._place.folder),
            "deterministic": self._place.is_deterministic,
            "doubted": self._doubted,
        }
        told = await self._engines.ask_host("POST", "/reach", asked)
        self._socket, self._slots, self._pid = Path(told["socket"]), told["slots"], told["pid"]
        self._doubted = None

    async def _post(self, ask: _Ask) -> Answer:
        headers = _sent(ask)

        async def post(socket: Path) -> Answer:
            posts = self._connections.posts_on(socket)
            return await posts.post(ask.path, headers, ask.body, ask.silence_seconds)

        return await self._where_it_is(post)

    async def _open(self, ask: _Ask) -> aiohttp.ClientResponse:
        headers = _sent(ask)

        async def open_(socket: Path) -> aiohttp.ClientResponse:
            session = self._connections.to_socket(socket)
            url = f"http://engine/v1{ask.path}"
            return await session.post(url, data=ask.body, headers=headers, timeout=ask.timeout)

        return await self._where_it_is(open_)

    async def _where_it_is(self, asking: Callable[[Path], Awaitable[T]]) -> T:
        """Ask the engine at its address, and once more where its successor is."""
        await self.prepare()
        try:
            return await asking(self._address())
        except (aiohttp.ClientConnectorError, NotConnected):
            # It died before it heard of this request: the host has another one.
            self._doubt()
            await self._ask_for_address()
            return await asking(self._address())

    def _address(self) -> Path:
        if self._socket is None:
            raise EngineUnreachable(headers={"retry-after": "1"})
        return self._socket


class _UpstreamEngine(Engine):
    """A server of someone else that speaks the same dialect.

    Of a tuned model it is told the adapter first, in vLLM's words, and at the end to unload it. It
    forgets adapters when it starts anew: an answer that it knows no such model is asked for once
    more.
    """

    def __init__(self, place: ModelPlace, connections: Connections) -> None:
        super().__init__(place, connections)
        self._adapter = place.adapter_folder
        self._is_told = self._adapter is None

    async def prepare(self) -> None:
        if not self._is_told:
            await self._doubting(self._tell_adapter())

    async def slots(self) -> int | None:
        return None

    async def in_use(self) -> Mapping[str, int]:
        return {}

    def _doubt(self) -> None:
        pass  # its address does not change

    async def _post(self, ask: _Ask) -> Answer:
        upstream = self._upstream()
        headers = with_key(ask.headers, upstream)
        body = addressed(ask.body, ask.is_batch, upstream, self._place.id)
        posts = self._connections.posts_to(upstream.base_url)

        async def post() -> Answer:
            return await posts.post(ask.path, headers, body, ask.silence_seconds)

        return await self._told(post)

    async def _open(self, ask: _Ask) -> aiohttp.ClientResponse:
        upstream = self._upstream()
        body = addressed(ask.body, ask.is_batch, upstream, self._place.id)
        return await self._told(lambda: self._send(ask.path, body, ask.headers, ask.timeout))

    async def _told(self, ask: Callable[[], Awaitable[_Answered]]) -> _Answered:
        """The answer; where the server forgot the adapter, that to a second asking."""
        answer = await ask()
        if self._adapter is None or answer.status != HTTPStatus.NOT_FOUND:
            return answer
        if isinstance(answer, aiohttp.ClientResponse):
            answer.close()
        await self._tell_adapter()
        return await ask()

    async def _tell_adapter(self) -> aiohttp.ClientResponse:
        asked = {"lora_name": self._place.id, "lora_path": str(self._adapter)}
        timeout = aiohttp.ClientTimeout(total=_ADAPTER_SECONDS, sock_connect=CONNECT_SECONDS)
        async with await self._send(
            "/load_lora_adapter", orjson.dumps(asked), {}, timeout
        ) as answer:
            said = await answer.text(errors="replace")
        # vLLM refuses one that it has: no fault of ours, another process told it.
        if answer.status != HTTPStatus.OK and "already" not in said:
            raise EngineFailure(
                f"The server that is to answer for {self._place.id} did not load its adapter "
                f"(status {answer.status}): see `adapters` under [[models]] upstream.",
                headers={"retry-after": "5"},
            )
        self._is_told = True
        return answer

    async def unload(self) -> None:
        """Have the adapter unloaded; where that fails, the log says so."""
        asked = orjson.dumps({"lora_name": self._place.id})
        timeout = aiohttp.ClientTimeout(total=_UNLOAD_SECONDS, sock_connect=CONNECT_SECONDS)
        try:
            async with await self._send("/unload_lora_adapter", asked, {}, timeout) as answer:
                reason = f"status {answer.status}"
                # 404: it was never told, or has started anew
                if answer.status in {HTTPStatus.OK, HTTPStatus.NOT_FOUND}:
                    return
        except (EngineFailure, *_BROKEN) as error:
            reason = str(error) or type(error).__name__
        log.warning("an adapter stays loaded", model=self._place.id, reason=reason)

    async def _send(
        self, path: str, body: bytes, headers: Mapping[str, str], timeout: aiohttp.ClientTimeout
    ) -> aiohttp.ClientResponse:
        upstream = self._upstream()
        return await self._connections.to_upstreams().post(
            upstream.base_url.rstrip("/") + path,
            data=body,
            headers=with_key(headers, upstream),
            timeout=timeout,
            allow_redirects=False,
        )

    def _upstream(self) -> Upstream:
        if self._place.upstream is None:
            raise EngineFailure(f"{self._place.id} has no upstream.")
        return self._place.upstream


def _sent(ask: _Ask) -> dict[str, str]:
    """The headers that an embedded engine gets."""
    headers = {**ask.headers, "content-type": "application/json"}
    if ask.is_batch:
        headers[PRIORITY] = "batch"
    return headers


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
