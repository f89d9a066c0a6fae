"""What every wire object shares: how it is read, how it is written, and its kinds of number.

Knows no resource. Classes elsewhere in this room bear the contract's definition names.
"""

from enum import StrEnum
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

INT32_MAX = 2**31 - 1
INT64_MAX = 2**63 - 1

Int32 = Annotated[int, Field(ge=-INT32_MAX - 1, le=INT32_MAX)]
Int64 = Annotated[int, Field(ge=-INT64_MAX - 1, le=INT64_MAX)]
UnixTime = Annotated[int, Field(ge=0, le=INT64_MAX)]

NonEmptyStr = Annotated[str, Field(min_length=1)]

Metadata = Annotated[
    dict[Annotated[str, Field(max_length=64)], Annotated[str, Field(max_length=512)]],
    Field(max_length=16),
]


def _http_url(value: str) -> str:
    try:
        parts = urlsplit(value)
        is_whole = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:
        is_whole = False
    if not is_whole:
        raise PydanticCustomError("url", "Input should be a whole http or https URL")
    return value


HttpUrl = Annotated[str, AfterValidator(_http_url)]
"""A whole URL, kept as it was given; where it may lead is not known here."""


class Incoming(BaseModel):
    """An object that a caller sends: types are exact, keys nobody declared are ignored.

    ``"5"`` is not an integer, ``1`` is not a string, ``true`` is not a number. Enum fields carry
    ``Field(strict=False)``, for in JSON an enum member can only be its string.
    """

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True)


class Outgoing(BaseModel):
    """An object that the service answers: every field is written, absent values as ``null``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    def to_json(self) -> bytes:
        """The object as compact UTF-8 JSON."""
        return self.__pydantic_serializer__.to_json(self)


class TypeDiscriminator(StrEnum):
    """The values of the `object` field."""

    LIST = "list"
    FINE_TUNING_JOB = "fine_tuning.job"
    FILE = "file"
    FINE_TUNING_JOB_EVENT = "fine_tuning.job.event"
    FINE_TUNING_JOB_CHECKPOINT = "fine_tuning.job.checkpoint"
    MODEL = "model"
    UPLOAD = "upload"
    UPLOAD_PART = "upload.part"
    BATCH = "batch"
