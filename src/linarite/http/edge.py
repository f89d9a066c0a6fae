"""What every answer carries and every request passes, whatever route it is for.

Plain ASGI, outermost: it gives the request its id, refuses a Host that is not served, and turns an
exception that got through everything else into an answer. Streams pass through untouched.
"""

import re
from collections.abc import Sequence

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from linarite import ids
from linarite.errors import Forbidden
from linarite.http.errors import error_answer, failure_answer

log = structlog.get_logger()

_CLIENT_ID = re.compile(r"[\x21-\x7e]{1,128}")


class Edge:
    """The outermost layer of the app.

    Args:
        app: what stands behind it.
        region: what `x-ms-region` says.
        hosts: values of the Host header that are served; empty: all.
        tls: whether browsers are told to come back over https only.
    """

    def __init__(self, app: ASGIApp, region: str, hosts: Sequence[str], tls: bool) -> None:
        self._app = app
        self._region = region
        self._hosts = frozenset(host.lower() for host in hosts)
        self._tls = tls

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_headers, request_id, started = Headers(scope=scope), ids.request_id(), False
        scope.setdefault("state", {})["request_id"] = request_id

        async def send_marked(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                self._mark(MutableHeaders(scope=message), request_headers, request_id)
            await send(message)

        with structlog.contextvars.bound_contextvars(request_id=request_id):
            try:
                self._check_host(request_headers.get("host", ""))
                await self._app(scope, receive, send_marked)
            except Forbidden as refusal:
                await error_answer(refusal)(scope, receive, send_marked)
            except ClientDisconnect:
                log.info("the client went away")
            except Exception as error:
                answer = failure_answer(error)
                if started:  # too late to say so: cut the connection rather than end it well
                    raise
                await answer(scope, receive, send_marked)

    def _check_host(self, host: str) -> None:
        if not self._hosts:
            return
        name = host.lower().rpartition(":")[0] if re.search(r":\d+$", host) else host.lower()
        if host.lower() not in self._hosts and name not in self._hosts:
            raise Forbidden(f"The host {host!r} is not served here; see `server.hosts`.")

    def _mark(self, headers: MutableHeaders, request: Headers, request_id: str) -> None:
        headers.setdefault("apim-request-id", request_id)
        headers.setdefault("x-request-id", request_id)
        headers.setdefault("x-ms-region", self._region)
        headers.setdefault("x-content-type-options", "nosniff")
        client_id = request.get("x-ms-client-request-id", "")
        if _CLIENT_ID.fullmatch(client_id):
            headers.setdefault("x-ms-client-request-id", client_id)
        if self._tls:
            headers.setdefault("strict-transport-security", "max-age=31536000; includeSubDomains")
