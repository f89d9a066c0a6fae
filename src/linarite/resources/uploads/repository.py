"""The rows of uploads and of their parts: every statement about them, and none of the rules."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import sqlalchemy as sa

from linarite.resources.uploads.lifecycle import UPLOAD
from linarite.storage.database import Transaction
from linarite.storage.objects import Extent
from linarite.storage.tables import upload_parts, uploads
from linarite.wire.files import File, Purpose
from linarite.wire.uploads import UploadPartResource, UploadResource, UploadStatus


@dataclass(frozen=True)
class UploadRecord:
    """A row of `uploads`."""

    id: str
    resource: str
    purpose: Purpose
    filename: str
    mime_type: str
    bytes: int
    """What its parts must come to."""
    status: UploadStatus
    created_at: int
    expires_at: int
    file_expires_after: int | None = None
    """Seconds that the finished file lives."""
    stored_bytes: int = 0
    """Of all parts that were ever stored."""
    charged_bytes: int = 0
    """What it counts for in the resource's quota while it is pending."""

    def to_wire(self, file: File | None = None) -> UploadResource:
        """The upload as the contract shows it."""
        return UploadResource(
            id=self.id,
            created_at=self.created_at,
            expires_at=self.expires_at,
            bytes=self.bytes,
            filename=self.filename,
            purpose=self.purpose,
            status=self.status,
            file=file,
        )


@dataclass(frozen=True)
class PartRecord:
    """A row of `upload_parts`."""

    id: str
    upload_id: str
    block_id: str
    key: str
    bytes: int
    created_at: int

    @property
    def extent(self) -> Extent:
        """The part as stored bytes."""
        return Extent(self.key, self.bytes)

    def to_wire(self) -> UploadPartResource:
        """The part as the contract shows it."""
        return UploadPartResource(
            id=self.id,
            created_at=self.created_at,
            upload_id=self.upload_id,
            azure_block_id=self.block_id,
        )


_UPLOAD = [uploads.c[field.name] for field in fields(UploadRecord)]
_PART = [upload_parts.c[field.name] for field in fields(PartRecord)]


def insert(tx: Transaction, record: UploadRecord) -> None:
    """Add an upload."""
    values = {field.name: getattr(record, field.name) for field in fields(UploadRecord)}
    tx.execute(sa.insert(uploads).values(values))


def find(connection: sa.Connection, resource: str, upload_id: str) -> UploadRecord | None:
    """The upload of that resource."""
    query = sa.select(*_UPLOAD).where(uploads.c.id == upload_id, uploads.c.resource == resource)
    row = connection.execute(query).first()
    return None if row is None else _record(row)


def overdue(connection: sa.Connection, now: int, limit: int) -> list[UploadRecord]:
    """Pending uploads whose time is over."""
    query = (
        sa.select(*_UPLOAD)
        .where(uploads.c.status == UploadStatus.PENDING, uploads.c.expires_at <= now)
        .limit(limit)
    )
    return [_record(row) for row in connection.execute(query)]


def count_open(connection: sa.Connection, resource: str) -> int:
    """How many pending uploads the resource has."""
    query = sa.select(sa.func.count()).where(
        uploads.c.resource == resource, uploads.c.status == UploadStatus.PENDING
    )
    return connection.execute(query).scalar_one()


def awaited_bytes(connection: sa.Connection) -> int:
    """Bytes that all open uploads together may still bring."""
    query = sa.select(
        sa.func.coalesce(sa.func.sum(uploads.c.charged_bytes - uploads.c.stored_bytes), 0)
    ).where(uploads.c.status == UploadStatus.PENDING)
    return int(connection.execute(query).scalar_one())


def end(tx: Transaction, upload_id: str, how: UploadStatus, now: int) -> UploadRecord | None:
    """End an upload; once its time is over it can only become `expired`.

    Returns:
        The upload afterwards, or None when something else ended it before.
    """
    statement = sa.update(uploads).where(
        uploads.c.id == upload_id, uploads.c.status.in_(UPLOAD.before(how))
    )
    if how != UploadStatus.EXPIRED:
        statement = statement.where(uploads.c.expires_at > now)
    if not tx.execute(statement.values(status=how)).rowcount:
        return None
    return _record(tx.execute(sa.select(*_UPLOAD).where(uploads.c.id == upload_id)).one())


def set_file(tx: Transaction, upload_id: str, file_id: str) -> None:
    """Note which file the upload became."""
    tx.execute(sa.update(uploads).where(uploads.c.id == upload_id).values(file_id=file_id))


def count_stored(tx: Transaction, upload_id: str, more_bytes: int, now: int) -> UploadRecord | None:
    """Add to the stored bytes of an open upload, which stays as it is until `tx` ends.

    Returns:
        The upload afterwards, or None when it is not open any more.
    """
    changed = tx.execute(
        sa.update(uploads)
        .where(
            uploads.c.id == upload_id,
            uploads.c.status == UploadStatus.PENDING,
            uploads.c.expires_at > now,
        )
        .values(stored_bytes=uploads.c.stored_bytes + more_bytes)
    ).rowcount
    if not changed:
        return None
    return _record(tx.execute(sa.select(*_UPLOAD).where(uploads.c.id == upload_id)).one())


def set_charged(tx: Transaction, upload_id: str, charged_bytes: int) -> None:
    """Set what the upload counts for."""
    tx.execute(
        sa.update(uploads).where(uploads.c.id == upload_id).values(charged_bytes=charged_bytes)
    )


def insert_part(tx: Transaction, part: PartRecord) -> None:
    """Add a part."""
    values = {field.name: getattr(part, field.name) for field in fields(PartRecord)}
    tx.execute(sa.insert(upload_parts).values(values))


def count_parts(connection: sa.Connection, upload_id: str) -> int:
    """How many parts the upload has."""
    query = sa.select(sa.func.count()).where(upload_parts.c.upload_id == upload_id)
    return connection.execute(query).scalar_one()


def parts(connection: sa.Connection, upload_id: str) -> list[PartRecord]:
    """The parts of an upload, in the order of their storing."""
    query = (
        sa.select(*_PART).where(upload_parts.c.upload_id == upload_id).order_by(upload_parts.c.seq)
    )
    return [PartRecord(**row._asdict()) for row in connection.execute(query)]


def remove_parts(tx: Transaction, upload_id: str) -> Sequence[str]:
    """Remove the rows of all parts; gives the keys of their objects."""
    of_upload = upload_parts.c.upload_id == upload_id
    keys = tx.execute(sa.select(upload_parts.c.key).where(of_upload)).scalars().all()
    tx.execute(sa.delete(upload_parts).where(of_upload))
    return keys


def _record(row: sa.Row[Any]) -> UploadRecord:
    values = row._asdict()
    values["purpose"] = Purpose(values["purpose"])
    values["status"] = UploadStatus(values["status"])
    return UploadRecord(**values)
