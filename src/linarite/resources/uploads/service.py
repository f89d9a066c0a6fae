"""What can be done with uploads.

A part is an object of its own, durable before its row; the file that an upload becomes is the list
of those objects, so that nothing is copied. Whoever ends an upload does it by one guarded
statement, before anything else: a part that comes at the same moment finds it ended.
"""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import sqlalchemy as sa

from linarite import ids
from linarite.clock import Clock
from linarite.errors import InvalidPayload, LinariteError, NotFound, QuotaExceeded
from linarite.errors import UnexpectedEntityState as WrongState
from linarite.resources.files.service import (
    FileRecord,
    Files,
    Meter,
    NewFile,
    Verdict,
    check_free_space,
)
from linarite.resources.uploads import assembly, repository
from linarite.resources.uploads.repository import PartRecord, UploadRecord
from linarite.settings import LimitSettings
from linarite.storage.blobs import BlobStore
from linarite.storage.database import Database, Transaction
from linarite.storage.objects import Extent, Stored
from linarite.tasks.task import Ticket
from linarite.wire.uploads import UploadFileCompleteBody, UploadFileStartBody, UploadStatus

_MOST_PARTS = 10_000
_MIME_CHARACTERS = 255
_SPARE = 2
"""Parts may come to this many times the announced bytes: one whose answer got lost comes again."""

_SLICE = 100


@dataclass(frozen=True)
class Uploads:
    """The uploads of all resources.

    Args:
        database: where their rows are.
        blobs: where their bytes are.
        files: what they become.
        clock: tells the time.
        limits: the ``[limits]`` section.
    """

    database: Database
    blobs: BlobStore
    files: Files
    clock: Clock
    limits: LimitSettings

    def start(self, resource: str, request: UploadFileStartBody) -> UploadRecord:
        """Open an upload and reserve its bytes.

        Raises:
            InvalidPayload: the file may not be called so, or is too large.
            QuotaExceeded: there is no room for it, or too many uploads are open.

        Contract: UploadFile_Start.
        """
        lifetime = request.expires_after
        now = self.clock.now()
        record = UploadRecord(
            id=ids.upload_id(request.purpose),
            resource=resource,
            purpose=request.purpose,
            filename=request.filename,
            mime_type=request.mime_type,
            bytes=request.bytes,
            status=UploadStatus.PENDING,
            created_at=now,
            expires_at=now + self.limits.upload_seconds,
            file_expires_after=lifetime.seconds if lifetime else None,
            charged_bytes=request.bytes,
        )
        self.files.check_new(_file_of(record))
        self._check_start(resource, request)
        with self.database.transaction() as tx:
            self.files.charge(tx, resource, request.bytes)
            repository.insert(tx, record)
        return record

    def get_open(self, resource: str, upload_id: str) -> UploadRecord:
        """An upload that takes parts.

        Raises:
            NotFound: there is none of this id.
            UnexpectedEntityState: it has ended.
        """
        with self.database.reading() as connection:
            record = self._find(connection, resource, upload_id)
        if record.status != UploadStatus.PENDING:
            raise _ended(record)
        return record

    def part_meter(self, upload: UploadRecord) -> Meter:
        """What counts the bytes of a part as they come in."""
        most = min(upload.bytes, self.limits.upload_part_bytes)
        return Meter(self.blobs, self.limits, most, "a part of this upload")

    def add_part(self, resource: str, upload_id: str, stored: Stored) -> PartRecord:
        """Note a part that was just stored; takes care of its bytes when it refuses.

        Raises:
            NotFound, UnexpectedEntityState: as `get_open`.
            InvalidPayload: the upload has too many parts, or too many bytes.
            QuotaExceeded: parts came again and there is no room for them.

        Contract: UploadFile_Part.
        """
        part = PartRecord(
            id=ids.part_id(),
            upload_id=upload_id,
            block_id=ids.block_id(),
            key=stored.extent.key,
            bytes=stored.extent.bytes,
            created_at=self.clock.now(),
        )
        try:
            self.get_open(resource, upload_id)
            with self.database.transaction() as tx:
                self._add_part(tx, part)
        except LinariteError:
            self.blobs.delete([part.key])
            raise
        return part

    def complete(
        self, resource: str, upload_id: str, request: UploadFileCompleteBody
    ) -> tuple[UploadRecord, FileRecord]:
        """Make the file of the parts that `request` names, in its order.

        Raises:
            NotFound, UnexpectedEntityState: as `get_open`; of two at once, one wins.
            InvalidPayload: the parts are not what was announced.

        Contract: UploadFile_Complete.
        """
        upload = self.get_open(resource, upload_id)
        try:
            extents, verdict = self._assembled(upload, request)
        except (InvalidPayload, FileNotFoundError):
            self.get_open(resource, upload_id)  # parts are missing because it ended: tell that
            raise
        with self.database.transaction() as tx:
            upload, keys = self._end(tx, upload, UploadStatus.COMPLETED)
            file = self.files.add(
                tx, _file_of(upload), extents, verdict, prepaid_bytes=upload.charged_bytes
            )
            repository.set_file(tx, upload_id, file.id)
        used = {extent.key for extent in extents} if file.blob_id is not None else set()
        self.blobs.delete([key for key in keys if key not in used])
        return upload, file

    def cancel(self, resource: str, upload_id: str) -> UploadRecord:
        """End an upload and remove its parts; one that is cancelled or expired stays so.

        Raises:
            NotFound: there is none of this id.
            UnexpectedEntityState: it is completed.

        Contract: UploadFile_Cancel.
        """
        with self.database.reading() as connection:
            upload = self._find(connection, resource, upload_id)
        if upload.status == UploadStatus.COMPLETED:
            raise _ended(upload)
        if upload.status != UploadStatus.PENDING:
            return upload
        return self._discard(upload, UploadStatus.CANCELLED)

    def expire(self, ticket: Ticket) -> None:
        """End the uploads whose time is over."""
        while True:
            ticket.check()
            with self.database.reading() as connection:
                overdue = repository.overdue(connection, self.clock.now(), _SLICE)
            if not overdue:
                return
            for upload in overdue:
                with contextlib.suppress(WrongState):  # it ended meanwhile
                    self._discard(upload, UploadStatus.EXPIRED)

    def _find(self, connection: sa.Connection, resource: str, upload_id: str) -> UploadRecord:
        """The upload; `expired` as soon as its time is over, whoever notes that down later."""
        record = repository.find(connection, resource, upload_id)
        if record is None:
            raise NotFound(f"There is no upload {upload_id[:100]!r}.", target="upload-id")
        if record.status == UploadStatus.PENDING and record.expires_at <= self.clock.now():
            return replace(record, status=UploadStatus.EXPIRED)
        return record

    def _assembled(
        self, upload: UploadRecord, request: UploadFileCompleteBody
    ) -> tuple[list[Extent], Verdict | None]:
        """The bytes that `request` names, checked and, when they are few, judged."""
        with self.database.reading() as connection:
            stored = repository.parts(connection, upload.id)
        parts = assembly.ordered_parts(upload, request.part_ids, stored)
        extents = [part.extent for part in parts]
        if request.md5 is not None:
            assembly.check_md5(assembly.md5_in(request.md5), self.blobs.read(extents))
        return extents, self.files.first_verdict(upload.purpose, extents)

    def _check_start(self, resource: str, request: UploadFileStartBody) -> None:
        if request.bytes > self.limits.upload_bytes:
            raise InvalidPayload(
                f"`bytes` is {request.bytes}; an upload may have {self.limits.upload_bytes} bytes.",
                target="$.bytes",
            )
        if len(request.mime_type) > _MIME_CHARACTERS:
            raise InvalidPayload(
                f"`mime_type` is longer than {_MIME_CHARACTERS} characters.", target="$.mime_type"
            )
        with self.database.reading() as connection:
            awaited = repository.awaited_bytes(connection)
            there = repository.count_open(connection, resource)
        check_free_space(self.blobs, self.limits, awaited + request.bytes)
        if there >= self.limits.open_uploads:
            raise QuotaExceeded(
                f"This resource has {there} open uploads and may have {self.limits.open_uploads}; "
                "complete or cancel some first."
            )

    def _add_part(self, tx: Transaction, part: PartRecord) -> None:
        upload = repository.count_stored(tx, part.upload_id, part.bytes, self.clock.now())
        if upload is None:
            raise WrongState("The upload ended while this part came in.")
        most = _SPARE * upload.bytes
        if upload.stored_bytes > most:
            raise InvalidPayload(
                f"The upload was started for {upload.bytes} bytes; its parts, those that came "
                f"twice included, may have {most} bytes together."
            )
        if repository.count_parts(tx, upload.id) >= _MOST_PARTS:
            raise InvalidPayload(f"The upload has {_MOST_PARTS} parts, which is the limit.")
        if upload.stored_bytes > upload.charged_bytes:
            more = upload.stored_bytes - upload.charged_bytes
            self.files.charge(tx, upload.resource, more)
            repository.set_charged(tx, upload.id, upload.stored_bytes)
        repository.insert_part(tx, part)

    def _end(
        self, tx: Transaction, upload: UploadRecord, how: UploadStatus
    ) -> tuple[UploadRecord, Sequence[str]]:
        """End an upload and its parts' rows; gives the keys of their objects."""
        ended = repository.end(tx, upload.id, how, self.clock.now())
        if ended is None:
            raise WrongState(f"The upload {upload.id!r} ended while this was asked.")
        return ended, repository.remove_parts(tx, upload.id)

    def _discard(self, upload: UploadRecord, how: UploadStatus) -> UploadRecord:
        with self.database.transaction() as tx:
            ended, keys = self._end(tx, upload, how)
            self.files.discharge(tx, ended.resource, ended.charged_bytes)
        self.blobs.delete(keys)
        return ended


def _file_of(upload: UploadRecord) -> NewFile:
    return NewFile(upload.resource, upload.purpose, upload.filename, upload.file_expires_after)


def _ended(upload: UploadRecord) -> WrongState:
    return WrongState(f"The upload {upload.id!r} is {upload.status}; nothing can change it.")
