"""The work behind a batch: validating its input, asking its requests, writing its files.

    batches.validate    validating ──▶ in_progress | failed
    batches.run         in_progress ──▶ finalizing ──▶ completed | expired, cancelling ──▶ cancelled
    batches.settle      the same endings, for batches that nobody has begun to ask
    batches.expire      comes round: finds batches whose time is over while they wait

Each may die anywhere and is then performed again from what the rows say. Who works on a batch
holds its run number; whoever takes over raises it, and the other's writes find no row.
"""

from linarite.resources.batches import repository, validation
from linarite.resources.batches.asking import Asking, EngineOf, Store
from linarite.resources.batches.dispatch import Ended
from linarite.resources.batches.ending import Ending, server_fault
from linarite.resources.batches.lifecycle import VALIDATED
from linarite.resources.batches.records import BatchRecord
from linarite.resources.batches.service import RUN, SETTLE, VALIDATE, Batches
from linarite.resources.batches.validation import COMPLETION_WINDOW, Seen, Verdict
from linarite.resources.deployments.records import Target
from linarite.storage import blob_rows
from linarite.storage.database import Transaction
from linarite.tasks.task import HandedBack, Schedule, Task, Ticket
from linarite.wire.batches import BatchErrorData, BatchStatus
from linarite.wire.files import Purpose

EXPIRE = "batches.expire"

_EXPIRE_EVERY_SECONDS = 5.0
_OVERDUE_AT_ONCE = 100
_VALIDATIONS = 4
_SETTLEMENTS = 4


class Work:
    """What performs the tasks of batches.

    Args:
        batches: their operations, and the parts that those have.
        engine_of: who answers for a deployment.
        store: keeps the completions among the answers, in the transaction that keeps those.
    """

    def __init__(self, batches: Batches, engine_of: EngineOf, store: Store) -> None:
        self._batches = batches
        self._asking = Asking(batches, engine_of, store)
        self._ending = Ending(batches)

    def tasks(self) -> list[Task]:
        """Every task of batches."""
        running = self._batches.settings.running
        return [
            Task(VALIDATE, self.validate, self.give_up_validating, concurrency=_VALIDATIONS),
            Task(RUN, self.run, self.give_up, concurrency=running),
            Task(SETTLE, self.settle, self.give_up, concurrency=_SETTLEMENTS),
        ]

    def schedules(self) -> list[Schedule]:
        """What comes round."""
        if not self._batches.settings.expire:
            return []
        return [Schedule(EXPIRE, _EXPIRE_EVERY_SECONDS, self.expire)]

    def validate(self, batch_id: str, ticket: Ticket) -> None:
        """Read the input; the batch is then `in_progress` and waits to be asked, or `failed`."""
        record = self._ending.find(batch_id)
        if record is None or record.status != BatchStatus.VALIDATING:
            return
        verdict = self._verdict(record, ticket)
        if verdict.faults or verdict.target is None:
            self._fail(record, verdict.faults)
        else:
            self._accept(record, verdict, verdict.target)

    def give_up_validating(self, batch_id: str, error: Exception) -> None:
        """Fail a batch whose input could not be read for reasons of the server's own."""
        record = self._ending.find(batch_id)
        if record is not None and record.status == BatchStatus.VALIDATING:
            self._fail(record, [server_fault(error)])

    def run(self, batch_id: str, ticket: Ticket) -> None:
        """Ask the requests that have no answer, then write the files."""
        with self._batches.database.transaction() as tx:
            record = repository.take(tx, batch_id)
        if record is not None and self._ask_requests(record, ticket):
            self._ending.wind_up(record, ticket.check)
        self._ending.clean(batch_id)

    def give_up(self, batch_id: str, error: Exception) -> None:
        """Fail a batch that the server itself could not run; what is answered is kept."""
        with self._batches.database.transaction() as tx:
            record = repository.take(tx, batch_id)
        if record is not None:
            self._ending.wind_up(record, _go_on, failure=server_fault(error))
        self._ending.clean(batch_id)

    def settle(self, batch_id: str, ticket: Ticket) -> None:
        """End a cancelled or overdue batch that nobody has begun to ask; others end by `run`."""
        record = self._ending.find(batch_id)
        if record is None:
            return
        if record.status == BatchStatus.CANCELLING and record.in_progress_at is None:
            with self._batches.database.transaction() as tx:
                blob = self._ending.end_unasked(tx, record, BatchStatus.CANCELLED)
            self._ending.drop(blob)
            return
        with self._batches.database.transaction() as tx:
            taken = repository.take(tx, batch_id, untouched=True)
        if taken is not None:
            if taken.status == BatchStatus.IN_PROGRESS and self._batches.is_expired(taken):
                self._ending.finalize(taken)
            self._ending.wind_up(taken, ticket.check)

    def expire(self, ticket: Ticket) -> None:
        """Put down the settling of batches whose time is over while they wait to be asked."""
        batches = self._batches
        with batches.database.transaction() as tx:
            for record in repository.overdue(tx, batches.clock.now(), _OVERDUE_AT_ONCE):
                batches.queue.enqueue(tx, SETTLE, record.id, resource=record.resource)

    def _verdict(self, record: BatchRecord, ticket: Ticket) -> Verdict:
        if record.completion_window != COMPLETION_WINDOW:
            return Verdict([validation.window_fault(record.completion_window)])
        batches = self._batches
        with batches.database.reading() as connection:
            blob = blob_rows.get(connection, record.input_blob_id or "")
        seen = Seen(batches.blobs.read(blob.extents))
        rules = batches.rules(record.resource, record.endpoint, ticket.check)
        try:
            verdict = validation.validate(seen, rules)
        except FileNotFoundError:
            return Verdict([validation.unreadable_fault()])
        is_whole = seen.bytes == blob.bytes and blob.sha256 in {None, seen.sha256}
        if not verdict.faults and not is_whole:
            return Verdict([validation.modified_fault()])
        return verdict

    def _accept(self, record: BatchRecord, verdict: Verdict, target: Target) -> None:
        """Put a good batch in line, unless its deployment has too much waiting already."""
        owner, name = target.deployment.resource, target.deployment.id
        limit, blob = target.enqueued_token_limit, None
        with self._batches.database.transaction() as tx:
            repository.lock_deployment(tx, owner, name)
            waiting = repository.enqueued_tokens(tx, owner, name, VALIDATED)
            if waiting + verdict.tokens > limit:
                fault = validation.token_limit_fault(limit, name)
                blob = self._ending.end_unasked(tx, record, BatchStatus.FAILED, [fault])
            else:
                self._start(tx, record, verdict, target)
        self._ending.drop(blob)

    def _start(
        self, tx: Transaction, record: BatchRecord, verdict: Verdict, target: Target
    ) -> None:
        moved = repository.move(
            tx,
            record.id,
            BatchStatus.IN_PROGRESS,
            self._batches.clock.now(),
            total=verdict.requests,
            enqueued_tokens=verdict.tokens,
            deployment=target.deployment.id,
            deployment_owner=target.deployment.resource,
        )
        if moved is None:  # cancelled meanwhile
            return
        output, error = (
            self._batches.files.start_output(
                tx,
                resource=record.resource,
                purpose=Purpose.BATCH_OUTPUT,
                filename=f"{record.id}_{kind}.jsonl",
            )
            for kind in ("output", "error")
        )
        repository.name_outputs(tx, record.id, output.id, error.id)
        self._batches.queue.enqueue(tx, RUN, record.id, resource=record.resource)

    def _fail(self, record: BatchRecord, faults: list[BatchErrorData]) -> None:
        with self._batches.database.transaction() as tx:
            blob = self._ending.end_unasked(tx, record, BatchStatus.FAILED, faults)
        self._ending.drop(blob)

    def _ask_requests(self, record: BatchRecord, ticket: Ticket) -> bool:
        """Bring a batch to where its files can be written; False when another took it over."""
        if record.status != BatchStatus.IN_PROGRESS:
            return True
        ended = self._asking.ask(record, ticket)
        if ended is Ended.HANDED_BACK:
            raise HandedBack
        if ended is Ended.FENCED:
            return False
        self._ending.finalize(record)
        return True


def _go_on() -> None:
    """Let work that nothing can call off go on."""
