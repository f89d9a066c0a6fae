"""The rows of files: every statement about them, and none of the rules."""

from dataclasses import dataclass, fields
from typing import Any

import sqlalchemy as sa

from linarite.http.pages import Listed, Page, keyset, listed, unknown_after
from linarite.resources.files.lifecycle import FILE
from linarite.storage.database import Transaction
from linarite.storage.tables import files
from linarite.wire.files import File, FileState, Purpose


@dataclass(frozen=True)
class FileRecord:
    """A row of `files`."""

    id: str
    resource: str
    purpose: Purpose
    filename: str
    status: FileState
    created_at: int
    status_details: str | None = None
    error_code: str | None = None
    """Member of the contract's ErrorCode, in status `error`."""
    bytes: int | None = None
    """Null until known; stays when an `error` has let go of the bytes."""
    blob_id: str | None = None
    source_url: str | None = None
    """Sealed; of an import that has not fetched it yet."""
    charged_bytes: int = 0
    """What it counts for in the resource's quota."""
    expires_at: int | None = None

    @property
    def user(self) -> str:
        """Its name among the users of a blob."""
        return f"file:{self.id}"

    def to_wire(self) -> File:
        """The file as the contract shows it."""
        return File(
            id=self.id,
            created_at=self.created_at,
            status=self.status,
            bytes=self.bytes,
            purpose=self.purpose,
            filename=self.filename,
            status_details=self.status_details,
            expires_at=self.expires_at,
        )


_COLUMNS = [files.c[field.name] for field in fields(FileRecord)]


def insert(tx: Transaction, record: FileRecord) -> None:
    """Add a file."""
    values = {field.name: getattr(record, field.name) for field in fields(FileRecord)}
    tx.execute(sa.insert(files).values(values))


def find(
    connection: sa.Connection, resource: str, file_id: str, *, lock: bool = False
) -> FileRecord | None:
    """The file of that resource, deleted ones included.

    Args:
        connection: a transaction, when `lock` is set.
        resource: whose file it must be.
        file_id: its id.
        lock: whether nobody else may change or remove it until the transaction ends.
    """
    query = sa.select(*_COLUMNS).where(files.c.id == file_id, files.c.resource == resource)
    return _one(connection, query.with_for_update() if lock else query)


def find_any(connection: sa.Connection, file_id: str) -> FileRecord | None:
    """The file with that id, whosever it is: for tasks, which know no caller."""
    return _one(connection, sa.select(*_COLUMNS).where(files.c.id == file_id))


def page(
    connection: sa.Connection, resource: str, purpose: Purpose | None, wanted: Page
) -> Listed[FileRecord]:
    """A page of a resource's files, without deleted ones.

    Raises:
        InvalidPayload: `wanted.after` is no file of the resource.
    """
    after = None
    if wanted.after is not None:
        after = connection.execute(
            sa.select(files.c.seq).where(files.c.id == wanted.after, files.c.resource == resource)
        ).scalar()
        if after is None:
            raise unknown_after(wanted.after)
    query = sa.select(*_COLUMNS).where(
        files.c.resource == resource, files.c.status != FileState.DELETED
    )
    if purpose is not None:
        query = query.where(files.c.purpose == purpose)
    rows = connection.execute(keyset(query, files.c.seq, wanted, after)).all()
    return listed([_record(row) for row in rows], wanted)


def change(tx: Transaction, file_id: str, to: FileState, **values: Any) -> bool:
    """Move a file to another status, and set `values`; False when its status does not allow it."""
    return bool(
        tx.execute(
            sa.update(files)
            .where(files.c.id == file_id, files.c.status.in_(FILE.before(to)))
            .values(status=to, **values)
        ).rowcount
    )


def set_fetched(tx: Transaction, file_id: str, size: int) -> bool:
    """Note that an import fetched `size` bytes; False when the file waits for none (any more)."""
    return bool(
        tx.execute(
            sa.update(files)
            .where(
                files.c.id == file_id,
                files.c.status == FileState.RUNNING,
                files.c.source_url.is_not(None),
            )
            .values(source_url=None, bytes=size)
        ).rowcount
    )


def set_blob(tx: Transaction, file_id: str, blob_id: str | None, *, charged_bytes: int) -> None:
    """Set where the bytes of a file are and what they count for."""
    tx.execute(
        sa.update(files)
        .where(files.c.id == file_id)
        .values(blob_id=blob_id, charged_bytes=charged_bytes)
    )


def remove(tx: Transaction, file_id: str) -> None:
    """Remove the row of a file."""
    tx.execute(sa.delete(files).where(files.c.id == file_id))


def expired(connection: sa.Connection, now: int, limit: int) -> list[FileRecord]:
    """Files whose time is over."""
    query = (
        sa.select(*_COLUMNS)
        .where(files.c.expires_at <= now, files.c.status != FileState.DELETED)
        .limit(limit)
    )
    return [_record(row) for row in connection.execute(query)]


def count(
    connection: sa.Connection, resource: str, purpose: Purpose, *, expiring: bool | None = None
) -> int:
    """How many files of a purpose there are: all, only expiring ones, or only lasting ones."""
    query = sa.select(sa.func.count()).where(
        files.c.resource == resource,
        files.c.purpose == purpose,
        files.c.status != FileState.DELETED,
    )
    if expiring is not None:
        query = query.where((files.c.expires_at.is_not(None)) == expiring)
    return connection.execute(query).scalar_one()


def _one(connection: sa.Connection, query: sa.Select[Any]) -> FileRecord | None:
    row = connection.execute(query).first()
    return None if row is None else _record(row)


def _record(row: sa.Row[Any]) -> FileRecord:
    values = row._asdict()
    values["purpose"] = Purpose(values["purpose"])
    values["status"] = FileState(values["status"])
    return FileRecord(**values)
