"""Malformed requests sent to one server, and whether they changed anything they should not have."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import httpx
import sqlalchemy as sa
from tests.support.server import Server

_SHOWN = 2_000


@dataclass
class Campaign:
    """A server under odd requests. A failure of it, or anything a refusal leaves, ends the test."""

    server: Server
    statuses: Counter[int] = field(default_factory=Counter)
    sent: set[str] = field(default_factory=set)
    _there: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._counts = _counts(self.server)
        self._there = self.possessions()
        self._client = self.server.client()

    def send(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Send one request, with key and version."""
        answer = self._client.request(method, path, **options)
        self.judge(f"{method} {path} {options}", answer.status_code)
        return answer

    def judge(self, sent: str, status: int) -> None:
        """Note a request and its answer."""
        self.sent.add(sent)
        self.statuses[status] += 1
        assert status < 500, f"{status} to {sent[:_SHOWN]}"
        there = self.possessions()
        if status >= 400:
            assert there == self._there, f"{status} left something behind: {sent[:_SHOWN]}"
        self._there = there

    def possessions(self) -> dict[str, int]:
        """How many rows each table has, and how many files the blob folder."""
        folder = self.server.settings.data / "blobs"
        found = {"files of blobs": sum(path.is_file() for path in folder.rglob("*"))}
        with self.server.built.database.reading() as connection:
            found |= {str(name): int(count) for name, count in connection.execute(self._counts)}
        return found

    def close(self) -> None:
        """End the connection."""
        self._client.close()


def _counts(server: Server) -> sa.CompoundSelect[tuple[str, int]]:
    """One statement that counts the rows of every table, the queue's own included."""
    database = server.built.database
    queue_schema = None if database.is_sqlite else "dbos"
    with database.reading() as connection:
        look = sa.inspect(connection)
        names = {
            (name, schema)
            for schema in {None, queue_schema}
            for name in look.get_table_names(schema)
        }
    return sa.union_all(
        *(
            sa.select(sa.literal(name), sa.func.count()).select_from(sa.table(name, schema=schema))
            for name, schema in sorted(names, key=str)
        )
    )
