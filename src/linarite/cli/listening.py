"""Where a server listens: bound before anything starts, kept while processes come and go."""

import errno
import socket
import time

from linarite.cli.refusals import Refused
from linarite.settings import ServerSettings

_BACKLOG = 2048
_RETRY_SECONDS = 1.0


def listen(server: ServerSettings) -> socket.socket:
    """A socket that listens where the settings say; port 0 takes a free one.

    Raises:
        Refused: the address is taken, is not this machine's, or may not be used.
    """
    where = f"{server.host}:{server.port}"
    try:
        family, _, _, _, address = socket.getaddrinfo(
            server.host, server.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except socket.gaierror as error:
        raise Refused(f"{server.host} is no address of this machine: {error.strerror}.") from None
    deadline = time.monotonic() + _RETRY_SECONDS  # processes of a killed server need a moment
    while True:
        listening = socket.socket(family, socket.SOCK_STREAM)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind(address)
            listening.listen(_BACKLOG)
        except OSError as error:
            listening.close()
            if error.errno == errno.EADDRINUSE:
                if time.monotonic() < deadline:
                    time.sleep(0.05)
                    continue
                raise Refused(
                    f"Port {server.port} of {server.host} is taken by another program. "
                    "Choose another (--port N), or a free one (--port 0)."
                ) from None
            raise Refused(f"Cannot listen on {where}: {error.strerror}.") from None
        else:
            return listening


def endpoint(server: ServerSettings, listening: socket.socket) -> str:
    """The URL that reaches the socket from this machine."""
    host, port = listening.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    scheme = "https" if server.tls else "http"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"
