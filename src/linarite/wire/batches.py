"""Batches as they travel: the batch, its counts, its errors, its list, its creation."""

from enum import StrEnum
from typing import Literal

from linarite.wire.shapes import (
    Incoming,
    Metadata,
    NonEmptyStr,
    Outgoing,
    TypeDiscriminator,
    UnixTime,
)


class BatchStatus(StrEnum):
    """The state of a batch."""

    VALIDATING = "validating"
    FAILED = "failed"
    IN_PROGRESS = "in_progress"
    FINALIZING = "finalizing"
    COMPLETED = "completed"
    EXPIRED = "expired"
    CANCELLING = "cancelling"
    CANCELLED = "cancelled"


class BatchCreateRequest(Incoming):
    """Body of Batch_Create; which endpoints and windows there are, the service decides."""

    input_file_id: NonEmptyStr
    endpoint: str
    completion_window: str
    metadata: Metadata | None = None


class BatchRequestCounts(Outgoing):
    """How many requests a batch has, and how they ended so far."""

    total: int = 0
    completed: int = 0
    failed: int = 0


class BatchErrorData(Outgoing):
    """One fault of a batch; `line` is an integer on the wire, whatever the contract says."""

    code: str
    message: str
    param: str | None = None
    line: int | None = None


class BatchErrors(Outgoing):
    """The faults of a batch; `data` is an array on the wire, whatever the contract says."""

    object: Literal["list"] = "list"
    data: list[BatchErrorData]


class Batch(Outgoing):
    """A batch; each `…_at` is null until its state is entered and stays after."""

    object: Literal[TypeDiscriminator.BATCH] = TypeDiscriminator.BATCH
    id: str
    endpoint: str
    errors: BatchErrors | None = None
    input_file_id: NonEmptyStr
    completion_window: str
    status: BatchStatus
    output_file_id: str | None = None
    error_file_id: str | None = None
    created_at: UnixTime
    in_progress_at: UnixTime | None = None
    expires_at: UnixTime | None = None
    finalizing_at: UnixTime | None = None
    completed_at: UnixTime | None = None
    failed_at: UnixTime | None = None
    expired_at: UnixTime | None = None
    cancelling_at: UnixTime | None = None
    cancelled_at: UnixTime | None = None
    request_counts: BatchRequestCounts
    metadata: dict[str, str] | None = None


class BatchesList(Outgoing):
    """A page of batches."""

    object: Literal[TypeDiscriminator.LIST] = TypeDiscriminator.LIST
    data: list[Batch]
    first_id: str | None = None
    last_id: str | None = None
    has_more: bool = False
