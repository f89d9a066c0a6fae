"""How uvicorn serves the app: said once, so that tests serve what users get."""

from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from linarite.errors import HeadersTooLarge, InvalidPayload, LinariteError
from linarite.http.errors import error_answer

HEAD_BYTES = 64 << 10
_KEEP_ALIVE_SECONDS = 75
"""Longer than clients keep an idle connection, so that none is closed as it is used again."""
_STOP_SECONDS = 5
_FAREWELL_SECONDS = 0.2


def server_config(app: ASGIApp, **options: Any) -> uvicorn.Config:
    """Uvicorn's configuration for `app`.

    Args:
        app: what `create_app` made.
        options: where to listen and with which certificate, in uvicorn's words.
    """
    return uvicorn.Config(
        app,
        http=BoundedHttp,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # http.links trusts the proxies that the settings name, and no other
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=_STOP_SECONDS,
        **options,
    )


class BoundedHttp(HttpToolsProtocol):
    """uvicorn's HTTP, which would take a request line and headers without end.

    What cannot be read as HTTP is refused in the service's form, and the connection ends.
    """

    _is_in_head = False
    _head_bytes = 0

    def data_received(self, data: bytes) -> None:
        """Parse what came; refuse a head that goes on beyond the bound."""
        was_in_head = self._is_in_head
        super().data_received(data)
        if was_in_head and self._is_in_head and not self.transport.is_closing():
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_BYTES:
                self._refuse(HeadersTooLarge(f"The headers are longer than {HEAD_BYTES} bytes."))

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        self._is_in_head, self._head_bytes = True, 0

    def on_headers_complete(self) -> None:
        """Its head has come whole."""
        self._is_in_head = False
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP."""
        self._refuse(InvalidPayload(msg))

    def shutdown(self) -> None:
        """The server stops: let go of the connection, or, with an answer on its way, after it.

        Over TLS a close waits for the client's own, for half a minute where it is idle.
        """
        super().shutdown()
        if self.transport.is_closing() and self.scheme == "https":
            self.loop.call_later(_FAREWELL_SECONDS, self.transport.abort)

    def _refuse(self, error: LinariteError) -> None:
        if self.cycle is None or self.cycle.response_complete:  # else it would land in an answer
            answer = error_answer(error)
            head = [f"HTTP/1.1 {answer.status_code} \r\n".encode(), b"connection: close\r\n"]
            head += [name + b": " + value + b"\r\n" for name, value in answer.raw_headers]
            self.transport.write(b"".join([*head, b"\r\n", bytes(answer.body)]))
        self.transport.close()
