"""Do reads stay fast when there is much to read?

200,000 files in the database, on SQLite and on PostgreSQL: one caller gets single files and lists
20, the first page and one deep in the list in turn; the slowest percent of deep pages against the
slowest percent of first ones.
"""

import argparse
import random
import time
from collections.abc import Callable
from http.client import HTTPConnection
from pathlib import Path

import sqlalchemy as sa
from tests.support.postgres import running_postgres

from bench import lean_client, script
from bench.measure import Finding, Limit, compared, percentile, quantity
from bench.servers import Linarite, linarite
from linarite.bootstrap import build
from linarite.settings import Settings
from linarite.storage import tables

_PAGE = 20
_SLICE = 10_000
_EVEN = Limit(at_most=1.5)


def measure(options: argparse.Namespace, folder: Path) -> list[Finding]:
    """The same questions on both databases."""
    findings = _on("SQLite", options, folder / "sqlite", None)
    with running_postgres(Path("/tmp")) as postgres, postgres.database() as url:
        return findings + _on("PostgreSQL", options, folder / "pg", url)


def _on(
    database: str, options: argparse.Namespace, folder: Path, database_url: str | None
) -> list[Finding]:
    _seed(folder / "data", database_url, options.files)
    with linarite(folder, database_url=database_url) as server:
        connection = lean_client.connect(server)
        _seconds(connection, server, lambda: "/files?limit=20", 100)  # warms up
        pairs, gets = [], []
        for _ in range(options.pairs):
            first, deep = _pages(connection, server, options)
            pairs.append((percentile(deep, 0.99) * 1e3, percentile(first, 0.99) * 1e3))
            one = _seconds(connection, server, lambda: _a_file(options.files), options.requests)
            gets.append(percentile(one, 0.99) * 1e3)
        connection.close()
    what = f"{database}, {options.files:,} files: list of {_PAGE}"
    return [
        compared(
            f"{what}, deep page against the first, p99",
            pairs,
            limit=_EVEN,
            unit="ms",
            names=("deep page", "first page"),
        ),
        quantity(
            f"{database}, {options.files:,} files: get of one, p99", gets, unit="ms", limit=None
        ),
    ]


def _pages(
    connection: HTTPConnection, server: Linarite, options: argparse.Namespace
) -> tuple[list[float], list[float]]:
    """Seconds of first and of deep pages, asked in turn."""
    first, deep = [], []
    for _ in range(options.requests):
        first += _seconds(connection, server, lambda: f"/files?limit={_PAGE}", 1)
        deep += _seconds(connection, server, lambda: _deep_page(options.files), 1)
    return first, deep


def _seconds(
    connection: HTTPConnection, server: Linarite, path: Callable[[], str], times: int
) -> list[float]:
    taken = []
    for _ in range(times):
        whole, _, query = path().partition("?")
        asked = server.path(whole) + (f"&{query}" if query else "")
        began = time.perf_counter()
        lean_client.get(connection, server, asked)
        taken.append(time.perf_counter() - began)
    return taken


def _a_file(files: int) -> str:
    return f"/files/{_id(random.randrange(files))}"


def _deep_page(files: int) -> str:
    """A page that begins in the older half of the list, which is newest first."""
    return f"/files?limit={_PAGE}&after={_id(random.randrange(_PAGE, files // 2))}"


def _id(number: int) -> str:
    return f"file-{number:032x}"


def _seed(data: Path, database_url: str | None, files: int) -> None:
    """A migrated database with so many finished files of one shared blob."""
    built = build(Settings(data=data, database_url=database_url))
    built.database.migrate()
    blob = {"id": "0" * 32, "bytes": 1000, "sha256": None, "created_at": 1_700_000_000}
    with built.database.transaction() as tx:
        tx.execute(sa.insert(tables.blobs), blob)
        for start in range(0, files, _SLICE):
            rows = [_row(number, blob["id"]) for number in range(start, min(start + _SLICE, files))]
            tx.execute(sa.insert(tables.files), rows)
            uses = [{"blob_id": blob["id"], "user": f"file:{row['id']}"} for row in rows]
            tx.execute(sa.insert(tables.blob_uses), uses)
    if not built.database.is_sqlite:
        with built.database.engine.connect() as connection:
            connection.execution_options(isolation_level="AUTOCOMMIT")
            connection.execute(sa.text("VACUUM ANALYZE"))
    built.database.close()


def _row(number: int, blob_id: object) -> dict[str, object]:
    return {
        "id": _id(number),
        "resource": "default",
        "purpose": ("batch", "fine-tune", "assistants")[number % 3],
        "filename": f"file-{number}.jsonl",
        "status": "processed",
        "bytes": 1000,
        "blob_id": blob_id,
        "charged_bytes": 0,
        "created_at": 1_700_000_000 + number,
    }


if __name__ == "__main__":
    options = script.parser(__doc__, files=200_000, requests=1000).parse_args()
    script.run("api_latency", options, measure)
