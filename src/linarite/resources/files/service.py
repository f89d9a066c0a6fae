"""What can be done with files: the operations of the contract, and what other resources need.

Bytes are durable before a row names them, and a row lets go of its bytes before they are removed;
what a crash leaves in between is found by the sweeps.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import sqlalchemy as sa

from linarite import ids
from linarite.clock import Clock
from linarite.errors import (
    FileImportFailed,
    InvalidPayload,
    JsonlValidationFailed,
    LinariteError,
    NotFound,
    UnexpectedEntityState,
)
from linarite.http.pages import Listed, Page
from linarite.resources.files import jsonl, quota, repository, rules
from linarite.resources.files.examples import BadExample, form_of
from linarite.resources.files.jsonl import Verdict
from linarite.resources.files.meter import Meter, check_free_space
from linarite.resources.files.repository import FileRecord
from linarite.resources.files.rules import NewFile
from linarite.settings import LimitSettings
from linarite.storage import blob_rows
from linarite.storage.blob_rows import Blob
from linarite.storage.blobs import BlobStore
from linarite.storage.database import Database, Transaction
from linarite.storage.objects import Extent, Stored
from linarite.storage.secrets import Secrets
from linarite.tasks.queue import Queue
from linarite.wire.errors import ErrorCode
from linarite.wire.files import FileImport, FileState, Purpose

__all__ = [
    "BadExample",
    "Content",
    "FileRecord",
    "Files",
    "LiveContents",
    "Meter",
    "NewFile",
    "Verdict",
    "check_free_space",
    "form_of",
]

VALIDATE = "files.validate"
IMPORT = "files.import"

NOT_IMPORTED = "The specified file reference must point to a completed file import."
_URL_CHARACTERS = 8192

LiveContents = dict[Purpose, Callable[[FileRecord], Iterator[bytes]]]
"""For each purpose, what gives the content so far of a file that is still being made."""


@dataclass(frozen=True)
class Content:
    """What a file holds: a blob, or pieces of what is there so far."""

    record: FileRecord
    blob: Blob | None = None
    live: Iterator[bytes] | None = None


@dataclass(frozen=True)
class Files:
    """The files of all resources.

    Args:
        database: where their rows are.
        blobs: where their bytes are.
        queue: where their tasks are put down.
        clock: tells the time.
        limits: the ``[limits]`` section.
        secrets: seals the sources of imports.
        live: contents of files in the making; resources that make files add to it.
    """

    database: Database
    blobs: BlobStore
    queue: Queue
    clock: Clock
    limits: LimitSettings
    secrets: Secrets
    live: LiveContents = field(default_factory=dict)

    def get(self, resource: str, file_id: str) -> FileRecord:
        """One file; raises NotFound. Contract: Files_Get."""
        with self.database.reading() as connection:
            record = repository.find(connection, resource, file_id)
        if record is None:
            raise _no_file(file_id)
        return record

    def page(self, resource: str, purpose: Purpose | None, page: Page) -> Listed[FileRecord]:
        """A page of files; raises InvalidPayload on an unknown `after`. Contract: Files_List."""
        with self.database.reading() as connection:
            return repository.page(connection, resource, purpose, page)

    def content(self, resource: str, file_id: str) -> Content:
        """What a file holds.

        Raises:
            NotFound: there is no such file (any more).
            JsonlValidationFailed, FileImportFailed: its status is `error`.
            UnexpectedEntityState: its bytes are still to come.

        Contract: Files_GetContent.
        """
        with self.database.reading() as connection:
            record = repository.find(connection, resource, file_id)
            if record is None or record.status == FileState.DELETED:
                raise _no_file(file_id)
            if record.status == FileState.ERROR:
                raise _why_in_error(record)
            if record.blob_id is not None:
                return Content(record, blob_rows.get(connection, record.blob_id))
        if record.source_url is None and record.purpose in self.live:
            return Content(record, live=self.live[record.purpose](record))
        raise UnexpectedEntityState(
            f"The file {file_id!r} is {record.status}; it has content once it is processed."
        )

    def check_new(self, new: NewFile, size: int = 0) -> None:
        """Refuse a file by what is known before its bytes.

        Raises:
            InvalidPayload: its name or its lifetime is not allowed.
            PayloadTooLarge: `size` is too much for its purpose.
            QuotaExceeded: there is no room for `size` bytes, or for one more file.
        """
        rules.check_name(new.purpose, new.filename)
        rules.check_lifetime(self.limits, new.expires_after_seconds)
        rules.check_size(self.limits, new.purpose, size)
        with self.database.reading() as connection:
            quota.check_count(connection, self.limits, new)
        self.check_room(new.resource, size)

    def check_room(self, resource: str, size: int) -> None:
        """Raise QuotaExceeded unless `size` more bytes may be kept, as things stand."""
        check_free_space(self.blobs, self.limits, size)
        with self.database.reading() as connection:
            used = quota.used_bytes(connection, resource)
        if used + size > self.limits.stored_bytes:
            raise quota.exceeded(used, size, self.limits.stored_bytes)

    def meter(self, purpose: Purpose | None) -> Meter:
        """What counts the bytes of a file as they come in; its purpose may be said after them."""
        most_bytes = rules.size_limit(self.limits, purpose)
        return Meter(self.blobs, self.limits, most_bytes, rules.kind_of(purpose))

    def create(self, new: NewFile, stored: Stored) -> FileRecord:
        """Make a file of bytes that were just stored; takes care of them when it refuses.

        A small file is judged at once and is `processed` or `error`; a large one is `pending`.

        Raises:
            InvalidPayload, PayloadTooLarge, QuotaExceeded: as `check_new`.

        Contract: Files_Upload, 201 File.
        """
        extents = [stored.extent]
        try:
            self.check_new(new, stored.extent.bytes)
            verdict = self.first_verdict(new.purpose, extents)
            with self.database.transaction() as tx:
                record = self.add(tx, new, extents, verdict, sha256=stored.sha256)
        except LinariteError:
            self.blobs.delete([stored.extent.key])
            raise
        if record.blob_id is None:
            self.blobs.delete([stored.extent.key])
        return record

    def first_verdict(self, purpose: Purpose, extents: Sequence[Extent]) -> Verdict | None:
        """The verdict on a file that can be had at once, or None when a task shall find it."""
        if not jsonl.is_judged(purpose):
            return jsonl.GOOD
        if sum(extent.bytes for extent in extents) > self.limits.small_file_bytes:
            return None
        return jsonl.judge(purpose, self.lines(purpose, extents))

    def lines(self, purpose: Purpose, extents: Sequence[Extent]) -> Iterator[bytes]:
        """The lines of a file, none longer than its purpose allows."""
        if purpose == Purpose.BATCH:
            return self.blobs.lines(extents, limit=self.limits.batch_line_bytes)
        return self.blobs.lines(extents)

    def add(
        self,
        tx: Transaction,
        new: NewFile,
        extents: Sequence[Extent],
        verdict: Verdict | None,
        *,
        sha256: str | None = None,
        prepaid_bytes: int = 0,
    ) -> FileRecord:
        """Add the row of a file whose bytes are stored, and what follows from it.

        Args:
            tx: the transaction.
            new: what was said about it.
            extents: its bytes; nothing names them when the answer has no `blob_id`.
            verdict: as `first_verdict` gave it.
            sha256: of all the bytes, when it is known.
            prepaid_bytes: what the resource is charged with for these bytes already.

        Raises:
            QuotaExceeded: there is no room for it.
        """
        quota.check_count(tx, self.limits, new)
        now, size = self.clock.now(), sum(extent.bytes for extent in extents)
        lifetime = new.expires_after_seconds
        record = FileRecord(
            id=ids.file_id(),
            resource=new.resource,
            purpose=new.purpose,
            filename=new.filename,
            status=_first_status(verdict),
            created_at=now,
            status_details=verdict.details if verdict else None,
            error_code=verdict.code if verdict else None,
            bytes=size,
            expires_at=None if lifetime is None else now + lifetime,
        )
        if verdict is None or keeps_bytes(new.purpose, verdict):
            self.charge(tx, new.resource, size - prepaid_bytes)
            blob = blob_rows.keep(tx, extents, user=record.user, now=now, sha256=sha256)
            record = replace(record, blob_id=blob.id, charged_bytes=size)
        else:
            quota.discharge(tx, new.resource, prepaid_bytes)
        repository.insert(tx, record)
        if verdict is None:
            self.queue.enqueue(tx, VALIDATE, record.id, resource=new.resource)
        return record

    def charge(
        self, tx: Transaction, resource: str, more_bytes: int, *, is_refused: bool = True
    ) -> None:
        """Charge a resource for bytes that it keeps or will send.

        Raises:
            QuotaExceeded: it has no room for them; not where `is_refused` is False, as for what
                was worked for already.
        """
        limit = self.limits.stored_bytes if more_bytes > 0 and is_refused else None
        quota.charge(tx, resource, more_bytes, limit=limit)

    def hold_quota(self, tx: Transaction, resource: str) -> None:
        """Let one transaction at a time reckon with how much `resource` has; lock files before."""
        quota.hold(tx, resource)

    def discharge(self, tx: Transaction, resource: str, fewer_bytes: int) -> None:
        """End a charge that did not become a file's."""
        quota.discharge(tx, resource, fewer_bytes)

    def start_import(self, resource: str, request: FileImport) -> FileRecord:
        """Note a file that a task will fetch.

        Raises:
            InvalidPayload: its name is not allowed, or its URL is too long.
            QuotaExceeded: there is no room for one more file.

        Contract: Files_Import, 201 File.
        """
        new = NewFile(resource, request.purpose, request.filename)
        self.check_new(new)
        if len(request.content_url) > _URL_CHARACTERS:
            raise InvalidPayload(
                f"`content_url` is longer than {_URL_CHARACTERS} characters.",
                target="$.content_url",
            )
        record = FileRecord(
            id=ids.file_id(),
            resource=resource,
            purpose=request.purpose,
            filename=request.filename,
            status=FileState.PENDING,
            created_at=self.clock.now(),
            source_url=self.secrets.seal(request.content_url),
        )
        with self.database.transaction() as tx:
            quota.check_count(tx, self.limits, new)
            repository.insert(tx, record)
            self.queue.enqueue(tx, IMPORT, record.id, resource=resource)
        return record

    def delete(self, resource: str, file_id: str) -> None:
        """Delete a file, also while work reads it: that keeps its own hold on the bytes.

        Raises:
            NotFound: there is no such file (any more).

        Contract: Files_Delete.
        """
        with self.database.transaction() as tx:
            record = repository.find(tx, resource, file_id, lock=True)
            if record is None or record.status == FileState.DELETED:
                raise _no_file(file_id)
            self.let_go(tx, record)
        if record.blob_id is not None:
            self.drop_unused(record.blob_id)

    def let_go(self, tx: Transaction, record: FileRecord) -> None:
        """End a file: its use of its bytes, its charge, and its row unless others use the bytes."""
        quota.discharge(tx, record.resource, record.charged_bytes)
        if record.blob_id is not None:
            blob_rows.release(tx, record.blob_id, record.user)
            if blob_rows.is_used(tx, record.blob_id):
                repository.change(tx, record.id, FileState.DELETED, charged_bytes=0)
                return
        repository.remove(tx, record.id)

    def drop_unused(self, blob_id: str) -> None:
        """Remove a blob, first its row and then its objects, unless somebody uses it."""
        with self.database.transaction() as tx:
            keys = blob_rows.forget(tx, blob_id)
        self.blobs.delete(keys)

    def input_blob(
        self, tx: Transaction, resource: str, file_id: str, purpose: Purpose
    ) -> tuple[FileRecord, Blob]:
        """The bytes of a file as input of work; the caller adds its own use of the blob in `tx`.

        A batch may also be made over a file that failed as JSON Lines: which line is at fault is
        then said once more in the codes of a batch, as the real service does.

        Raises:
            NotFound: there is no such file.
            InvalidPayload: it is of another purpose, or its bytes are not ready.
        """
        record = repository.find(tx, resource, file_id, lock=True)
        if record is None or record.status == FileState.DELETED:
            raise _no_file(file_id)
        if record.purpose != purpose:
            raise InvalidPayload(
                f"The file {file_id!r} has the purpose {record.purpose}; this needs {purpose}."
            )
        if record.blob_id is None or record.status in {FileState.PENDING, FileState.RUNNING}:
            raise InvalidPayload(NOT_IMPORTED)
        return record, blob_rows.get(tx, record.blob_id)

    def start_output(
        self, tx: Transaction, *, resource: str, purpose: Purpose, filename: str
    ) -> FileRecord:
        """Add a file that the service is making: `running`, of unknown length."""
        record = FileRecord(
            id=ids.output_file_id(),
            resource=resource,
            purpose=purpose,
            filename=filename,
            status=FileState.RUNNING,
            created_at=self.clock.now(),
        )
        repository.insert(tx, record)
        return record

    def start_made(self, tx: Transaction, new: NewFile) -> FileRecord:
        """Add a file that a task will make of what the server has: `pending` until `begin`.

        Raises:
            QuotaExceeded: there is no room for one more file.
        """
        quota.check_count(tx, self.limits, new)
        record = FileRecord(
            id=ids.output_file_id(),
            resource=new.resource,
            purpose=new.purpose,
            filename=new.filename,
            status=FileState.PENDING,
            created_at=self.clock.now(),
        )
        repository.insert(tx, record)
        return record

    def begin(self, file_id: str) -> FileRecord | None:
        """The file, `running` also when an earlier try began it; None when it is settled."""
        with self.database.transaction() as tx:
            repository.change(tx, file_id, FileState.RUNNING)
            record = repository.find_any(tx, file_id)
        return record if record is not None and record.status == FileState.RUNNING else None

    def is_in_the_making(self, connection: sa.Connection, file_id: str) -> bool:
        """Whether the service is making that file and somebody still wants it."""
        record = repository.find_any(connection, file_id)
        return record is not None and record.status == FileState.RUNNING

    def finish_output(
        self,
        tx: Transaction,
        file_id: str,
        stored: Stored,
        *,
        details: str | None = None,
        is_refused: bool = False,
    ) -> bool:
        """Give a file that is in the making its bytes; it is `processed` then.

        False when the file was deleted or finished before: nothing names `stored` then, and the
        caller deletes it after `tx`.

        Args:
            tx: the transaction.
            file_id: the file, which is `running`.
            stored: its bytes.
            details: what is told of them.
            is_refused: whether the quota may refuse them, and does not just count them.

        Raises:
            QuotaExceeded: there is no room for them.
        """
        record = repository.find_any(tx, file_id)
        if record is None:
            return False
        size = stored.extent.bytes
        blob = blob_rows.keep_stored(tx, stored, user=record.user, now=self.clock.now())
        changed = repository.change(
            tx,
            file_id,
            FileState.PROCESSED,
            bytes=size,
            blob_id=blob.id,
            charged_bytes=size,
            status_details=details,
        )
        if changed:
            self.charge(tx, record.resource, size, is_refused=is_refused)
            return True
        blob_rows.release(tx, blob.id, record.user)
        blob_rows.forget(tx, blob.id)
        return False

    def fail_made(self, tx: Transaction, file_id: str, verdict: Verdict) -> None:
        """Settle a file that is in the making and has no bytes, unless it is gone."""
        repository.change(
            tx,
            file_id,
            FileState.ERROR,
            status_details=verdict.details,
            error_code=verdict.code,
        )


def keeps_bytes(purpose: Purpose, verdict: Verdict) -> bool:
    """Whether a file keeps its bytes after that verdict; see `Files.input_blob`."""
    return verdict.is_good or purpose == Purpose.BATCH


def _first_status(verdict: Verdict | None) -> FileState:
    if verdict is None:
        return FileState.PENDING
    return FileState.PROCESSED if verdict.is_good else FileState.ERROR


def _why_in_error(record: FileRecord) -> LinariteError:
    if record.error_code == ErrorCode.FILE_IMPORT_FAILED:
        return FileImportFailed(record.status_details)
    return JsonlValidationFailed(record.status_details)


def _no_file(file_id: str) -> NotFound:
    return NotFound(f"There is no file {file_id[:100]!r}.", target="file-id")
