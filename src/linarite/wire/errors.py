"""Errors as they travel on the authoring operations; inference has OpenAI's form."""

from enum import StrEnum

from linarite.wire.shapes import NonEmptyStr, Outgoing


class ErrorCode(StrEnum):
    """What went wrong, in the contract's words."""

    CONFLICT = "conflict"
    INVALID_PAYLOAD = "invalidPayload"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "notFound"
    UNEXPECTED_ENTITY_STATE = "unexpectedEntityState"
    ITEM_DOES_ALREADY_EXIST = "itemDoesAlreadyExist"
    SERVICE_UNAVAILABLE = "serviceUnavailable"
    INTERNAL_FAILURE = "internalFailure"
    QUOTA_EXCEEDED = "quotaExceeded"
    JSONL_VALIDATION_FAILED = "jsonlValidationFailed"
    FILE_IMPORT_FAILED = "fileImportFailed"
    TOO_MANY_REQUESTS = "tooManyRequests"
    UNAUTHORIZED = "unauthorized"
    CONTENT_FILTER = "contentFilter"


class InnerErrorCode(StrEnum):
    """The finer reason."""

    INVALID_PAYLOAD = "invalidPayload"


class InnerError(Outgoing):
    """The finer reason of an error, nested as deep as it goes."""

    code: InnerErrorCode
    innererror: "InnerError | None" = None


class Error(Outgoing):
    """One fault: `target` is the JSON path it is about, `details` are the faults it is made of.

    The edge of the real service answers codes of its own (``"401"``, ``DeploymentNotFound``), so
    `code` may be any string.
    """

    code: ErrorCode | NonEmptyStr
    message: NonEmptyStr
    target: str | None = None
    details: "list[Error] | None" = None
    innererror: InnerError | None = None


class ErrorResponse(Outgoing):
    """The body of every failed answer; what an error does not have is left out."""

    error: Error

    def to_json(self) -> bytes:
        """The error as compact UTF-8 JSON, without nulls."""
        return self.__pydantic_serializer__.to_json(self, exclude_none=True)
