"""What workers do for files: judge large ones, and fetch those that lie elsewhere."""

import time
from collections.abc import Iterator
from dataclasses import dataclass

from linarite.errors import FileImportFailed, LinariteError, PayloadTooLarge, QuotaExceeded
from linarite.outbound import Outbound, OutboundFailed
from linarite.resources.files import jsonl, quota, repository
from linarite.resources.files.fetching import Download
from linarite.resources.files.jsonl import Verdict
from linarite.resources.files.repository import FileRecord
from linarite.resources.files.service import VALIDATE, Files, keeps_bytes
from linarite.storage import blob_rows
from linarite.storage.database import Transaction
from linarite.storage.objects import Stored
from linarite.tasks.task import Ticket
from linarite.wire.errors import ErrorCode
from linarite.wire.files import FileState

_LOOK_EVERY_SECONDS = 2.0
_FINAL = (OutboundFailed, FileImportFailed, PayloadTooLarge, QuotaExceeded)
"""What ends an import for good; everything else is tried again."""


class Unwanted(Exception):
    """The file was deleted while it was worked on."""


def validate(files: Files, file_id: str, ticket: Ticket) -> None:
    """Judge a file that waits for it."""
    record = files.begin(file_id)
    if record is None or record.blob_id is None:
        return
    with files.database.reading() as connection:
        blob = blob_rows.get(connection, record.blob_id)
    lines = _checked(files.lines(record.purpose, blob.extents), ticket)
    verdict = jsonl.judge(record.purpose, lines)
    with files.database.transaction() as tx:
        ticket.guard(tx)
        _settle(tx, record, verdict)
    if not verdict.is_good:
        files.drop_unused(record.blob_id)


def fail(files: Files, file_id: str, verdict: Verdict) -> None:
    """Settle a file that was worked on in vain."""
    with files.database.transaction() as tx:
        record = repository.find_any(tx, file_id)
        if record is not None:
            _settle(tx, record, verdict)
    if record is not None and record.blob_id is not None:
        files.drop_unused(record.blob_id)


@dataclass(frozen=True)
class Importer:
    """Fetches files.

    Args:
        files: whose they are.
        outbound: how they are fetched.
    """

    files: Files
    outbound: Outbound

    def perform(self, file_id: str, ticket: Ticket) -> None:
        """Fetch a file from its first byte, store it, and have it judged.

        Raises:
            Interrupted: it broke off; another try may succeed.
        """
        record = self.files.begin(file_id)
        if record is None or record.source_url is None:
            return
        try:
            stored = self.files.blobs.write_all(self._pieces(record, ticket))
        except Unwanted:
            return
        except _FINAL as refusal:
            fail(self.files, file_id, _failed(refusal.message))
            return
        if not self._attach(record, stored, ticket):
            self.files.blobs.delete([stored.extent.key])

    def give_up(self, file_id: str, error: Exception) -> None:
        """Settle an import that broke off again and again."""
        told = error.message if isinstance(error, LinariteError) else "The server failed."
        fail(self.files, file_id, _failed(told))

    def _pieces(self, record: FileRecord, ticket: Ticket) -> Iterator[bytes]:
        meter = self.files.meter(record.purpose)
        wanted = _Wanted(self.files, record.id)

        def moved(size: int) -> None:
            meter.count(size)
            ticket.check()
            wanted.check()

        url = self.files.secrets.open(record.source_url or "")
        return Download(self.outbound, url, moved, ticket.wait).pieces()

    def _attach(self, record: FileRecord, stored: Stored, ticket: Ticket) -> bool:
        """Give the file what was fetched; False when nothing names it afterwards."""
        files, size = self.files, stored.extent.bytes
        verdict = files.first_verdict(record.purpose, [stored.extent])
        with files.database.transaction() as tx:
            ticket.guard(tx)
            if not repository.set_fetched(tx, record.id, size):
                return False
            if verdict is not None and not keeps_bytes(record.purpose, verdict):
                _settle(tx, record, verdict)
                return False
            try:
                files.charge(tx, record.resource, size)
            except QuotaExceeded as refusal:
                _settle(tx, record, _failed(refusal.message))
                return False
            blob = blob_rows.keep_stored(tx, stored, user=record.user, now=files.clock.now())
            repository.set_blob(tx, record.id, blob.id, charged_bytes=size)
            if verdict is not None:
                _settle(tx, record, verdict)
            else:
                files.queue.enqueue(tx, VALIDATE, record.id, resource=record.resource)
        return True


class _Wanted:
    """Looks now and then whether a file is still there."""

    def __init__(self, files: Files, file_id: str) -> None:
        self._files = files
        self._file_id = file_id
        self._next = time.monotonic() + _LOOK_EVERY_SECONDS

    def check(self) -> None:
        """Raise Unwanted when it is not."""
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + _LOOK_EVERY_SECONDS
        with self._files.database.reading() as connection:
            if repository.find_any(connection, self._file_id) is None:
                raise Unwanted


def _settle(tx: Transaction, record: FileRecord, verdict: Verdict) -> None:
    """Make a file `processed` or `error`, unless it is gone; then it may let go of its bytes."""
    if verdict.is_good:
        repository.change(tx, record.id, FileState.PROCESSED)
        return
    changed = repository.change(
        tx,
        record.id,
        FileState.ERROR,
        status_details=verdict.details,
        error_code=verdict.code,
        source_url=None,
    )
    if changed and record.blob_id is not None and not keeps_bytes(record.purpose, verdict):
        blob_rows.release(tx, record.blob_id, record.user)
        quota.discharge(tx, record.resource, record.charged_bytes)
        repository.set_blob(tx, record.id, None, charged_bytes=0)


def _checked(lines: Iterator[bytes], ticket: Ticket) -> Iterator[bytes]:
    for line in lines:
        ticket.check()
        yield line


def _failed(details: str) -> Verdict:
    return Verdict(f"The import failed. {details}", ErrorCode.FILE_IMPORT_FAILED)
