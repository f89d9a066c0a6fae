"""The rows of stored completions: every statement about them, and none of the rules.

Whatever adds or removes a completion changes its labels and the counts in the same transaction,
the counts last and in the order of their keys: transactions that change the same ones wait for
each other for as short as they can, and never in a ring.
"""

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Any

import orjson
import sqlalchemy as sa

from linarite.http.pages import Listed, Page, listed, unknown_after
from linarite.resources.stored_completions.records import (
    NewCompletion,
    StoredRecord,
    marks_of,
    pack,
    unpack,
)
from linarite.storage.database import Transaction
from linarite.storage.tables import (
    stored_completion_counts,
    stored_completion_exports,
    stored_completion_usage,
    stored_completions,
)
from linarite.wire.shapes import INT64_MAX

COUNTED = 1_000
"""Up to how many completions are looked through to count those that meet several conditions."""

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
_INSERT_LABEL = (
    "INSERT INTO stored_completion_labels (mark, created, completion) VALUES (%s, %s, %s)"
)
_DELETE_LABEL = (
    "DELETE FROM stored_completion_labels WHERE mark = %s AND created = %s AND completion = %s"
)
_COUNT = (
    "INSERT INTO stored_completion_counts (mark, completions) VALUES (%s, %s) "
    "ON CONFLICT (mark) DO UPDATE "
    "SET completions = stored_completion_counts.completions + excluded.completions"
)
_DROP_EMPTY = "DELETE FROM stored_completion_counts WHERE mark = %s AND completions <= 0"
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
# PostgreSQL would make a join of EXISTS, over all that bear either mark
_PROBE = (
    "(SELECT 1 FROM stored_completion_labels o "
    "WHERE o.mark = %s AND o.created = c.created AND o.completion = c.completion)"
)
_STRIDE = 64
_LONGEST_STRIDE = 4_096

Place = tuple[int, int]
"""A completion's time and seq, by which lists are ordered."""
Label = tuple[bytes, int, int]
"""A mark, and the time and the place of a completion that bears it."""
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
        inserted = _returned(tx, statement, tuple(values))
        seqs |= {(resource, name): seq for resource, name, seq in inserted}
    marks: Counter[bytes] = Counter()
    labels: list[Label] = []
    for row in rows:
        marks.update(row.marks)
        seq = seqs[row.resource, row.new.id]
        labels += [(mark, row.new.created, seq) for mark in row.marks]
    _driver(tx, _INSERT_LABEL, labels)
    _count(tx, marks)
    _count_usage(tx, ((row.resource, 1, row.stored_bytes) for row in rows))


def _driver(tx: Transaction, statement: str, rows: Sequence[tuple[Any, ...]]) -> None:
    """Run a statement with each of `rows`."""
    with _cursor(tx) as (cursor, form):
        cursor.executemany(statement.replace("%s", form), rows)


def _returned(tx: Transaction, statement: str, values: Sequence[Any]) -> Sequence[Any]:
    """Run a statement; the rows that it gives back."""
    with _cursor(tx) as (cursor, form):
        cursor.execute(statement.replace("%s", form), values)
        return list(cursor.fetchall())


@contextmanager
def _cursor(tx: Transaction) -> Iterator[tuple[Any, str]]:
    """A cursor of the driver's in `tx`, and how a value is written; fails as SQLAlchemy does."""
    if not tx.in_transaction():
        tx.begin()
    cursor, driver = tx.connection.cursor(), tx.dialect.loaded_dbapi
    try:
        yield cursor, "?" if driver.paramstyle == "qmark" else "%s"
    except driver.Error as error:
        raise sa.exc.DBAPIError.instance(None, None, error, driver.Error) from error
    finally:
        cursor.close()


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
        seqs = _bearing(connection, marks, wanted, after)
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
        seqs = _bearing(connection, marks, wanted, place, newest)[:limit]
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


def counts(connection: sa.Connection, marks: Iterable[bytes]) -> dict[bytes, int]:
    """How many completions bear each mark."""
    table = stored_completion_counts
    query = sa.select(table.c.mark, table.c.completions).where(table.c.mark.in_(marks))
    found = {bytes(mark): count for mark, count in connection.execute(query)}
    return {mark: found.get(mark, 0) for mark in marks}


def count_bearing(connection: sa.Connection, marks: Sequence[bytes]) -> int:
    """How many completions bear all of `marks`; looks at each that bears the first."""
    first, *others = marks
    bears = " AND ".join([f"{_PROBE} IS NOT NULL"] * len(others))
    statement = f"SELECT count(*) FROM stored_completion_labels c WHERE mark = %s AND {bears}"
    [(found,)] = _returned(connection, statement, [first, *others])
    return int(found)


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
    before, after = (
        _marks(record),
        marks_of(record.resource, record.model, record.deployment, metadata),
    )
    gone, new = before - after, after - before
    if gone:
        _driver(tx, _DELETE_LABEL, [(mark, record.created, record.seq) for mark in gone])
    if new:
        _driver(tx, _INSERT_LABEL, [(mark, record.created, record.seq) for mark in new])
    _count(tx, dict.fromkeys(gone, -1) | dict.fromkeys(new, 1))


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
    marks: Counter[bytes] = Counter()
    labels: list[Label] = []
    for record in records:
        for mark in _marks(record):
            marks[mark] -= 1
            labels.append((mark, record.created, record.seq))
    _driver(tx, _DELETE_LABEL, labels)
    _count(tx, marks)
    _count_usage(tx, ((record.resource, -1, -record.stored_bytes) for record in records))
    return len(records)


def _count(tx: Transaction, changes: Mapping[bytes, int]) -> None:
    if not changes:
        return
    _driver(tx, _COUNT, sorted(changes.items()))
    if fewer := [(mark,) for mark in changes if changes[mark] < 0]:
        _driver(tx, _DROP_EMPTY, fewer)


def _count_usage(tx: Transaction, changes: Iterable[Change]) -> None:
    completions: Counter[str] = Counter()
    stored: Counter[str] = Counter()
    for resource, more, more_bytes in changes:
        completions[resource] += more
        stored[resource] += more_bytes
    rows = [(resource, completions[resource], stored[resource]) for resource in completions]
    _driver(tx, _COUNT_USAGE, sorted(rows))


def _is(resource: str, completion_id: str) -> sa.ColumnElement[bool]:
    table = stored_completions
    return sa.and_(table.c.resource == resource, table.c.id == completion_id)


def _marks(record: StoredRecord) -> frozenset[bytes]:
    return marks_of(record.resource, record.model, record.deployment, record.metadata)


def _bearing(
    connection: sa.Connection,
    marks: Sequence[bytes],
    wanted: Page,
    after: Place | None,
    newest: int = INT64_MAX,
) -> list[int]:
    """The seqs of a page of completions that bear all of `marks`, and of one more, up to `newest`.

    Looks through those that bear the first mark, a stride at a time, for the others. Where a
    stride held few, the next begins where all marks have something still to come: marks that
    were given at different times are told apart at once, however many bear them.
    """
    place: Place | None = _start(wanted, after)
    found: list[int] = []
    stride = _STRIDE
    while place is not None and len(found) <= wanted.limit:
        found += _in_stride(connection, marks, wanted, place, stride, newest)
        last = _following(connection, marks[0], wanted, place, stride - 1)
        place = last and _leap(connection, marks, wanted, _beyond(wanted, last))
        stride = min(2 * stride, _LONGEST_STRIDE)
    return found[: wanted.limit + 1]


def _in_stride(
    connection: sa.Connection,
    marks: Sequence[bytes],
    wanted: Page,
    place: Place,
    stride: int,
    newest: int,
) -> list[int]:
    """The seqs, up to `newest`, of those that bear all marks among the next that bear the first."""
    first, *others = marks
    bears = "".join(f" AND {_PROBE} IS NOT NULL" for _ in others)
    statement = f"SELECT created, completion FROM ({_next(wanted)}) c WHERE completion <= %s{bears}"
    found = _returned(connection, statement, [first, *place, stride, 0, newest, *others])
    return [seq for _, seq in sorted(found, reverse=wanted.descending)]


def _leap(
    connection: sa.Connection, marks: Sequence[bytes], wanted: Page, place: Place
) -> Place | None:
    """The first place from `place` on from which every mark is still to come, if there is one."""
    for mark in marks:
        following = _following(connection, mark, wanted, place)
        if following is None:
            return None
        place = following
    return place


def _following(
    connection: sa.Connection, mark: bytes, wanted: Page, place: Place, skipped: int = 0
) -> Place | None:
    """The place of the next that bears a mark, after so many others."""
    for created, seq in _returned(connection, _next(wanted), [mark, *place, 1, skipped]):
        return created, seq
    return None


def _next(wanted: Page) -> str:
    """Selects those that bear a mark from a place on."""
    beyond, direction = ("<=", "DESC") if wanted.descending else (">=", "ASC")
    return (
        "SELECT created, completion FROM stored_completion_labels "
        f"WHERE mark = %s AND (created, completion) {beyond} (%s, %s) "
        f"ORDER BY created {direction}, completion {direction} LIMIT %s OFFSET %s"
    )


def _start(wanted: Page, after: Place | None) -> Place:
    if after is not None:
        return _beyond(wanted, after)
    return (INT64_MAX, INT64_MAX) if wanted.descending else (-INT64_MAX, -INT64_MAX)


def _beyond(wanted: Page, place: Place) -> Place:
    created, seq = place
    return (created, seq - 1 if wanted.descending else seq + 1)


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
