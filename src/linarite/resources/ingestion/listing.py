"""The documents of a job as its owner sees them: state by state, with the reason of a failure."""

from dataclasses import dataclass, fields

import sqlalchemy as sa

from linarite.errors import InvalidPayload
from linarite.http.pages import Listed, Page, keyset, listed, unknown_after
from linarite.resources.ingestion.documents import State
from linarite.resources.ingestion.records import JobRecord
from linarite.storage.tables import ingestion_documents as documents
from linarite.wire.ingestion import IngestionDocument


@dataclass(frozen=True, slots=True)
class ListedDocument:
    """What is told of a row of `ingestion_documents`."""

    id: str
    key: str
    url: str
    title: str | None
    bytes: int
    state: str
    error: str | None
    chunks: int
    run: str | None

    def to_wire(self) -> IngestionDocument:
        """The document as lists show it."""
        return IngestionDocument(
            id=self.id,
            key=self.key,
            url=self.url,
            title=self.title,
            bytes=self.bytes,
            state=self.state,
            reason=self.error if self.state == State.FAILED else None,
            chunks=self.chunks,
            run_id=self.run,
        )


_COLUMNS = [documents.c[field.name] for field in fields(ListedDocument)]


def page(
    connection: sa.Connection, job: JobRecord, wanted: Page, state: str | None
) -> Listed[ListedDocument]:
    """A page of a job's documents, all or those in one state.

    Raises:
        InvalidPayload: `wanted.after` is none of them, or there is no such state.
    """
    query = sa.select(*_COLUMNS).where(documents.c.job == job.seq)
    if state is not None:
        if state not in set(State):
            raise InvalidPayload(
                f"`state` is {state[:40]!r}; it must be one of {', '.join(State)}.", target="state"
            )
        query = query.where(documents.c.state == state)
    after = _seq_of(connection, job, wanted.after)
    rows = connection.execute(keyset(query, documents.c.seq, wanted, after)).mappings()
    return listed([ListedDocument(**row) for row in rows], wanted)


def _seq_of(connection: sa.Connection, job: JobRecord, after: str | None) -> int | None:
    """The place of a document, whatever its state is by now."""
    if after is None:
        return None
    is_it = sa.and_(documents.c.job == job.seq, documents.c.id == after)
    query = sa.select(documents.c.seq).where(is_it)
    seq: int | None = None if "\0" in after else connection.execute(query).scalar_one_or_none()
    if seq is None:
        raise unknown_after(after)
    return seq
