"""What can be done with batches: the operations of the contract. The work itself is in `tasks`."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
import sqlalchemy as sa

from linarite import ids
from linarite.clock import Clock
from linarite.errors import (
    DeploymentNotFound,
    InvalidPayload,
    NotFound,
    UnexpectedEntityState,
)
from linarite.http import odata
from linarite.http.pages import Listed, Page
from linarite.resources.batches import repository, validation
from linarite.resources.batches.lifecycle import BATCH
from linarite.resources.batches.lines import bare_path
from linarite.resources.batches.records import BatchRecord, EnqueuedTokens
from linarite.resources.batches.validation import ENDPOINTS, Rules, TokenCount
from linarite.resources.deployments.records import Target
from linarite.resources.deployments.service import Deployments
from linarite.resources.files.service import FileRecord, Files
from linarite.settings import BatchSettings, LimitSettings
from linarite.storage import blob_rows
from linarite.storage.blob_rows import Blob
from linarite.storage.blobs import BlobStore
from linarite.storage.database import Database
from linarite.tasks.queue import Queue
from linarite.wire.batches import BatchCreateRequest, BatchStatus
from linarite.wire.files import Purpose

VALIDATE = "batches.validate"
RUN = "batches.run"
SETTLE = "batches.settle"

_COUNTED_AT_ONCE_BYTES = 256 << 10
_CHARACTERS_A_TOKEN = 4
_GLANCE_BYTES = 64 << 10


@dataclass(frozen=True)
class Batches:
    """The batches of all resources.

    Args:
        database: where their rows are.
        blobs: where their inputs and outputs are.
        files: whose they are.
        deployments: who answers.
        queue: where their tasks are put down.
        clock: tells the time.
        limits: the ``[limits]`` section.
        settings: the ``[batches]`` section.
        token_count: counts tokens for a deployment, given what is asked (``/chat/completions``).
    """

    database: Database
    blobs: BlobStore
    files: Files
    deployments: Deployments
    queue: Queue
    clock: Clock
    limits: LimitSettings
    settings: BatchSettings
    token_count: Callable[[str, Target], TokenCount]

    def create(
        self, resource: str, body: BatchCreateRequest
    ) -> tuple[BatchRecord, EnqueuedTokens | None]:
        """Queue a batch over an uploaded file; gives also its deployment's tokens, if known.

        The batch starts in ``validating``; a worker does the rest.

        Raises:
            NotFound: there is no file `body.input_file_id`.
            InvalidPayload: that file is not a processed one for batches; the endpoint is none
                that batches can ask; or, where the settings say so, the deployment's limit of
                tokens is reached.

        Contract: Batch_Create, 201 Batch.
        """
        endpoint = _endpoint(body.endpoint)
        with self.database.transaction() as tx:
            _, blob = self.files.input_blob(tx, resource, body.input_file_id, Purpose.BATCH)
        target, tokens = self._first_look(resource, endpoint, blob)
        now = self.clock.now()
        values: dict[str, Any] = {
            "id": ids.batch_id(),
            "resource": resource,
            "input_file_id": body.input_file_id,
            "endpoint": endpoint,
            "completion_window": body.completion_window,
            "metadata": body.metadata,
            "status": BatchStatus.VALIDATING,
            "created_at": now,
            "expires_at": now + self.settings.window_seconds,
            "enqueued_tokens": tokens,
        }
        if target is not None:
            values["deployment"] = target.deployment.id
            values["deployment_owner"] = target.deployment.resource
        with self.database.transaction() as tx:
            _, blob = self.files.input_blob(tx, resource, body.input_file_id, Purpose.BATCH)
            if self.settings.fail_fast and target is not None:
                self._refuse_over_limit(tx, target, tokens)
            record = repository.insert(tx, {**values, "input_blob_id": blob.id})
            blob_rows.use(tx, blob.id, record.user)
            self.queue.enqueue(tx, VALIDATE, record.id, resource=resource)
            return record, self._tokens_in_view(tx, resource, [record])

    def get(self, resource: str, batch_id: str) -> BatchRecord:
        """One batch; raises NotFound. Contract: Batch_Get."""
        with self.database.reading() as connection:
            record = repository.find(connection, resource, batch_id)
        if record is None:
            raise _no_batch(batch_id)
        return record

    def page(
        self,
        resource: str,
        page: Page,
        *,
        filter_text: str | None = None,
        orderby: str | None = None,
    ) -> tuple[Listed[BatchRecord], EnqueuedTokens | None]:
        """A page of batches, in the order of `orderby`, which goes before the page's own.

        Gives also the tokens of their deployment, when all of them are of one.

        Raises:
            InvalidPayload: `filter_text` or `orderby` cannot be read, or `page.after` is no batch.

        Contract: Batch_List.
        """
        condition = None
        if filter_text is not None:
            condition = odata.predicate(filter_text, repository.SORTABLE)
        order: Sequence[odata.Key] = repository.by_creation(page)
        if orderby is not None:
            order = odata.order(orderby, repository.SORTABLE)
        with self.database.reading() as connection:
            found = repository.page(connection, resource, page, condition, order)
            return found, self._tokens_in_view(connection, resource, found.items)

    def cancel(self, resource: str, batch_id: str) -> BatchRecord:
        """Ask for the end of a batch; what is answered by then stays in its files.

        Raises:
            NotFound: there is no such batch.
            UnexpectedEntityState: it has ended.

        Contract: Batch_Cancel, 200 Batch.
        """
        with self.database.transaction() as tx:
            record = repository.find(tx, resource, batch_id)
            if record is None:
                raise _no_batch(batch_id)
            if record.status == BatchStatus.CANCELLING:
                return record
            moved = repository.move(tx, record.id, BatchStatus.CANCELLING, self.clock.now())
            if moved is None:
                ended = repository.find_any(tx, record.id) or record
                BATCH.check(ended.status, BatchStatus.CANCELLING)
                raise UnexpectedEntityState(f"The batch is {ended.status}.")
            self.queue.enqueue(tx, SETTLE, moved.id, resource=moved.resource)
            return moved

    def live_content(self, file: FileRecord) -> Iterator[bytes]:
        """The answers so far of the batch that `file` belongs to, in the order of finishing.

        Raises (while it is read):
            UnexpectedEntityState: the batch ended meanwhile and took its rows along; the file is
                complete then and can be read anew.
        """
        with self.database.reading() as connection:
            record = repository.of_file(connection, file.id)
        if record is None:
            return
        failed, told = file.id == record.error_file_id, 0
        for line in repository.answers_as_they_came(self.database, record.seq, failed=failed):
            told += 1
            yield line + b"\n"
        with self.database.reading() as connection:
            now = repository.find_any(connection, record.id) or record
        if BATCH.is_final(now.status) and told < (now.failed if failed else now.completed):
            raise UnexpectedEntityState("The batch has just ended; read its file again.")

    def count_without_engine(self) -> int:
        """How many batches of all resources are being asked while their engine is away."""
        with self.database.reading() as connection:
            return repository.count_without_engine(connection)

    def is_expired(self, record: BatchRecord) -> bool:
        """Whether the batch's time is over, where that counts."""
        if record.expires_at is None or not self.settings.expire:
            return False
        return self.clock.now() >= record.expires_at

    def rules(
        self, resource: str, endpoint: str, check: Callable[[], None] = lambda: None
    ) -> Rules:
        """What an input of `resource` is held against."""

        def resolve(name: str) -> Target | None:
            with self.database.reading() as connection:
                return self._resolve(connection, resource, name)

        return Rules(
            endpoint=endpoint,
            most_requests=self.limits.batch_lines,
            longest_line=self.limits.batch_line_bytes,
            resolve=resolve,
            token_count=lambda target: self.token_count(endpoint, target),
            check=check,
        )

    def _first_look(self, resource: str, endpoint: str, blob: Blob) -> tuple[Target | None, int]:
        """Which deployment an input names and about how many tokens it has.

        Exact where the input is small or the answer depends on it; else an estimate from its
        size, until the validation has counted.
        """
        rules = self.rules(resource, endpoint)
        if blob.bytes <= _COUNTED_AT_ONCE_BYTES or self.settings.fail_fast:
            verdict = validation.validate(self.blobs.read(blob.extents), rules)
            return (None, 0) if verdict.faults else (verdict.target, verdict.tokens)
        glance = b"".join(self.blobs.read(blob.extents, end=_GLANCE_BYTES))
        name = _model_of(glance.partition(b"\n")[0])
        target = rules.resolve(name) if name is not None else None
        return target, blob.bytes // _CHARACTERS_A_TOKEN if target is not None else 0

    def _refuse_over_limit(self, connection: sa.Connection, target: Target, tokens: int) -> None:
        deployment = target.deployment
        waiting = repository.enqueued_tokens(connection, deployment.resource, deployment.id)
        if waiting + tokens > target.enqueued_token_limit:
            fault = validation.token_limit_fault(target.enqueued_token_limit, deployment.id)
            raise InvalidPayload(f"{fault.code}: {fault.message}", target="$.input_file_id")

    def _tokens_in_view(
        self, connection: sa.Connection, resource: str, records: Sequence[BatchRecord]
    ) -> EnqueuedTokens | None:
        """The tokens of the one deployment that `records` are of."""
        named = {(record.deployment_owner, record.deployment) for record in records}
        if len(named) != 1:
            return None
        owner, name = named.pop()
        target = self._resolve(connection, resource, name) if name is not None else None
        if owner is None or name is None or target is None:
            return None
        enqueued = repository.enqueued_tokens(connection, owner, name)
        return EnqueuedTokens(enqueued, target.enqueued_token_limit)

    def _resolve(self, connection: sa.Connection, resource: str, name: str) -> Target | None:
        if "\0" in name:  # PostgreSQL takes no such text, not even to look for it
            return None
        try:
            return self.deployments.resolve(connection, resource, name)
        except DeploymentNotFound:
            return None


def _endpoint(asked: str) -> str:
    endpoint = bare_path(asked)
    if endpoint not in ENDPOINTS:
        raise InvalidPayload(
            f"Invalid value for `endpoint`: {asked!r} is none of {', '.join(ENDPOINTS)} "
            "(with or without /v1 before it).",
            target="$.endpoint",
        )
    return endpoint


def _model_of(line: bytes) -> str | None:
    try:
        model = orjson.loads(line)["body"]["model"]
    except (orjson.JSONDecodeError, TypeError, KeyError):
        return None
    return model if isinstance(model, str) else None


def _no_batch(batch_id: str) -> NotFound:
    return NotFound(f"There is no batch {batch_id!r}.")
