"""Uploads as they travel: the upload, its parts, its start and its completion."""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from linarite.wire.files import File, FileExpirationAfter, Purpose
from linarite.wire.shapes import (
    INT64_MAX,
    Incoming,
    Int64,
    NonEmptyStr,
    Outgoing,
    TypeDiscriminator,
    UnixTime,
)


class UploadStatus(StrEnum):
    """The state of an upload."""

    PENDING = "pending"
    EXPIRED = "expired"
    COMPLETED = "completed"
    CANCELLED = "cancelled"


class UploadFileStartBody(Incoming):
    """Body of UploadFile_Start; `expires_after` is an addition that newer clients send."""

    purpose: Annotated[Purpose, Field(strict=False)]
    filename: NonEmptyStr
    bytes: Annotated[int, Field(ge=0, le=INT64_MAX)]
    mime_type: NonEmptyStr
    expires_after: FileExpirationAfter | None = None


class UploadFileCompleteBody(Incoming):
    """Body of UploadFile_Complete; `part_ids` in the order of the file."""

    part_ids: list[str]
    md5: str | None = None


class UploadPartResource(Outgoing):
    """One stored part of an upload."""

    object: Literal[TypeDiscriminator.UPLOAD_PART] = TypeDiscriminator.UPLOAD_PART
    id: str
    created_at: UnixTime
    upload_id: str
    azure_block_id: str


class UploadResource(Outgoing):
    """An upload; `file` is null until it is completed."""

    object: Literal[TypeDiscriminator.UPLOAD] = TypeDiscriminator.UPLOAD
    id: str
    created_at: UnixTime
    expires_at: UnixTime
    bytes: Int64
    filename: str
    purpose: Purpose
    status: UploadStatus
    file: File | None = None
