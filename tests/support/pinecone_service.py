"""Pinecone, as far as it can be had: needledb answers the data plane of the official client, and a
stub of ours the control plane, in the form that the client was seen to send and read.

Pinecone itself was never reached.
"""

import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx

KEY = "the-key-of-the-pinecone-project"


@dataclass
class DataPlane:
    """A running needledb."""

    url: str

    def make_index(self, name: str, dimensions: int) -> str:
        """Make an index; gives its host."""
        definition = {"name": name, "dimension": dimensions, "metric": "cosine"}
        httpx.post(f"{self.url}/indexes", json=definition).raise_for_status()
        return self.host(name)

    def host(self, name: str) -> str:
        """Where the index is."""
        return f"{self.url}/indexes/{name}"


@contextmanager
def data_plane(folder: Path) -> Iterator[DataPlane]:
    """Run needledb until the block ends."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    start = "import sys; from needledb.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", start, "serve", "--host", "127.0.0.1", "--port", str(port)]
    with (folder / "output").open("wb") as output:
        process = subprocess.Popen(
            [*command, "--data", str(folder / "data"), "--no-auth"], stdout=output, stderr=output
        )
    plane = DataPlane(f"http://127.0.0.1:{port}")
    try:
        _wait_for(plane.url)
        yield plane
    finally:
        process.terminate()
        process.wait(10)


def _wait_for(url: str) -> None:
    until = time.monotonic() + 20
    while True:
        try:
            httpx.get(f"{url}/health").raise_for_status()
            return
        except httpx.TransportError:
            if time.monotonic() > until:
                raise
            time.sleep(0.05)


@dataclass
class ControlPlane:
    """The running stub."""

    plane: DataPlane
    url: str = ""
    indexes: dict[str, dict[str, Any]] = field(default_factory=dict)
    made: list[dict[str, Any]] = field(default_factory=list)
    """The bodies that indexes were made of."""
    status: int | None = None
    """Answered to everything, where it is set."""


@contextmanager
def control_plane(plane: DataPlane) -> Iterator[ControlPlane]:
    """Run the stub until the block ends."""
    control = ControlPlane(plane)

    class Handler(_Handler):
        state = control

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    control.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield control
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    state: ControlPlane
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        index = self.state.indexes.get(self.path.rpartition("/")[2])
        self._answer(*((200, index) if index else (404, _error("NOT_FOUND"))))

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        name = body["name"]
        if name in self.state.indexes:
            self._answer(409, _error("ALREADY_EXISTS"))
            return
        values = body["schema"]["fields"]["_values"]
        self.state.made.append(body)
        self.state.indexes[name] = {
            "name": name,
            "host": self.state.plane.make_index(name, values["dimension"]),
            "status": {"ready": True, "state": "Ready"},
            "schema": body["schema"],
            "deployment": body["deployment"],
            "deletion_protection": "disabled",
        }
        self._answer(201, self.state.indexes[name])

    def log_message(self, *_args: object) -> None:
        """Say nothing."""

    def _answer(self, status: int, body: Any) -> None:
        if self.headers.get("api-key") != KEY:
            status, body = 401, _error("UNAUTHENTICATED")
        if self.state.status is not None:
            status, body = self.state.status, _error("UNAVAILABLE")
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


def _error(code: str) -> dict[str, Any]:
    return {"error": {"code": code, "message": "scripted"}, "status": 400}
