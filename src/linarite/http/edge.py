"""What every answer carries and every request passes, whatever route it is for.

Plain ASGI, outermost: it gives the request its id, refuses what no route should see, and marks the
answer. Streams pass through untouched.
"""

import re
from collections.abc import Sequence

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from linarite import ids
from linarite.errors import Forbidden, HeadersTooLarge, InvalidPayload, LinariteError
from linarite.http.errors import error_answer

_CLIENT_ID = re.compile(r"[\x21-\x7e]{1,128}")
_PORT = re.compile(r":[0-9]+$")
_PROBES = frozenset({"/healthz", "/readyz"})
"""Asked by address, not by name, and showing nothing: served under any Host."""

_USUAL_HEADERS = frozenset(
    {
        *("accept", "accept-encoding", "accept-language", "api-key", "authorization"),
        *("cache-control", "connection", "content-encoding", "content-length", "content-type"),
        *("cookie", "date", "expect", "forwarded", "host", "if-match", "if-modified-since"),
        *("if-none-match", "if-range", "if-unmodified-since", "origin", "pragma", "range"),
        *("referer", "te", "trailer", "transfer-encoding", "upgrade", "user-agent", "via"),
    }
)
_USUAL_PREFIXES = ("x-ms-", "x-stainless-", "x-forwarded-", "x-request-id", "sec-")


class Edge:
    """The outermost layer of the app.

    Args:
        app: what stands behind it.
        region: what `x-ms-region` says.
        hosts: values of the Host header that are served; empty: all.
        tls: whether browsers are told to come back over https only.
        custom_headers: how many headers of its own a client may send; None: any number.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        region: str,
        hosts: Sequence[str] = (),
        tls: bool = False,
        custom_headers: int | None = None,
    ) -> None:
        self._app = app
        self._region = region
        self._hosts = frozenset(host.lower() for host in hosts)
        self._tls = tls
        self._custom_headers = custom_headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request, request_id = Headers(scope=scope), ids.request_id()
        scope["linarite.request_id"] = request_id
        was_asked_for = has_ended = False

        async def receive_seen() -> Message:
            nonlocal was_asked_for
            was_asked_for = True
            return await receive()

        async def send_marked(message: Message) -> None:
            nonlocal has_ended
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                self._mark(headers, request, request_id)
                if "expect" in request and not was_asked_for:
                    # the body may come or not: only the end of the connection leaves no doubt
                    headers["connection"] = "close"
            else:
                has_ended = not message.get("more_body", False)
            await send(message)

        with structlog.contextvars.bound_contextvars(request_id=request_id):
            try:
                self._check(scope, request)
                await self._app(scope, receive_seen, send_marked)
            except LinariteError as refusal:
                await error_answer(refusal)(scope, receive, send_marked)
            except Exception:
                # The framework raises anew what it has logged and answered. Where an answer had
                # begun, its connection must be cut so that nobody takes it for whole.
                if not has_ended:
                    raise

    def _check(self, scope: Scope, request: Headers) -> None:
        """Raise a LinariteError where the request is none that any route should see."""
        self._check_host(scope["path"], request.get("host", ""))
        if "\0" in scope["path"] or b"%00" in scope["query_string"]:
            raise InvalidPayload("The address holds a NUL character.")
        if self._custom_headers is not None:
            found = sum(not _is_usual(name) for name in request)
            if found > self._custom_headers:
                raise HeadersTooLarge(
                    f"The request has {found} headers of its own; "
                    f"{self._custom_headers} is the limit."
                )

    def _check_host(self, path: str, host: str) -> None:
        if not self._hosts or path in _PROBES:
            return
        if not {host.lower(), _PORT.sub("", host.lower())} & self._hosts:
            raise Forbidden(f"The host {host[:255]!r} is not served here; see `server.hosts`.")

    def _mark(self, headers: MutableHeaders, request: Headers, request_id: str) -> None:
        headers.setdefault("apim-request-id", request_id)
        headers.setdefault("x-request-id", request_id)
        headers.setdefault("x-ms-region", self._region)
        headers.setdefault("x-content-type-options", "nosniff")
        headers.setdefault("cache-control", "no-cache, must-revalidate")
        client_id = request.get("x-ms-client-request-id", "")
        if _CLIENT_ID.fullmatch(client_id):
            headers.setdefault("x-ms-client-request-id", client_id)
        if self._tls:
            headers.setdefault("strict-transport-security", "max-age=31536000")


def _is_usual(name: str) -> bool:
    return name in _USUAL_HEADERS or name.startswith(_USUAL_PREFIXES)
