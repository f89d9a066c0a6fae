"""Posts whose whole answer is wanted, at a quarter of what a general HTTP client takes for one.

HTTP/1.1 over connections that are kept, one request on each at a time, no redirects and nothing
compressed: what a batch does a hundred thousand times. Streams go by aiohttp (see `client`).
"""

import asyncio
import base64
import ssl
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast
from urllib.parse import unquote, urlsplit

import httptools

_CONNECT_SECONDS = 5.0


class NotConnected(ConnectionError):
    """The other side was not there: the request never left."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer; names of headers in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Posts:
    """Connections to one place, as many as there are requests out at once. For one event loop.

    Args:
        base_url: ``http://host:port/prefix`` or https.
        kept_seconds: how long an idle connection is trusted to be still there.
        socket: a Unix socket to connect to instead of the URL's host.
    """

    def __init__(self, base_url: str, kept_seconds: float, socket: Path | None = None) -> None:
        url = urlsplit(base_url)
        self._host, self._port = url.hostname or "", url.port
        self._tls = ssl.create_default_context() if url.scheme == "https" else None
        self._socket = socket
        self._kept_seconds = kept_seconds
        self._prefix = url.path.rstrip("/")
        self._head = f" HTTP/1.1\r\nhost: {url.netloc.rpartition('@')[2]}\r\naccept: */*\r\n"
        if url.username is not None:
            user = f"{unquote(url.username)}:{unquote(url.password or '')}".encode()
            self._head += f"authorization: Basic {base64.b64encode(user).decode()}\r\n"
        self._idle: deque[_Connection] = deque()

    async def post(
        self, path: str, headers: Mapping[str, str], body: bytes, silence_seconds: float
    ) -> Answer:
        """Send `body` and wait for the whole answer.

        Args:
            path: below the base URL.
            headers: sent beside `host` and `content-length`.
            body: the request's body.
            silence_seconds: how long nothing may come.

        Raises:
            NotConnected: nobody is there.
            ConnectionError: the connection broke, or what came is no HTTP.
            TimeoutError: nothing came for too long.
        """
        head = f"POST {self._prefix}{path}{self._head}"
        head += "".join(f"{name}: {_one_line(value)}\r\n" for name, value in headers.items())
        head += f"content-length: {len(body)}\r\n\r\n"
        connection = self._kept() or await self._connect()
        answer = await connection.ask(head.encode("latin-1") + body, silence_seconds)
        if connection.can_be_kept:
            self._idle.append(connection)
        return answer

    def close(self) -> None:
        """Close every connection."""
        while self._idle:
            self._idle.pop().close()

    def _kept(self) -> "_Connection | None":
        """The idle connection that was used last, if it is still good."""
        oldest = time.monotonic() - self._kept_seconds
        while self._idle:
            connection = self._idle.pop()
            if connection.can_be_kept and connection.answered_at > oldest:
                return connection
            connection.close()
        return None

    async def _connect(self) -> "_Connection":
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                if self._socket is not None:
                    _, made = await loop.create_unix_connection(_Connection, str(self._socket))
                else:
                    port = self._port or (80 if self._tls is None else 443)
                    _, made = await loop.create_connection(
                        _Connection, self._host, port, ssl=self._tls
                    )
        except OSError as error:  # also a time-out and a name that nobody knows
            raise NotConnected(str(error) or "it did not answer in time") from error
        return made


class _Connection(asyncio.Protocol):
    """One connection: a request goes out, its answer comes in, then the next."""

    def __init__(self) -> None:
        self.can_be_kept = True
        self.answered_at = 0.0
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._answer: asyncio.Future[Answer] | None = None
        self._headers: dict[str, str] = {}
        self._body: list[bytes] = []
        self._ends_with_connection = False
        self._heard_at = 0.0
        self._watch: asyncio.TimerHandle | None = None

    async def ask(self, data: bytes, silence_seconds: float) -> Answer:
        """Send a whole request and wait for its whole answer."""
        if self._transport is None or self._transport.is_closing():
            raise ConnectionError("the connection was closed")
        loop = asyncio.get_running_loop()
        self._answer, self._headers, self._body = loop.create_future(), {}, []
        self._heard_at = loop.time()
        self._watch_silence(loop, silence_seconds, silence_seconds)
        self._transport.write(data)
        try:
            return await self._answer
        except BaseException:  # cancelled, or broken: an answer to come would be the next one's
            self.close()
            raise
        finally:
            if self._watch is not None:
                self._watch.cancel()
            self._answer = None

    def close(self) -> None:
        """Cut it off."""
        self.can_be_kept = False
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the event loop."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by its class

    def data_received(self, data: bytes) -> None:
        """Called by the event loop."""
        if self._answer is None:  # nobody asked: a farewell of the other side
            self.close()
            return
        self._heard_at = self._answer.get_loop().time()
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(ConnectionError(f"what came is no HTTP: {error}"))

    def connection_lost(self, error: Exception | None) -> None:
        """Called by the event loop."""
        self.can_be_kept = False
        if error is None and self._ends_with_connection:
            self.on_message_complete()
        self._fail(ConnectionError(str(error) if error else "the connection was closed"))

    def on_header(self, name: bytes, value: bytes) -> None:
        """Called by the parser."""
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        """Called by the parser."""
        told = "content-length" in self._headers or "transfer-encoding" in self._headers
        self._ends_with_connection = not told and self._parser.get_status_code() >= 200

    def on_body(self, body: bytes) -> None:
        """Called by the parser."""
        self._body.append(body)

    def on_message_complete(self) -> None:
        """Called by the parser."""
        status = self._parser.get_status_code()
        if status < 200:  # the answer is still to come
            self._headers = {}
            return
        self.can_be_kept = self.can_be_kept and self._parser.should_keep_alive()
        self._ends_with_connection = False
        self.answered_at = time.monotonic()
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(Answer(status, self._headers, b"".join(self._body)))
        if not self.can_be_kept:
            self.close()

    def _watch_silence(
        self, loop: asyncio.AbstractEventLoop, after_seconds: float, silence_seconds: float
    ) -> None:
        def check() -> None:
            left = silence_seconds - (loop.time() - self._heard_at)
            if left <= 0:
                self._fail(TimeoutError(f"nothing came for {silence_seconds:g} seconds"))
            else:
                self._watch_silence(loop, left, silence_seconds)

        self._watch = loop.call_later(after_seconds, check)

    def _fail(self, error: Exception) -> None:
        self.can_be_kept = False
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error)


def _one_line(value: str) -> str:
    if "\r" in value or "\n" in value:
        raise ValueError("a header's value has a line break")
    return value
