"""Brings what a training command tells into the rows: events, steps, checkpoints, the plan.

Each piece of the log becomes one transaction with the position after it, so that a successor goes
on where the last one was: nothing is told twice, nothing is left out. An adapter's bytes are
durable before the row that names them. A training that begins anew, as on another machine, tells
again what is known; that stays as it is.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from linarite import ids
from linarite.resources.fine_tuning import repository, results
from linarite.resources.fine_tuning.folder import Entry, JobFolder
from linarite.resources.fine_tuning.records import (
    OF_METHOD,
    CheckpointRecord,
    EventRecord,
    JobRecord,
)
from linarite.resources.fine_tuning.service import FineTuning
from linarite.resources.fine_tuning.tuned import ADAPTER_FILES
from linarite.storage import blob_rows
from linarite.storage.database import Transaction
from linarite.storage.objects import Stored
from linarite.tasks.task import Ticket
from linarite.wire.files import Purpose
from linarite.wire.fine_tuning import LogLevel
from linarite.wire.shapes import INT32_MAX

TRAINING = "Training started."

_EVENT_EVERY_STEPS = 10
_CHECKPOINTS_KEPT = 3
_READ_AT_ONCE = 1 << 20
_FINAL = ("succeeded", "failed")


@dataclass
class Piece:
    """Some lines of the log, as they will stand in rows."""

    end: int
    """The position after them."""
    values: dict[str, Any] = field(default_factory=dict)
    """Columns of the job."""
    events: list[EventRecord] = field(default_factory=list)
    steps: dict[int, Mapping[str, Any]] = field(default_factory=dict)
    begins: int | None = None
    """When the training itself began, if these lines tell."""
    checkpoint: Entry | None = None


@dataclass(frozen=True)
class Following:
    """Follows the log of one job.

    Args:
        jobs: the parts that it needs.
        folder: the job's.
        ticket: the right to write.
    """

    jobs: FineTuning
    folder: JobFolder
    ticket: Ticket

    def advance(self, job: JobRecord, *, quietly: bool = False) -> tuple[JobRecord, Entry | None]:
        """Keep what the log tells next.

        Args:
            job: as this run last saw it.
            quietly: keep steps and checkpoints alone, as of a job that has ended.

        Returns:
            The job as it is then, and the log's last line once the position stands before it.

        Raises:
            Fenced: another worker took the job over.
            HandedBack: this worker may write no more.
        """
        entries = self.folder.read_log(job.log_position)
        last = entries.pop() if entries and entries[-1].kind in _FINAL else None
        for group in _groups(entries):
            piece = _read(job, group)
            if quietly:
                piece.events.clear()
                piece.begins = None
            job = self._keep(job, piece)
        return job, last

    def _keep(self, job: JobRecord, piece: Piece) -> JobRecord:
        stored = self._store(job, piece.checkpoint)
        unnamed = [one.extent.key for one in stored.values()]
        dropped: list[CheckpointRecord] = []
        with self.jobs.database.transaction() as tx:
            self.ticket.guard(tx)
            self._leave_out_told(tx, job, piece)
            if piece.begins is not None and job.result_file_id is None:
                piece.values["result_file_id"] = self._begin(tx, job, piece)
            job = repository.note(tx, job, log_position=piece.end, **piece.values)
            repository.add_steps(tx, job, piece.steps)
            repository.add_events(tx, job, piece.events)
            if piece.checkpoint is not None and stored:
                self._add_checkpoint(tx, job, piece.checkpoint, stored)
                dropped = self._prune(tx, job)
                unnamed.clear()
        self.jobs.blobs.delete(unnamed)
        for blob_id in repository.blob_ids_of(dropped):
            self.jobs.files.drop_unused(blob_id)
        self.jobs.tuned.remove([name for old in dropped for name in old.names(job)])
        return job

    def _leave_out_told(self, tx: Transaction, job: JobRecord, piece: Piece) -> None:
        messages = [event.message for event in piece.events if event.step is None]
        told = repository.told(tx, job, messages) if messages else set()
        piece.events = [
            event for event in piece.events if event.step is not None or event.message not in told
        ]

    def _begin(self, tx: Transaction, job: JobRecord, piece: Piece) -> str:
        """Start the results file; tells that the training has begun."""
        file = self.jobs.files.start_output(
            tx,
            resource=job.resource,
            purpose=Purpose.FINE_TUNE_RESULTS,
            filename=results.FILENAME,
        )
        for message in (TRAINING, f"Created results file: {file.id}"):
            piece.events.append(self.jobs.event(message, at=piece.begins))
        return file.id

    def _store(self, job: JobRecord, entry: Entry | None) -> dict[str, Stored]:
        """Store the files of a checkpoint that has no row; none when its folder is gone again.

        One before the newest was there already, and may have been dropped since.
        """
        if entry is None:
            return {}
        with self.jobs.database.reading() as connection:
            if entry.fields["step"] <= repository.last_checkpoint(connection, job):
                return {}
        folder = self.folder.path / entry.fields["folder"]
        write = self.jobs.blobs.write_all
        try:
            return {name: write(_pieces(folder / name)) for name in ADAPTER_FILES}
        except FileNotFoundError:  # also while it is read: the training goes on meanwhile
            return {}

    def _add_checkpoint(
        self, tx: Transaction, job: JobRecord, entry: Entry, stored: Mapping[str, Stored]
    ) -> None:
        step = entry.fields["step"]
        checkpoint_id = ids.checkpoint_id()
        record = CheckpointRecord(
            checkpoint_id,
            step,
            repository.metrics_of(tx, job, step),
            {},
            created_at=entry.at,
        )
        for name, one in stored.items():
            blob = blob_rows.keep_stored(tx, one, user=record.user, now=entry.at)
            record.files[name] = blob.id
            self.jobs.files.charge(tx, job.resource, blob.bytes, is_refused=False)
        repository.add_checkpoint(tx, job, record)

    def _prune(self, tx: Transaction, job: JobRecord) -> list[CheckpointRecord]:
        """Let go of the oldest checkpoints, but for deployed ones; gives them."""
        dropped = []
        for old in repository.checkpoints(tx, job)[_CHECKPOINTS_KEPT:]:
            if any(self.jobs.deployments.of_model(tx, name) for name in old.names(job)):
                continue
            repository.remove_checkpoint(tx, old)
            self.jobs.release(tx, job, old)
            dropped.append(old)
        return dropped


def _groups(entries: Sequence[Entry]) -> Iterator[list[Entry]]:
    """The lines in pieces, each of which ends where something has to be done beside rows."""
    group: list[Entry] = []
    for entry in entries:
        group.append(entry)
        if entry.kind in {"plan", "checkpoint"}:
            yield group
            group = []
    if group:
        yield group


def _read(job: JobRecord, entries: Sequence[Entry]) -> Piece:
    piece = Piece(entries[-1].end)
    for entry in entries:
        match entry.kind:
            case "message":
                piece.events.append(_message(entry))
            case "plan":
                chosen = entry.fields["hyperparameters"]
                known = {name: chosen[name] for name in OF_METHOD[job.method] if name in chosen}
                piece.values["hyperparameters"] = {**job.hyperparameters, **known}
                piece.values["steps"] = entry.fields["steps"]
                piece.begins = entry.at
            case "step":
                _read_step(job, entry, piece)
            case "checkpoint":
                piece.checkpoint = entry
    return piece


def _read_step(job: JobRecord, entry: Entry, piece: Piece) -> None:
    step, metrics = entry.fields["step"], entry.fields["metrics"]
    piece.steps[step] = metrics
    piece.values["estimated_finish"] = min(entry.fields["finish_at"], INT32_MAX)
    if step % _EVENT_EVERY_STEPS == 0 or job.ends_epoch(step):
        piece.events.append(
            EventRecord(
                ids.metrics_event_id(),
                entry.at,
                LogLevel.INFO,
                f"Step {step}: training loss={metrics['train_loss']}",
                step=step,
                data={"step": step, **metrics},
            )
        )


def _message(entry: Entry) -> EventRecord:
    level = LogLevel(entry.fields.get("level", LogLevel.INFO))
    return EventRecord(ids.event_id(), entry.at, level, entry.fields["message"])


def _pieces(path: Path) -> Iterator[bytes]:
    with path.open("rb") as stream:
        while piece := stream.read(_READ_AT_ONCE):
            yield piece
