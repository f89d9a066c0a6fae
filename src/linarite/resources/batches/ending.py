"""How batches end: their files get their bytes, the input is let go, and the last status entered.

All of it in one transaction, after the bytes are durable.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from linarite.errors import LinariteError
from linarite.resources.batches import answers, repository
from linarite.resources.batches.lifecycle import BATCH, ENDINGS
from linarite.resources.batches.records import BatchRecord
from linarite.resources.batches.results import Results
from linarite.resources.batches.service import Batches
from linarite.storage import blob_rows
from linarite.storage.database import Transaction
from linarite.storage.objects import Stored
from linarite.wire.batches import BatchErrorData, BatchStatus

Reason = tuple[str, str]
"""Code and message of requests that never ran."""


@dataclass(frozen=True)
class Ending:
    """What ends batches.

    Args:
        batches: the parts that it needs.
    """

    batches: Batches

    def finalize(self, record: BatchRecord) -> None:
        """Enter `finalizing`, unless the batch is cancelled or another's by now."""
        with self.batches.database.transaction() as tx:
            repository.move(
                tx, record.id, BatchStatus.FINALIZING, self.batches.clock.now(), run=record.run
            )

    def wind_up(
        self, taken: BatchRecord, check: Callable[[], None], failure: BatchErrorData | None = None
    ) -> None:
        """Write the files of a batch that was asked, and enter its last status.

        Args:
            taken: the batch as this run took it; another that took it since is left alone.
            check: raises when the work must stop.
            failure: why the batch fails, when it does.
        """
        while (record := self.find(taken.id)) is not None and record.run == taken.run:
            found = _ending(record, failure)
            if found is None:
                return
            ending, reason = found
            stored = self._write_results(record, reason, check)
            if self._end(record, ending, stored, failure):
                return

    def end_unasked(
        self,
        tx: Transaction,
        record: BatchRecord,
        ending: BatchStatus,
        faults: Sequence[BatchErrorData] | None = None,
    ) -> str | None:
        """Fail or cancel a batch that never got past its validation; it has no files.

        Returns:
            The blob to `drop` after `tx`, if it was let go.
        """
        values: dict[str, Any] = {"input_blob_id": None}
        if faults is not None:
            values["errors"] = [fault.model_dump() for fault in faults]
        now = self.batches.clock.now()
        moved = repository.move(tx, record.id, ending, now, run=record.run, **values)
        return None if moved is None else self._let_go(tx, record)

    def clean(self, batch_id: str) -> None:
        """Remove the answers of a batch that has ended, for its files have them."""
        record = self.find(batch_id)
        if record is not None and BATCH.is_final(record.status):
            repository.delete_answers(self.batches.database, record.seq)

    def drop(self, blob_id: str | None) -> None:
        """Remove an input's bytes when the batch was their last user."""
        if blob_id is not None:
            self.batches.files.drop_unused(blob_id)

    def find(self, batch_id: str) -> BatchRecord | None:
        """The batch as it stands."""
        with self.batches.database.reading() as connection:
            return repository.find_any(connection, batch_id)

    def _write_results(
        self, record: BatchRecord, reason: Reason, check: Callable[[], None]
    ) -> tuple[Stored, Stored]:
        batches = self.batches
        with batches.database.reading() as connection:
            blob = blob_rows.get(connection, record.input_blob_id or "")
        limit = batches.limits.batch_line_bytes
        results = Results(batches.database, batches.blobs, record, blob.extents, limit, check)
        return results.write_output(), results.write_errors(reason)

    def _end(
        self,
        record: BatchRecord,
        ending: BatchStatus,
        stored: tuple[Stored, Stored],
        failure: BatchErrorData | None,
    ) -> bool:
        """Name the bytes and enter the last status; False when the batch has moved on."""
        values: dict[str, Any] = {"input_blob_id": None}
        if failure is not None:
            values["errors"] = [failure.model_dump()]
        batches = self.batches
        unnamed = [one.extent.key for one in stored]
        blob = None
        with batches.database.transaction() as tx:
            now = batches.clock.now()
            moved = repository.move(tx, record.id, ending, now, run=record.run, **values)
            if moved is not None:
                files = (record.output_file_id, record.error_file_id)
                for file_id, one in zip(files, stored, strict=True):
                    if file_id is not None and batches.files.finish_output(tx, file_id, one):
                        unnamed.remove(one.extent.key)
                blob = self._let_go(tx, record)
        batches.blobs.delete(unnamed)
        self.drop(blob)
        return moved is not None

    def _let_go(self, tx: Transaction, record: BatchRecord) -> str | None:
        if record.input_blob_id is not None:
            blob_rows.release(tx, record.input_blob_id, record.user)
        return record.input_blob_id


def server_fault(error: Exception) -> BatchErrorData:
    """The fault of a batch that the server itself could not run."""
    said = error.message if isinstance(error, LinariteError) else type(error).__name__
    message = f"The server could not run this batch ({said}). Its answers so far are in its files."
    return BatchErrorData(code="server_error", message=message)


def _ending(
    record: BatchRecord, failure: BatchErrorData | None
) -> tuple[BatchStatus, Reason] | None:
    """The status that a batch ends with, and why requests that never ran did not."""
    if failure is not None and not BATCH.is_final(record.status):
        return BatchStatus.FAILED, answers.FAILED
    endings = ENDINGS.get(record.status)
    if endings is None:
        return None
    reason = answers.CANCELLED if record.status == BatchStatus.CANCELLING else answers.EXPIRED
    return endings[record.answered < record.total], reason
