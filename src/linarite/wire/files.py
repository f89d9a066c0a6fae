"""Files as they travel: the file object, its list, its deletion, its import."""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from linarite.wire.shapes import (
    HttpUrl,
    Incoming,
    Int64,
    NonEmptyStr,
    Outgoing,
    TypeDiscriminator,
    UnixTime,
)


class FileState(StrEnum):
    """The state of a file; `UPLOADED` and `DELETING` are never returned."""

    UPLOADED = "uploaded"
    PENDING = "pending"
    RUNNING = "running"
    PROCESSED = "processed"
    ERROR = "error"
    DELETING = "deleting"
    DELETED = "deleted"


class Purpose(StrEnum):
    """What a file is for."""

    FINE_TUNE = "fine-tune"
    FINE_TUNE_RESULTS = "fine-tune-results"
    ASSISTANTS = "assistants"
    ASSISTANTS_OUTPUT = "assistants_output"
    BATCH = "batch"
    BATCH_OUTPUT = "batch_output"


UPLOAD_FORM_PURPOSES = frozenset(Purpose) - {Purpose.BATCH_OUTPUT}
"""The enum of Files_Upload's form field, which is one shorter than `Purpose`."""


class FileExpirationAfter(Incoming):
    """When a file expires, counted from its creation; an addition of later api-versions.

    How long it may live is a setting, which the service holds it to.
    """

    anchor: Literal["created_at"]
    seconds: int


class FileImport(Incoming):
    """Body of Files_Import."""

    purpose: Annotated[Purpose, Field(strict=False)]
    filename: NonEmptyStr
    content_url: HttpUrl


class File(Outgoing):
    """A file; `bytes` is null until known, `expires_at` is an addition to the contract."""

    object: Literal[TypeDiscriminator.FILE] = TypeDiscriminator.FILE
    id: str
    created_at: UnixTime
    status: FileState
    bytes: Int64 | None = None
    purpose: Purpose
    filename: NonEmptyStr
    status_details: str | None = None
    expires_at: UnixTime | None = None


class FileList(Outgoing):
    """A page of files; the contract has `object` and `data`, official clients page by the rest."""

    object: Literal[TypeDiscriminator.LIST] = TypeDiscriminator.LIST
    data: list[File]
    first_id: str | None = None
    last_id: str | None = None
    has_more: bool = False


class FileDelete(Outgoing):
    """Answer of Files_Delete."""

    object: Literal["file"] = "file"
    id: NonEmptyStr
    deleted: bool = True
