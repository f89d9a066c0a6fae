"""Azure's own clients over the guarded transport: their policies, our connections.

azure-core is given its usual transport, over a session whose adapter sends through
`outbound.GuardedTransport`: every host of an endpoint or of a connection string passes the gate,
retries stay with azure-core, and what it makes of answers and failures is its own code.
"""

import io
import logging
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import httpx
import requests
from azure.core.pipeline.transport import RequestsTransport
from requests.adapters import HTTPAdapter
from urllib3 import HTTPHeaderDict, HTTPResponse

from linarite.outbound import GuardedTransport, OutboundFailed
from linarite.settings import OutboundSettings

MOST_BYTES = 64 << 20
"""The longest single answer; whoever downloads more asks for it in ranges."""
_MOST_SECONDS = 600.0
"""The longest that one call takes: answers of that length come sooner, and nobody waits longer."""
_REDIRECTS = frozenset({300, 301, 302, 303, 307, 308})


def guarded_transport(settings: OutboundSettings) -> RequestsTransport:
    """What a client of Azure takes as `transport`; closed with the client.

    A call may take `outbound.total_seconds`, ten minutes at most; its answer has `MOST_BYTES` at
    most. Beside azure-core's own errors it raises OutboundRefused, and OutboundFailed for a
    redirect: none is followed, as a key or a token would go along.
    """
    # At INFO and below azure's packages log addresses and headers, some of which are secrets.
    logging.getLogger("azure").setLevel(logging.WARNING)
    session = requests.Session()
    session.trust_env = False
    session.headers.clear()  # none of its own, above all no wish for compressed answers
    adapter = _Adapter(settings)
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    transport = RequestsTransport(
        session=session,
        connection_timeout=settings.connect_seconds,
        read_timeout=settings.read_seconds,
    )
    # One that was closed before it was ever opened would be given a new session, without the guard.
    transport.open()
    return transport


class _Adapter(HTTPAdapter):
    """Sends what requests has prepared."""

    def __init__(self, settings: OutboundSettings) -> None:
        super().__init__()
        self._seconds = min(settings.total_seconds, _MOST_SECONDS)
        self._transport = GuardedTransport(settings)

    def send(
        self,
        request: requests.PreparedRequest,
        stream: bool = False,
        timeout: Any = None,
        verify: Any = True,
        cert: Any = None,
        proxies: Mapping[str, str] | None = None,
    ) -> requests.Response:
        """Send one request; trust and proxy are the settings', not the arguments'."""
        self._transport.begin(self._seconds)
        try:
            sent = _sent(request, timeout)
            answer = self._transport.handle_request(sent)
            answer.request = sent
        except httpx.InvalidURL as error:
            raise requests.exceptions.InvalidURL("the address cannot be read") from error
        except httpx.ConnectTimeout as error:
            raise requests.ConnectTimeout(str(error)) from error
        except httpx.TimeoutException as error:
            raise requests.ReadTimeout(str(error)) from error
        except httpx.TransportError as error:
            raise requests.ConnectionError(str(error) or type(error).__name__) from error
        try:
            _check(answer, is_whole=not stream or answer.status_code >= 400)
        except OutboundFailed:
            answer.close()
            raise
        return self.build_response(
            request,
            HTTPResponse(
                body=_Body(answer),
                headers=HTTPHeaderDict(answer.headers.multi_items()),
                status=answer.status_code,
                reason=answer.reason_phrase,
                preload_content=False,
                request_method=request.method,
            ),
        )

    def close(self) -> None:
        """Close every connection."""
        super().close()
        self._transport.close()


class _Body(io.RawIOBase):
    """An answer's body as a file, whose failures are a socket's."""

    def __init__(self, answer: httpx.Response) -> None:
        self._answer = answer
        self._pieces = answer.iter_raw()
        self._left = MOST_BYTES
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        """Read what is there, or wait for it."""
        try:
            while not self._rest:
                self._rest = memoryview(next(self._pieces))
        except StopIteration:
            return 0
        except httpx.TimeoutException as error:
            raise TimeoutError(str(error)) from error
        except httpx.TransportError as error:
            raise ConnectionError(str(error)) from error
        size = min(len(buffer), len(self._rest))
        buffer[:size], self._rest = self._rest[:size], self._rest[size:]
        self._left -= size
        if self._left < 0:
            raise OutboundFailed(
                f"{_host(self._answer)} answered with more than {MOST_BYTES >> 20} MiB at once."
            )
        return size

    def close(self) -> None:
        """Let the connection go."""
        if not self.closed:
            self._answer.close()
        super().close()


def _check(answer: httpx.Response, *, is_whole: bool) -> None:
    """Raise OutboundFailed for an answer that is not to be read."""
    if answer.status_code in _REDIRECTS:
        raise OutboundFailed(
            f"{_host(answer)} redirects to another address, which is not followed; name the "
            "endpoint itself."
        )
    if is_whole and answer.headers.get("content-encoding", "identity").lower() != "identity":
        raise OutboundFailed(f"{_host(answer)} answered compressed, though it was not asked to.")


def _host(answer: httpx.Response) -> str:
    return f"The address {answer.request.url.host}"


def _sent(request: requests.PreparedRequest, timeout: Any) -> httpx.Request:
    connect, read = timeout if isinstance(timeout, tuple) else (timeout, timeout)
    timeouts = {"connect": connect, "read": read, "write": read, "pool": connect}
    headers = (request.headers or {}).items()
    return httpx.Request(
        str(request.method),
        str(request.url),
        headers=[(_bytes(name), _bytes(value)) for name, value in headers],
        content=_content(request.body),
        extensions={"timeout": timeouts},
    )


def _bytes(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode("latin-1")


def _content(body: Any) -> bytes | str | Iterable[bytes] | None:
    return _pieces(body) if hasattr(body, "read") else body


def _pieces(file: Any) -> Iterator[bytes]:
    while piece := file.read(1 << 16):
        yield piece
