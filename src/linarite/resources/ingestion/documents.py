"""The rows of documents: what was listed, who works on it, and what of it lies in the target.

    pending ──▶ indexed | failed ──▶ pending      when the document or its making has changed

A lane that works on a document holds it by its own name, and lets go of it with the same statement
that settles it. What a lane that died held is found by that name when the lane is performed again:
the queue lets one worker at a time perform it. `chunks_most` is raised before anything goes into
the target and lowered when what is too much there was deleted: so it bounds what can lie there.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any

import sqlalchemy as sa

from linarite.indexing.containers.container import Item
from linarite.resources.ingestion.texts import reason, storable
from linarite.storage.database import Database, Transaction
from linarite.storage.tables import ingestion_documents as documents


class State(StrEnum):
    """How far a document is."""

    PENDING = "pending"
    INDEXED = "indexed"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Document:
    """A document that is to be worked on; the columns as `storage.tables` tells of them."""

    seq: int
    id: str
    key: str
    version: str
    url: str
    title: str | None
    content_type: str | None
    bytes: int
    attempts: int
    digest: str | None
    fingerprint: str | None
    chunks: int
    chunks_most: int
    run: str | None

    @property
    def item(self) -> Item:
        """The document as its container knows it."""
        return Item(self.key, self.version, self.url, self.bytes, self.title, self.content_type)


@dataclass(frozen=True, slots=True)
class Counts:
    """How many documents of a job are in each state, and how many chunks they have."""

    pending: int
    indexed: int
    failed: int

    @property
    def total(self) -> int:
        """All of them."""
        return self.pending + self.settled

    @property
    def settled(self) -> int:
        """Those that nothing is to be done about."""
        return self.indexed + self.failed


@dataclass(frozen=True, slots=True)
class Settled:
    """How one document ended, as a lane says it.

    Args:
        document: which; it becomes `pending` again where it was listed in another version since.
        chunks: how many of its chunks lie in the target.
        digest: of what they were made of; None where the document failed.
        error: why it failed.
    """

    document: Document
    chunks: int
    digest: str | None
    error: str | None = None
    characters = 0


_COLUMNS = [documents.c[field.name] for field in fields(Document)]
_REMOVED_AT_ONCE = 2_000
_INSERT = sa.text(  # the same words in both databases
    "INSERT INTO ingestion_documents"
    " (job, id, key, version, url, title, content_type, bytes, state)"
    " VALUES (:job, :id, :key, :version, :url, :title, :content_type, :bytes, 'pending')"
    " ON CONFLICT DO NOTHING"
)


def document_id(resource: str, job_id: str, key: str) -> str:
    """What the ids of a document's chunks begin with: the same for the same document, always."""
    return hashlib.sha256("\0".join((resource, job_id, key)).encode()).hexdigest()[:32]


def chunk_id(document: str, number: int) -> str:
    """The id of a document's chunk; numbers begin at 0."""
    return f"{document}-{number}"


def chunk_ids(document: str, first: int, end: int) -> list[str]:
    """The ids of a document's chunks from number `first` up to `end`, which is not among them."""
    return [chunk_id(document, number) for number in range(first, end)]


def ends(connection: sa.Connection, job: int) -> tuple[int, int]:
    """The lowest and highest `seq` of the job's documents; those added later lie above."""
    seq = documents.c.seq
    query = sa.select(sa.func.min(seq), sa.func.max(seq)).where(documents.c.job == job)
    lowest, highest = connection.execute(query).one()
    return (lowest or 0, highest or 0)


@dataclass(frozen=True, slots=True)
class Known:
    """What a listing is compared with."""

    seq: int
    version: str
    state: State
    fingerprint: str | None
    run: str | None


def known(connection: sa.Connection, job: int, ids: Iterable[str]) -> dict[str, Known]:
    """What is known of documents, by id; nothing of those that are new."""
    columns = [documents.c[field.name] for field in fields(Known)]
    query = sa.select(documents.c.id, *columns).where(
        documents.c.job == job, documents.c.id.in_(list(ids))
    )
    return {
        row[0]: Known(row[1], row[2], State(row[3]), *row[4:]) for row in connection.execute(query)
    }


def add(tx: Transaction, job: int, new: Mapping[str, Item]) -> None:
    """Add documents, by id, that are to be worked on."""
    tx.execute(_INSERT, [{"job": job, "id": id_, **_listed(item)} for id_, item in new.items()])


def change(tx: Transaction, changed: Mapping[int, Item]) -> None:
    """Note documents, by `seq`, as they are listed now; they are to be worked on.

    One that a lane holds stays with it: the lane finds that the version is another, and lets go.
    """
    statement = sa.update(documents).where(documents.c.seq == sa.bindparam("of"))
    values: dict[str, Any] = {name: sa.bindparam(f"new_{name}") for name in _LISTED}
    statement = statement.values(**values, state=State.PENDING, attempts=0)
    tx.execute(
        statement,
        [
            {"of": seq, **{f"new_{name}": value for name, value in _listed(item).items()}}
            for seq, item in changed.items()
        ],
    )


_LISTED = ("key", "version", "url", "title", "content_type", "bytes")


def _listed(item: Item) -> dict[str, Any]:
    return {
        "key": item.key,
        "version": item.version,
        "url": storable(item.url),
        "title": None if item.title is None else storable(item.title),
        "content_type": None if item.content_type is None else storable(item.content_type),
        "bytes": item.size,
    }


def redo(tx: Transaction, job: int) -> None:
    """Have everything that is indexed written into the target anew."""
    is_indexed = (documents.c.job == job) & (documents.c.state == State.INDEXED)
    values = {"state": State.PENDING, "digest": None, "attempts": 0}
    tx.execute(sa.update(documents).where(is_indexed).values(values))


def move_out(tx: Transaction, job: int) -> None:
    """Note that no chunks lie in the target, which is another from now on."""
    is_filed = (documents.c.job == job) & (documents.c.state != State.FAILED)
    nothing = {"digest": None, "chunks": 0, "chunks_most": 0}
    tx.execute(sa.update(documents).where(documents.c.job == job).values(nothing))
    tx.execute(sa.update(documents).where(is_filed).values(state=State.PENDING, attempts=0))


def counts(connection: sa.Connection, job: int) -> Counts:
    """How many documents are in each state."""
    query = sa.select(documents.c.state, sa.func.count()).where(documents.c.job == job)
    found: dict[str, int] = dict(connection.execute(query.group_by(documents.c.state)).all())
    return Counts(*(found.get(state, 0) for state in (State.PENDING, State.INDEXED, State.FAILED)))


def count_up_to(connection: sa.Connection, job: int, seq: int) -> int:
    """How many of the job's documents are not above `seq`."""
    is_its = (documents.c.job == job) & (documents.c.seq <= seq)
    return connection.execute(sa.select(sa.func.count()).where(is_its)).scalar_one()


def count_left_out(connection: sa.Connection, job: int, run: str) -> int:
    """How many documents failed in an earlier run and were not tried in this one."""
    is_left_out = (
        (documents.c.job == job) & (documents.c.state == State.FAILED) & (documents.c.run != run)
    )
    return connection.execute(sa.select(sa.func.count()).where(is_left_out)).scalar_one()


def chunks(connection: sa.Connection, job: int) -> int:
    """How many chunks of all the job's documents are in the target, once nobody works on any."""
    query = sa.select(sa.func.coalesce(sa.func.sum(documents.c.chunks), 0))
    return int(connection.execute(query.where(documents.c.job == job)).scalar_one())


def chunks_of(connection: sa.Connection, job: int, ids: Iterable[str]) -> dict[str, int]:
    """How many chunks documents have in the target, by id; nothing of those that are not known."""
    query = sa.select(documents.c.id, documents.c.chunks).where(
        documents.c.job == job, documents.c.id.in_(list(ids))
    )
    found: dict[str, int] = dict(connection.execute(query).all())
    return found


def are_held(connection: sa.Connection, job: int, *, by_others_than: str = "") -> bool:
    """Whether any lane works on documents of the job.

    Args:
        connection: to read with.
        job: which.
        by_others_than: a run, whose own lanes do not count.
    """
    held = sa.select(documents.c.seq).where(documents.c.lane.is_not(None), documents.c.job == job)
    if by_others_than:
        held = held.where(documents.c.lane.not_like(f"{by_others_than}/%"))
    return connection.execute(held.limit(1)).first() is not None


def claim(
    database: Database, tx: Transaction, job: int, lane: str, most: int, most_bytes: int
) -> list[Document]:
    """Give a lane documents that nobody works on: `most`, of `most_bytes`, but one at least."""
    free = (
        sa.select(documents.c.seq, documents.c.bytes)
        .where(
            documents.c.job == job,
            documents.c.state == State.PENDING,
            documents.c.lane.is_(None),
        )
        .order_by(documents.c.seq)
        .limit(most)
    )
    if not database.is_sqlite:
        free = free.with_for_update(skip_locked=True)
    some = free.subquery()
    before = sa.func.sum(some.c.bytes).over(order_by=some.c.seq) - some.c.bytes
    fitting = sa.select(some.c.seq, before.label("before")).subquery()
    taken = sa.select(fitting.c.seq).where(fitting.c.before < most_bytes)
    statement = sa.update(documents).where(documents.c.seq.in_(taken)).values(lane=lane)
    return _found(tx, statement.returning(*_COLUMNS))


def left_by(connection: sa.Connection, lane: str) -> list[tuple[int, int]]:
    """The `seq` of every document that a lane holds, with how often it was left so."""
    query = sa.select(documents.c.seq, documents.c.attempts).where(documents.c.lane == lane)
    return [
        (seq, attempts) for seq, attempts in connection.execute(query.order_by("attempts", "seq"))
    ]


def take_up(tx: Transaction, seqs: Sequence[int]) -> list[Document]:
    """Begin once more with documents that a lane held when its worker died."""
    statement = sa.update(documents).where(documents.c.seq.in_(seqs))
    return _found(tx, statement.values(attempts=documents.c.attempts + 1).returning(*_COLUMNS))


def write_ahead(tx: Transaction, most: Sequence[tuple[Document, int]]) -> None:
    """Note how many chunks of documents may lie in the target from now on."""
    statement = sa.update(documents).where(documents.c.seq == sa.bindparam("of"))
    values: dict[str, Any] = {"chunks_most": sa.bindparam("most"), "digest": None}
    tx.execute(
        statement.values(values),
        [{"of": one.seq, "most": max(one.chunks_most, count)} for one, count in most],
    )


def settle(tx: Transaction, ended: Sequence[Settled], fingerprint: str, run: str, now: int) -> None:
    """Note how documents ended, and let go of them; what is too much in the target is deleted."""
    is_as_read = documents.c.version == sa.bindparam("as_read")
    statement = (
        sa.update(documents)
        .where(documents.c.seq == sa.bindparam("of"))
        .values(
            state=sa.case((is_as_read, sa.bindparam("ended")), else_=State.PENDING),
            lane=None,
            attempts=0,
            digest=sa.bindparam("made_of"),
            chunks=sa.bindparam("count"),
            chunks_most=sa.bindparam("count"),
            error=sa.bindparam("why"),
            fingerprint=fingerprint,
            run=run,
            settled_at=now,
        )
    )
    tx.execute(
        statement,
        [
            {
                "of": one.document.seq,
                "as_read": one.document.version,
                "ended": State.INDEXED if one.error is None else State.FAILED,
                "made_of": one.digest,
                "count": one.chunks,
                "why": None if one.error is None else reason(one.error),
            }
            for one in ended
        ],
    )


def let_go(tx: Transaction, lane: str) -> None:
    """Give back what a lane holds."""
    tx.execute(sa.update(documents).where(documents.c.lane == lane).values(lane=None))


def give_back(tx: Transaction, lane: str, seqs: Sequence[int]) -> None:
    """Give back some of what a lane holds."""
    its = (documents.c.lane == lane) & documents.c.seq.in_(seqs)
    tx.execute(sa.update(documents).where(its).values(lane=None))


def walk(connection: sa.Connection, job: int, after: int, most: int) -> list[Document]:
    """The job's documents in the order of `seq`."""
    query = sa.select(*_COLUMNS).where(documents.c.job == job, documents.c.seq > after)
    return _found(connection, query.order_by(documents.c.seq).limit(most))


def remove(tx: Transaction, seqs: Sequence[int]) -> None:
    """Forget documents."""
    tx.execute(sa.delete(documents).where(documents.c.seq.in_(seqs)))


def remove_some(tx: Transaction, job: int) -> bool:
    """Forget a slice of a job's documents; whether there were any."""
    some = sa.select(documents.c.seq).where(documents.c.job == job).limit(_REMOVED_AT_ONCE)
    is_some = documents.c.seq.in_(some.scalar_subquery())
    return tx.execute(sa.delete(documents).where(is_some)).rowcount > 0


def _found(connection: sa.Connection, query: sa.Executable) -> list[Document]:
    rows = connection.execute(query).all()
    return sorted((Document(*row) for row in rows), key=lambda one: one.seq)
