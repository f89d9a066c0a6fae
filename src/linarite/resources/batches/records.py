"""A batch as a row: what stands in it, and what of it the wire shows."""

from dataclasses import dataclass
from typing import Any

from linarite.wire.batches import (
    Batch,
    BatchErrorData,
    BatchErrors,
    BatchRequestCounts,
    BatchStatus,
)


class Fenced(Exception):
    """Another worker took the batch over, and this one may write nothing more about it."""


@dataclass(frozen=True)
class BatchRecord:
    """A row of `batches`."""

    seq: int
    id: str
    resource: str
    input_file_id: str
    input_blob_id: str | None
    """The input's bytes, which the batch keeps for itself; None once it has ended."""
    endpoint: str
    completion_window: str
    metadata: dict[str, str] | None
    status: BatchStatus
    run: int
    """How often a worker began to ask its requests; only the last one may write."""
    deployment: str | None
    deployment_owner: str | None
    """The resource that the deployment belongs to, or everyone's."""
    enqueued_tokens: int
    errors: list[dict[str, Any]] | None
    output_file_id: str | None
    error_file_id: str | None
    total: int
    completed: int
    failed: int
    created_at: int
    expires_at: int | None
    in_progress_at: int | None
    finalizing_at: int | None
    completed_at: int | None
    failed_at: int | None
    expired_at: int | None
    cancelling_at: int | None
    cancelled_at: int | None

    @property
    def user(self) -> str:
        """Its name among the users of a blob."""
        return f"batch:{self.id}"

    @property
    def answered(self) -> int:
        """How many of its requests have an answer."""
        return self.completed + self.failed

    def to_wire(self) -> Batch:
        """The batch as the contract shows it."""
        errors = None
        if self.errors is not None:
            errors = BatchErrors(data=[BatchErrorData(**error) for error in self.errors])
        return Batch(
            id=self.id,
            endpoint=self.endpoint,
            errors=errors,
            input_file_id=self.input_file_id,
            completion_window=self.completion_window,
            status=self.status,
            output_file_id=self.output_file_id,
            error_file_id=self.error_file_id,
            created_at=self.created_at,
            in_progress_at=self.in_progress_at,
            expires_at=self.expires_at,
            finalizing_at=self.finalizing_at,
            completed_at=self.completed_at,
            failed_at=self.failed_at,
            expired_at=self.expired_at,
            cancelling_at=self.cancelling_at,
            cancelled_at=self.cancelled_at,
            request_counts=BatchRequestCounts(
                total=self.total, completed=self.completed, failed=self.failed
            ),
            metadata=self.metadata,
        )


@dataclass(frozen=True)
class EnqueuedTokens:
    """What the open batches of a deployment have waiting, and how much they may."""

    enqueued: int
    limit: int
