"""The rows of stored completions: every statement about them, and none of the rules.

Whatever adds or removes a completion changes what it is found by, and then what its resource has,
in the same transaction; see `marks` for the order. `finding` tells who bears several marks.
"""

import itertools
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import orjson
import sqlalchemy as sa

from linarite.http.pages import Listed, Page, listed, unknown_after
from linarite.resources.stored_completions.finding import Place, bearing
from linarite.resources.stored_completions.marks import Label, change
from linarite.resources.stored_completions.records import (
    NewCompletion,
    StoredRecord,
    marks_of,
    pack,
    unpack,
)
from linarite.resources.stored_completions.statements import returned, run_each
from linarite.storage.database import Transaction
from linarite.storage.tables import (
    stored_completion_exports,
    stored_completion_usage,
    stored_completions,
)

_COLUMNS = [stored_completions.c[field.name] for field in fields(StoredRecord)]
_PLACE = (stored_completions.c.created, stored_completions.c.seq)
# What every stored chat waits for goes to the driver as it stands, for SQLAlchemy's own work on
# the four statements would be longer than the database's.
_INSERT = (
    "INSERT INTO stored_completions (id, resource, model, deployment, created, stored_bytes, "
    "metadata, completion, messages) VALUES "
)
_ONE_ROW = "(%s, %s, %s, %s, %s, %s, %s, %s, %s)"
_MOST_ROWS = 1_000
"""Of one statement, which may have 32,766 values on SQLite and 65,535 on PostgreSQL."""
_INSERTED = " RETURNING resource, id, seq"
_COUNT_USAGE = (
    "INSERT INTO stored_completion_usage (resource, completions, bytes) VALUES (%s, %s, %s) "
    "ON CONFLICT (resource) DO UPDATE "
    "SET completions = stored_completion_usage.completions + excluded.completions, "
    "bytes = stored_completion_usage.bytes + excluded.bytes"
)

_AT = sa.select(*_COLUMNS).where(
    # as a column it would lead SQLite to an index of all that the resource has
    stored_completions.c.resource.concat("") == sa.bindparam("resource"),
    stored_completions.c.seq.in_(sa.bindparam("seqs", expanding=True)),
)
Change = tuple[str, int, int]
"""A resource, how many completions more it has, and how many bytes."""
Whole = tuple[StoredRecord, bytes]
"""A completion, and JSON of its messages."""


@dataclass(frozen=True, slots=True)
class NewRow:
    """A completion as it goes into the tables; made before the transaction, which shall be short.

    Args:
        resource: whose it is.
        new: the completion.
        completion, messages: the completion's, as they are stored.
        marks: what it is found by.
    """

    resource: str
    new: NewCompletion
    completion: bytes
    messages: bytes
    marks: frozenset[bytes]

    @property
    def stored_bytes(self) -> int:
        """What it counts for."""
        return len(self.completion) + len(self.messages)

    def values(self) -> tuple[Any, ...]:
        """What `_INSERT` takes."""
        new = self.new
        head = (new.id, self.resource, new.model, new.deployment, new.created, self.stored_bytes)
        return (*head, orjson.dumps(new.metadata).decode(), self.completion, self.messages)


def new_row(resource: str, new: NewCompletion) -> NewRow:
    """The row of a completion that is to be stored for `resource`."""
    marks = marks_of(resource, new.model, new.deployment, new.metadata)
    return NewRow(resource, new, pack(new.completion), pack(new.messages), marks)


def add(tx: Transaction, rows: Sequence[NewRow]) -> None:
    """Store completions.

    Raises:
        sqlalchemy.exc.IntegrityError: a resource has one of that id.
    """
    seqs: dict[tuple[str, str], int] = {}
    for start in range(0, len(rows), _MOST_ROWS):
        some = rows[start : start + _MOST_ROWS]
        statement = _INSERT + ", ".join([_ONE_ROW] * len(some)) + _INSERTED
        values = itertools.chain.from_iterable(row.values() for row in some)
        inserted = returned(tx, statement, tuple(values))
        seqs |= {(resource, name): seq for resource, name, seq in inserted}
    labels: list[Label] = []
    for row in rows:
        seq = seqs[row.resource, row.new.id]
        labels += [(mark, row.new.created, seq) for mark in row.marks]
    change(tx, labels)
    _count_usage(tx, ((row.resource, 1, row.stored_bytes) for row in rows))


def find(
    connection: sa.Connection, resource: str, completion_id: str, *, lock: bool = False
) -> StoredRecord | None:
    """The completion of that resource; with `lock`, nobody changes it until the end."""
    query = sa.select(*_COLUMNS).where(_is(resource, completion_id))
    row = connection.execute(query.with_for_update() if lock else query).mappings().one_or_none()
    return None if row is None else StoredRecord(**row)


def messages(connection: sa.Connection, resource: str, completion_id: str) -> bytes | None:
    """JSON of a completion's messages."""
    query = sa.select(stored_completions.c.messages).where(_is(resource, completion_id))
    stored = connection.execute(query).scalar_one_or_none()
    return None if stored is None else unpack(stored)


def page(
    connection: sa.Connection, resource: str, wanted: Page, marks: Sequence[bytes]
) -> Listed[StoredRecord]:
    """A page of a resource's completions that bear all of `marks`, of which the first is rarest.

    Raises:
        InvalidPayload: `wanted.after` is no completion of the resource.
    """
    after = None if wanted.after is None else _place(connection, resource, wanted.after)
    if marks:
        seqs = bearing(connection, marks, wanted, after)
        rows = connection.execute(_AT, {"resource": resource, "seqs": seqs}).mappings()
        records = {row["seq"]: StoredRecord(**row) for row in rows}
        return listed([records[seq] for seq in seqs], wanted)
    query = sa.select(*_COLUMNS).where(stored_completions.c.resource == resource)
    rows = connection.execute(_cut(query, wanted, after)).mappings()
    return listed([StoredRecord(**row) for row in rows], wanted)


def walk(
    connection: sa.Connection,
    resource: str,
    marks: Sequence[bytes],
    *,
    newest: int,
    after: StoredRecord | None,
    limit: int,
    descending: bool = True,
) -> list[Whole]:
    """The next completions of a walk through all that bear `marks`, of which the first is rarest.

    What is stored or deleted between two steps moves nothing, the record `after` included.

    Args:
        connection: where to.
        resource: whose.
        marks: none for all of the resource's.
        newest: the last `seq` that is looked at.
        after: where the step before ended; None for the first.
        limit: how many at most; fewer are there at the end.
        descending: newest first.
    """
    wanted = Page(limit, descending=descending)
    place = None if after is None else (after.created, after.seq)
    if marks:
        seqs = bearing(connection, marks, wanted, place, newest)[:limit]
        found = at(connection, resource, seqs)
        return [found[seq] for seq in seqs]
    query = sa.select(*_COLUMNS, stored_completions.c.messages)
    query = query.where(
        stored_completions.c.resource == resource, stored_completions.c.seq <= newest
    )
    rows = connection.execute(_cut(query, wanted, place)).mappings()
    return [_whole(row) for row in rows][:limit]


def at(connection: sa.Connection, resource: str, seqs: Sequence[int]) -> dict[int, Whole]:
    """The completions of a resource that are at these places."""
    query = _AT.add_columns(stored_completions.c.messages)
    rows = connection.execute(query, {"resource": resource, "seqs": seqs}).mappings()
    return {row["seq"]: _whole(row) for row in rows}


def last_seq(connection: sa.Connection) -> int:
    """The place of what was stored last, by anybody.

    On PostgreSQL places are given before the commit: what is being stored at this moment may be at
    an earlier place and come in sight later.
    """
    return connection.execute(sa.select(sa.func.max(stored_completions.c.seq))).scalar() or 0


def add_export(tx: Transaction, file_id: str, request: Mapping[str, Any], newest: int) -> None:
    """Note what a file is to be made of."""
    values = {"file_id": file_id, "request": dict(request), "newest": newest}
    tx.execute(sa.insert(stored_completion_exports).values(values))


def find_export(connection: sa.Connection, file_id: str) -> tuple[dict[str, Any], int] | None:
    """The request of an export, and the `newest` that it goes to; None when it is over."""
    table = stored_completion_exports
    query = sa.select(table.c.request, table.c.newest).where(table.c.file_id == file_id)
    row = connection.execute(query).one_or_none()
    return None if row is None else (row.request, row.newest)


def remove_export(tx: Transaction, file_id: str) -> None:
    """Forget an export."""
    table = stored_completion_exports
    tx.execute(sa.delete(table).where(table.c.file_id == file_id))


def count_all(connection: sa.Connection, resource: str) -> int:
    """How many completions a resource has."""
    table = stored_completion_usage
    query = sa.select(table.c.completions).where(table.c.resource == resource)
    return connection.execute(query).scalar() or 0


def usage(connection: sa.Connection) -> Sequence[tuple[str, int]]:
    """Every resource that has completions, and how many bytes of them."""
    table = stored_completion_usage
    query = sa.select(table.c.resource, table.c.bytes).where(table.c.completions > 0)
    return [(resource, stored) for resource, stored in connection.execute(query)]


def set_metadata(tx: Transaction, record: StoredRecord, metadata: Mapping[str, str]) -> None:
    """Give a completion, which the caller has locked, other metadata."""
    tx.execute(
        sa.update(stored_completions)
        .where(stored_completions.c.seq == record.seq)
        .values(metadata=dict(metadata))
    )
    before = _marks(record)
    after = marks_of(record.resource, record.model, record.deployment, metadata)
    change(tx, _labels(record, after - before), _labels(record, before - after))


def delete(tx: Transaction, resource: str, completion_id: str) -> bool:
    """Delete a completion with its messages; whether there was one."""
    return bool(_delete(tx, _is(resource, completion_id)))


def delete_seqs(tx: Transaction, seqs: Sequence[int]) -> int:
    """Delete completions by their places; how many were still there."""
    return _delete(tx, stored_completions.c.seq.in_(seqs))


def oldest(
    connection: sa.Connection, resource: str, limit: int, *, before: int | None = None
) -> Sequence[tuple[int, int]]:
    """Place and bytes of a resource's oldest completions, of those made before a time."""
    query = sa.select(stored_completions.c.seq, stored_completions.c.stored_bytes)
    query = query.where(stored_completions.c.resource == resource)
    if before is not None:
        query = query.where(stored_completions.c.created < before)
    rows = connection.execute(query.order_by(*_PLACE).limit(limit))
    return [(seq, stored) for seq, stored in rows]


def _delete(tx: Transaction, which: sa.ColumnElement[bool]) -> int:
    statement = sa.delete(stored_completions).where(which).returning(*_COLUMNS)
    records = [StoredRecord(**row) for row in tx.execute(statement).mappings()]
    if not records:
        return 0
    gone = [label for record in records for label in _labels(record, _marks(record))]
    change(tx, [], gone)
    _count_usage(tx, ((record.resource, -1, -record.stored_bytes) for record in records))
    return len(records)


def _count_usage(tx: Transaction, changes: Iterable[Change]) -> None:
    completions: Counter[str] = Counter()
    stored: Counter[str] = Counter()
    for resource, more, more_bytes in changes:
        completions[resource] += more
        stored[resource] += more_bytes
    rows = [(resource, completions[resource], stored[resource]) for resource in completions]
    run_each(tx, _COUNT_USAGE, sorted(rows))


def _is(resource: str, completion_id: str) -> sa.ColumnElement[bool]:
    table = stored_completions
    return sa.and_(table.c.resource == resource, table.c.id == completion_id)


def _marks(record: StoredRecord) -> frozenset[bytes]:
    return marks_of(record.resource, record.model, record.deployment, record.metadata)


def _labels(record: StoredRecord, marks: Iterable[bytes]) -> list[Label]:
    return [(mark, record.created, record.seq) for mark in marks]


def _place(connection: sa.Connection, resource: str, completion_id: str) -> Place:
    row = connection.execute(sa.select(*_PLACE).where(_is(resource, completion_id))).one_or_none()
    if row is None:
        raise unknown_after(completion_id)
    return row.created, row.seq


def _whole(row: sa.RowMapping) -> Whole:
    values: dict[str, Any] = {**row}
    found = values.pop("messages")
    return StoredRecord(**values), unpack(found)


def _cut(query: sa.Select[Any], wanted: Page, after: Place | None) -> sa.Select[Any]:
    """`query` cut to a page in the order of places; one row more tells whether more follow."""
    if after is not None:
        here, there = sa.tuple_(*_PLACE), sa.tuple_(*map(sa.literal, after))
        query = query.where(here < there if wanted.descending else here > there)
    ordered = [column.desc() if wanted.descending else column for column in _PLACE]
    return query.order_by(*ordered).limit(wanted.limit + 1)
