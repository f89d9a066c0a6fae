"""Stored completions as a training file: asked for by a caller, made by a worker.

The file is `pending` from the moment it is asked for, and becomes `processed` with the row that
names its bytes. A worker that dies leaves its task to another one, which begins anew; both make the
same file, but for what was deleted meanwhile. Beyond the contract.
"""

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import islice

from linarite.errors import Fault, InvalidPayload, LinariteError, PayloadTooLarge, QuotaExceeded
from linarite.resources.files.service import FileRecord, Files, NewFile, Verdict
from linarite.resources.stored_completions import repository
from linarite.resources.stored_completions.filters import metadata_pairs
from linarite.resources.stored_completions.pairing import Lines, preferences
from linarite.resources.stored_completions.report import Report
from linarite.resources.stored_completions.service import Wanted
from linarite.resources.stored_completions.training_lines import LeftOut, exchange_of, supervised
from linarite.resources.stored_completions.walking import Unwanted, Walk
from linarite.storage.database import Database
from linarite.storage.objects import PIECE_BYTES, Stored
from linarite.tasks.queue import Queue
from linarite.tasks.task import Ticket
from linarite.wire.errors import ErrorCode
from linarite.wire.files import Purpose
from linarite.wire.stored_completions import CompletionFilters, StoredCompletionExport

EXPORT = "stored_completions.export"

_FINAL = (PayloadTooLarge, QuotaExceeded)
"""What ends an export for good; everything else is tried again."""


@dataclass(frozen=True)
class Exports:
    """The exports of every resource.

    Args:
        database: where completions lie, and what is to be made of them.
        files: where they go.
        queue: where their task is put down.
        meant: what the name of a model or deployment, which may be an alias, stands for to a
            resource.
    """

    database: Database
    files: Files
    queue: Queue
    meant: Callable[[str, str], str]

    def start(self, resource: str, request: StoredCompletionExport) -> FileRecord:
        """Note a training file that a task will make of what is stored now.

        Raises:
            InvalidPayload: it asks for what cannot be, or its name is not allowed.
            QuotaExceeded: there is no room for one more file.
        """
        _check(request)
        new = NewFile(resource, Purpose.FINE_TUNE, request.filename)
        self.files.check_new(new)
        with self.database.transaction() as tx:
            record = self.files.start_made(tx, new)
            asked = request.model_dump(mode="json", exclude_none=True)
            repository.add_export(tx, record.id, asked, repository.last_seq(tx))
            self.queue.enqueue(tx, EXPORT, record.id, resource=resource)
        return record

    def perform(self, file_id: str, ticket: Ticket) -> None:
        """Make the file, from its first line on."""
        record = self.files.begin(file_id)
        with self.database.reading() as connection:
            export = repository.find_export(connection, file_id)
        if record is None or export is None:
            self._forget(file_id)
            return
        request = StoredCompletionExport.model_validate(export[0])
        walk = Walk(self.database, self.files, file_id, record.resource, export[1], ticket)
        report = Report("Examples" if request.preferred is None else "Preferences")
        try:
            with closing(self._lines(walk, request, report)) as lines:
                stored = self.files.blobs.write_all(self._pieces(lines, request.limit, report))
            self._finish(file_id, stored, report, ticket)
        except Unwanted:
            self._forget(file_id)
        except _FINAL as refusal:
            self._fail(file_id, refusal.message)

    def give_up(self, file_id: str, error: Exception) -> None:
        """Settle an export that failed again and again."""
        told = error.message if isinstance(error, LinariteError) else "The server failed."
        self._fail(file_id, told)

    def _lines(self, walk: Walk, request: StoredCompletionExport, report: Report) -> Lines:
        is_descending = request.order == "desc"
        wanted = partial(self._wanted, walk.resource)
        if request.preferred is None or request.non_preferred is None:
            return _chats(walk, wanted(request), report, descending=is_descending)
        return preferences(
            walk,
            wanted(request.preferred),
            wanted(request.non_preferred),
            request.join,
            report,
            descending=is_descending,
        )

    def _wanted(self, resource: str, filters: CompletionFilters) -> Wanted:
        name = filters.model and self.meant(resource, filters.model)
        return Wanted(_pairs(filters), name)

    def _pieces(self, lines: Iterator[bytes], limit: int | None, report: Report) -> Iterator[bytes]:
        """The lines in pieces of about a megabyte, counted and measured."""
        meter = self.files.meter(Purpose.FINE_TUNE)
        piece = bytearray()
        for line in islice(lines, limit):
            report.examples += 1
            meter.count(len(line))
            piece += line
            if len(piece) >= PIECE_BYTES:
                yield bytes(piece)
                piece.clear()
        report.is_cut = report.examples == limit
        yield bytes(piece)

    def _finish(self, file_id: str, stored: Stored, report: Report, ticket: Ticket) -> None:
        """Give the file what was stored, which goes where nothing names it afterwards."""
        try:
            with self.database.transaction() as tx:
                ticket.guard(tx)
                repository.remove_export(tx, file_id)
                is_named = bool(report.examples) and self.files.finish_output(
                    tx, file_id, stored, details=report.told(), is_refused=True
                )
                if not report.examples:
                    told = f"There is nothing to export. {report.told()}"
                    verdict = Verdict(told, ErrorCode.JSONL_VALIDATION_FAILED)
                    self.files.fail_made(tx, file_id, verdict)
        except QuotaExceeded:
            self.files.blobs.delete([stored.extent.key])
            raise
        if not is_named:
            self.files.blobs.delete([stored.extent.key])

    def _fail(self, file_id: str, told: str) -> None:
        verdict = Verdict(f"The export failed. {told}", ErrorCode.FILE_IMPORT_FAILED)
        with self.database.transaction() as tx:
            self.files.fail_made(tx, file_id, verdict)
            repository.remove_export(tx, file_id)

    def _forget(self, file_id: str) -> None:
        with self.database.transaction() as tx:
            repository.remove_export(tx, file_id)


def _chats(walk: Walk, wanted: Wanted, report: Report, *, descending: bool) -> Lines:
    for record, messages in walk.through(wanted, descending=descending):
        report.looked_at["matching"] += 1
        try:
            exchange = exchange_of(record, messages)
            line = supervised(exchange)
        except LeftOut as why:
            report.leave_out(record.id, why)
        else:
            report.first_choices += exchange.choices > 1
            yield line


def _check(request: StoredCompletionExport) -> None:
    """Raise InvalidPayload, with every fault, unless a file can be made of what is asked for."""
    faults = list(_faults(request))
    faults += _metadata_faults(request, "$")
    faults += _metadata_faults(request.preferred, "$.preferred")
    faults += _metadata_faults(request.non_preferred, "$.non_preferred")
    if faults:
        raise InvalidPayload(faults[0].message, target=faults[0].target, faults=faults)


def _faults(request: StoredCompletionExport) -> Iterator[Fault]:
    preferred, non_preferred = request.preferred, request.non_preferred
    if preferred is None and non_preferred is None:
        if request.join is not None:
            message = "`join` needs `preferred` and `non_preferred`, whose answers it joins."
            yield Fault("$.join", message)
        return
    for name, filters in (("preferred", preferred), ("non_preferred", non_preferred)):
        if filters is None:
            yield Fault(f"$.{name}", f"`{name}` is required where the other of the two is there.")
    for name in ("model", "metadata"):
        if getattr(request, name) is not None:
            message = f"`{name}` goes into `preferred` and `non_preferred` where these are there."
            yield Fault(f"$.{name}", message)
    if preferred == non_preferred:
        message = "`non_preferred` is the same as `preferred`; nothing is better than itself."
        yield Fault("$.non_preferred", message)


def _metadata_faults(filters: CompletionFilters | None, place: str) -> Iterator[Fault]:
    """What is wrong with the metadata of the filters that stand at `place` of the body."""
    if filters is None:
        return
    try:
        _pairs(filters)
    except InvalidPayload as refusal:
        for fault in refusal.faults or (Fault(refusal.target or "metadata", refusal.message),):
            yield Fault(f"{place}.{fault.target.removeprefix('$.')}", fault.message)


def _pairs(filters: CompletionFilters) -> list[tuple[str, str]]:
    """The metadata that a completion must have; raises InvalidPayload."""
    given = filters.metadata or {}
    if isinstance(given, str):
        return metadata_pairs([("metadata", given)])
    return metadata_pairs((f"metadata[{key}]", value) for key, value in given.items())
