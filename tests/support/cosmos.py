"""Cosmos DB for MongoDB vCore, as far as it can be had: a real server of MongoDB's wire, and before
it a proxy that adds Cosmos's dialect.

The proxy holds definitions of `cosmosSearch` indexes against what Microsoft documents, keeps them
and lists them; all else reaches the server. vCore itself was never reached.
"""

import socket
import socketserver
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import bson
from pymongo import MongoClient
from pymongo.errors import PyMongoError

Command = dict[str, Any]
_OP_MSG = 2013
_MORE_TO_COME = 2


@dataclass
class Cosmos:
    """A running stand-in."""

    url: str = ""
    indexes: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    """The vector indexes, by database and collection."""
    refusals: list[Command] = field(default_factory=list)
    """Answers to the next writes, instead of doing them."""


@contextmanager
def running_cosmos(folder: Path) -> Iterator[Cosmos]:
    """Run the server and its proxy until the block ends."""
    with _wire_server(folder) as port, _proxy(port) as cosmos:
        yield cosmos


@contextmanager
def _wire_server(folder: Path) -> Iterator[int]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    start = "from nx_27017.nx_27017 import main; main()"
    command = [sys.executable, "-c", start, "--db", "memory", "--port", str(port)]
    files = ["--log-file", str(folder / "log"), "--pid-file", str(folder / "pid")]
    with (folder / "output").open("wb") as output:
        process = subprocess.Popen([*command, *files], stdout=output, stderr=output)
    try:
        _wait_for(port)
        yield port
    finally:
        process.terminate()
        process.wait(10)


def _wait_for(port: int) -> None:
    until = time.monotonic() + 20
    while True:
        with MongoClient(f"mongodb://127.0.0.1:{port}", serverSelectionTimeoutMS=200) as client:
            try:
                client.admin.command("ping")
                return
            except PyMongoError:
                if time.monotonic() > until:
                    raise


@contextmanager
def _proxy(upstream: int) -> Iterator[Cosmos]:
    cosmos = Cosmos()

    class Handler(_Handler):
        state = cosmos
        port = upstream

    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    cosmos.url = f"mongodb://127.0.0.1:{server.server_address[1]}/?directConnection=true"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield cosmos
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(socketserver.BaseRequestHandler):
    state: Cosmos
    port: int

    def handle(self) -> None:
        try:
            with socket.create_connection(("127.0.0.1", self.port)) as upstream:
                while True:
                    self._pass_on(_message(self.request), upstream)
        except (EOFError, ConnectionError):
            return

    def _pass_on(self, message: bytes, upstream: socket.socket) -> None:
        request, _to, kind = struct.unpack_from("<iii", message, 4)
        answer = self._cosmos(_command(message), upstream) if kind == _OP_MSG else None
        if answer is not None:
            self.request.sendall(_framed(answer, request))
            return
        upstream.sendall(message)
        if kind != _OP_MSG or not struct.unpack_from("<I", message, 16)[0] & _MORE_TO_COME:
            self.request.sendall(_message(upstream))

    def _cosmos(self, command: Command, upstream: socket.socket) -> Command | None:
        """The answer to what only Cosmos knows; None for all else."""
        database = command.get("$db", "")
        if ("update" in command or "delete" in command) and self.state.refusals:
            return self.state.refusals.pop(0)
        if "createIndexes" in command:
            return self._indexed((database, command["createIndexes"]), command, upstream)
        if "listIndexes" in command:
            return self._listed((database, command["listIndexes"]), command, upstream)
        if "drop" in command:
            self.state.indexes.pop((database, command["drop"]), None)
        return None

    def _indexed(
        self, place: tuple[str, str], command: Command, upstream: socket.socket
    ) -> Command | None:
        vectors = [it for it in command["indexes"] if "cosmosSearch" in it["key"].values()]
        for index in vectors:
            wrong = _misfit(index)
            if wrong is not None:
                return {"ok": 0.0, "code": 2, "codeName": "BadValue", "errmsg": wrong}
            self.state.indexes[place] = index
        rest = [index for index in command["indexes"] if index not in vectors]
        return _asked(upstream, {**command, "indexes": rest})

    def _listed(
        self, place: tuple[str, str], command: Command, upstream: socket.socket
    ) -> Command | None:
        if place not in self.state.indexes:
            return None
        answer = _asked(upstream, command)
        answer["cursor"]["firstBatch"].append({"v": 2, **self.state.indexes[place]})
        return answer


def _misfit(index: Command) -> str | None:
    """What Microsoft's documents would not have in a definition."""
    options = dict(index.get("cosmosSearchOptions", {}))
    own = {"vector-ivf": {"numLists"}, "vector-hnsw": {"m", "efConstruction"}}
    kind = options.pop("kind", None)
    if kind not in own:
        return f"cosmosSearchOptions.kind {kind}"
    if options.pop("similarity", None) not in {"COS", "L2", "IP"}:
        return "cosmosSearchOptions.similarity"
    if not 1 <= options.pop("dimensions", 0) <= 2000:
        return "cosmosSearchOptions.dimensions"
    unknown = set(options) - own[kind]
    return f"cosmosSearchOptions {unknown}" if unknown else None


def _asked(upstream: socket.socket, command: Command) -> Command:
    upstream.sendall(_framed(command, 0))
    return _command(_message(upstream))


def _message(connection: socket.socket) -> bytes:
    head = _exactly(connection, 16)
    return head + _exactly(connection, struct.unpack_from("<i", head)[0] - 16)


def _exactly(connection: socket.socket, size: int) -> bytes:
    read = b""
    while len(read) < size:
        piece = connection.recv(size - len(read))
        if not piece:
            raise EOFError
        read += piece
    return read


def _command(message: bytes) -> Command:
    """The body of an OP_MSG and its document sequences, as one document."""
    command: Command = {}
    place = 20
    while place < len(message):
        kind, place = message[place], place + 1
        size = struct.unpack_from("<i", message, place)[0]
        section = message[place : place + size]
        if kind == 0:
            command |= bson.decode(section)
        else:
            name, _, documents = section[4:].partition(b"\0")
            command[name.decode()] = bson.decode_all(documents)
        place += size
    return command


def _framed(document: Command, to: int) -> bytes:
    body = struct.pack("<IB", 0, 0) + bson.encode(document)
    return struct.pack("<iiii", 16 + len(body), 1, to, _OP_MSG) + body
