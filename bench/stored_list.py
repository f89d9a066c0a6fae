"""Is a list of stored completions that is filtered as quick as one that is not?

1,000,000 stored completions on SQLite and on PostgreSQL, of six models and with metadata that
many, some or few of them have. One caller lists pages of 20, the first one and one deep in the list
in turn: by one condition and by two, each in turn with the same page of the list that nothing
filters; the slowest twentieth of the ones against the slowest twentieth of the others. Of two
conditions some meet in many completions, some in few or in bursts, and some in none.
"""

import argparse
import random
import time
from array import array
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlencode

import orjson
import sqlalchemy as sa
from tests.support.postgres import running_postgres

from bench import lean_client, script
from bench.measure import Finding, Limit, compared, percentile
from bench.servers import Linarite, linarite
from linarite.bootstrap import build
from linarite.resources.stored_completions import bitmaps
from linarite.resources.stored_completions.making import completion_of
from linarite.resources.stored_completions.marks import FEW, RECENT
from linarite.resources.stored_completions.records import marks_of
from linarite.settings import Settings
from linarite.storage import tables
from linarite.storage.database import Database

_PAGE = 20
_SLICE = 20_000
_EVEN = Limit(at_most=1.5)
_RESOURCE = "default"
_BEGAN = 1_700_000_000
_MIXER = 2_654_435_761  # a prime by which neighbours come to lie far apart

Condition = Mapping[str, str]
"""A list's query string."""

_ASKED: Mapping[str, Condition] = {
    "a model, of half of them": {"model": "model-0"},
    "a model, of one in 50": {"model": "model-5"},
    "a deployment": {"model": "deployment-1"},
    "metadata of two in three": {"metadata[env]": "prod"},
    "metadata of one in 20": {"metadata[kind]": "kind-3"},
    "metadata of one in 10,000": {"metadata[user]": "user-77"},
    "a model and metadata": {"model": "model-0", "metadata[kind]": "kind-3"},
    "two of metadata, frequent and rare": {"metadata[env]": "prod", "metadata[user]": "user-77"},
    "two of metadata, both frequent": {"metadata[env]": "prod", "metadata[kind]": "kind-3"},
    "two that meet in one of 5,000": {"metadata[env]": "prod", "metadata[but]": "for few"},
    "two that meet in bursts": {"metadata[here]": "half", "metadata[there]": "half"},
    "two that nothing meets, one in ten each, at other times": {
        "metadata[first]": "tenth",
        "metadata[last]": "tenth",
    },
    "two that nothing meets, one in 20 each, side by side": {
        "metadata[kind]": "kind-3",
        "metadata[other]": "than-3",
    },
    "two that nothing meets, half each, side by side": {
        "metadata[left]": "half",
        "metadata[right]": "half",
    },
    "two that nothing meets, half each, oldest first": {
        "metadata[left]": "half",
        "metadata[right]": "half",
        "order": "asc",
    },
}


def measure(options: argparse.Namespace, folder: Path) -> list[Finding]:
    """The same questions on both databases."""
    findings = _on("SQLite", options, folder / "sqlite", None)
    with running_postgres(Path("/tmp")) as postgres, postgres.database() as url:
        return findings + _on("PostgreSQL", options, folder / "pg", url)


def _on(
    database: str, options: argparse.Namespace, folder: Path, database_url: str | None
) -> list[Finding]:
    began = time.monotonic()
    _seed(folder / "data", database_url, options.completions)
    print(f"   {database}: seeded in {time.monotonic() - began:.0f} s", flush=True)
    with linarite(folder, database_url=database_url) as server:
        connection = lean_client.connect(server)
        listing = _Listing(connection, server, options)
        what = f"{database}, {options.completions:,} stored: list of {_PAGE} by"
        findings = [
            listing.compared(f"{what} {name}", condition) for name, condition in _ASKED.items()
        ]
        connection.close()
    return findings


class _Listing:
    """Lists of one server, timed."""

    def __init__(
        self, connection: HTTPConnection, server: Linarite, options: argparse.Namespace
    ) -> None:
        self._connection = connection
        self._server = server
        self._options = options

    def compared(self, what: str, condition: Condition) -> Finding:
        """p95 of the list by `condition` against that of the whole one."""
        self._ms(condition, {})  # reads pages of the database that nobody has read
        order = {"order": condition["order"]} if "order" in condition else {}
        pairs = []
        for _ in range(self._options.pairs):
            filtered, whole = [], []
            for number in range(self._options.requests):
                after = {"after": self._deep()} if number % 2 else {}
                filtered.append(self._ms(condition, after))
                whole.append(self._ms(order, after))
            pairs.append((percentile(filtered, 0.95), percentile(whole, 0.95)))
        finding = compared(what, pairs, limit=_EVEN, unit="ms", names=("filtered", "all"))
        print(f"   {what}: {finding.value:.3g} x, {finding.ours}, {finding.theirs}", flush=True)
        return finding

    def _deep(self) -> str:
        """An id in the older half of the list, which is newest first."""
        return _id(random.randrange(self._options.completions // 2))

    def _ms(self, condition: Condition, after: Condition) -> float:
        query = urlencode({**condition, **after})
        path = self._server.path("/chat/completions") + (f"&{query}" if query else "")
        began = time.perf_counter()
        lean_client.get(self._connection, self._server, path)
        return (time.perf_counter() - began) * 1e3


def _id(number: int) -> str:
    return f"chatcmpl-{number:032x}"


def _named(number: int, completions: int) -> tuple[str, str, dict[str, str]]:
    """Model, deployment and metadata of a completion; the same for the same number."""
    mixed = number * _MIXER % 2**32
    model = min((mixed & -mixed).bit_length() - 1, 5)  # half, a quarter, an eighth ...
    metadata = {
        "env": "prod" if mixed // 64 % 3 else "test",
        "kind": f"kind-{number % 20}",
        "other": f"than-{(number + 1) % 20}",
        "user": f"user-{mixed // 64 % 10_000}",
        ("left", "right")[number % 2]: "half",
        ("here", "there")[number % 2]: "half",
    }
    if number % 50_000 < 2_000:
        metadata["here"] = metadata["there"] = "half"
    if metadata["env"] == "test" or number % 5_000 == 0:
        metadata["but"] = "for few"
    if number < completions // 10:
        metadata["first"] = "tenth"
    if number >= completions - completions // 10:
        metadata["last"] = "tenth"
    return f"model-{model}", f"deployment-{model}", metadata


def _seed(data: Path, database_url: str | None, completions: int) -> None:
    """A migrated database with so many stored completions, one a second."""
    database = build(Settings(data=data, database_url=database_url)).database
    database.migrate()
    numbers_of: dict[bytes, array[int]] = {}
    body = _Body()
    for numbers in _sliced(range(completions)):
        rows = []
        for number in numbers:
            named = _named(number, completions)
            rows.append(body.row(number, *named))
            for mark in marks_of(_RESOURCE, *named):
                numbers_of.setdefault(mark, array("q")).append(number)
        _insert(database, tables.stored_completions, rows)
    # in the order of their tables, in which a million go in much quicker than in any other
    for mark in sorted(numbers_of):
        _insert_found(database, mark, numbers_of[mark])
    usage = (_RESOURCE, completions, completions * body.stored_bytes)
    _insert(database, tables.stored_completion_usage, [usage])
    if not database.is_sqlite:
        with database.engine.connect() as connection:
            connection.execution_options(isolation_level="AUTOCOMMIT")
            connection.execute(sa.text("VACUUM ANALYZE"))
    database.close()


def _insert_found(database: Database, mark: bytes, numbers: Sequence[int]) -> None:
    """What completions are found by that bear a mark; the last changes are still to be folded."""
    for some in _sliced(numbers):
        labels = [(mark, _BEGAN + number, number + 1) for number in some]
        _insert(database, tables.stored_completion_labels, labels)
    recent = None
    if len(numbers) > FEW:
        changes = [(number + 1, _BEGAN + number) for number in numbers]
        blocks: dict[int, bitmaps.Block] = {}
        bitmaps.apply(blocks, changes[:-RECENT])
        recent = b"".join(bitmaps.packed(*change) for change in changes[-RECENT:])
        rows = [(mark, number, *block.packed()) for number, block in sorted(blocks.items())]
        _insert(database, tables.stored_completion_bitmaps, rows)
    _insert(database, tables.stored_completion_counts, [(mark, len(numbers), recent)])


class _Body:
    """What every completion has in common."""

    def __init__(self) -> None:
        words = "It is the light of the sun, of which the air scatters the blue part most. " * 6
        choice = {
            "index": 0,
            "message": {"role": "assistant", "content": words},
            "finish_reason": "stop",
        }
        usage = {"prompt_tokens": 9, "completion_tokens": 97, "total_tokens": 106}
        made = completion_of(
            {"messages": [{"role": "user", "content": "Why is the sky blue?"}]},
            {"id": _id(0), "created": _BEGAN, "choices": [choice], "usage": usage},
            model="model",
            deployment="deployment",
            request_id="request",
        )
        self._completion, self._messages = made.completion, made.messages
        self.stored_bytes = len(made.completion) + len(made.messages)

    def row(
        self, number: int, model: str, deployment: str, metadata: Mapping[str, str]
    ) -> tuple[object, ...]:
        completion = self._completion.replace(_id(0).encode(), _id(number).encode())
        created = _BEGAN + number
        head = (number + 1, _id(number), _RESOURCE, model, deployment, created, self.stored_bytes)
        return (*head, orjson.dumps(metadata).decode(), completion, self._messages)


def _insert(database: Database, table: sa.Table, rows: Sequence[tuple[object, ...]]) -> None:
    """Insert rows whose values are in the order of the table's columns."""
    with database.transaction() as tx, closing(tx.connection.cursor()) as cursor:
        if database.is_sqlite:
            places = ", ".join("?" * len(rows[0]))
            cursor.executemany(f"INSERT INTO {table.name} VALUES ({places})", rows)
            return
        with cursor.copy(f"COPY {table.name} FROM STDIN") as copy:
            for row in rows:
                copy.write_row(row)


def _sliced(numbers: Sequence[int]) -> Iterator[Sequence[int]]:
    for start in range(0, len(numbers), _SLICE):
        yield numbers[start : start + _SLICE]


if __name__ == "__main__":
    options = script.parser(__doc__, completions=1_000_000, requests=200).parse_args()
    script.run("stored_list", options, measure)
