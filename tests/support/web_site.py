"""A small web site on loopback, scripted per path: what a caller may have the server fetch."""

import ssl
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Page = Callable[[BaseHTTPRequestHandler], None]
"""Answers one request; breaks off when it raises ConnectionError."""


class WebSite:
    """A running site; `pages` may change while it runs, `seen` is what was asked of it."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.pages: dict[str, Page] = {}
        self.seen: list[tuple[str, dict[str, str]]] = []

    def url(self, path: str, host: str = "127.0.0.1") -> str:
        """Where `path` is; the scheme is http."""
        return f"http://{host}:{self.address.rpartition(':')[2]}{path}"


@contextmanager
def web_site(tls: ssl.SSLContext | None = None) -> Iterator[WebSite]:
    """Run a site until the block ends."""
    site = WebSite("")

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            site.seen.append((self.path, {k.lower(): v for k, v in self.headers.items()}))
            try:
                site.pages.get(path, missing)(self)
            except ConnectionError:
                self.close_connection = True

        def log_message(self, *_args: object) -> None:
            """Say nothing."""

    server = _Server(("127.0.0.1", 0), Handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    site.address = f"127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield site
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_args: object) -> None:
        """Say nothing where the caller is gone, which tests kill."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(*_args)


def content(body: bytes, status: int = 200, **headers: str) -> Page:
    """A page that is `body`; header names are written with underscores."""

    def page(request: BaseHTTPRequestHandler) -> None:
        request.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            request.send_header(name.replace("_", "-"), value)
        request.end_headers()
        request.wfile.write(body)

    return page


def redirect(to: str) -> Page:
    """A page that lies elsewhere."""
    return content(b"", 302, Location=to)


missing = content(b"not here", 404)
