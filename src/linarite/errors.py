"""Every refusal this server can answer, as one tree of exceptions.

Services raise these; `http.errors` alone turns them into answers. One class per code of the
contract's ErrorCode that can occur, and per status it travels with; then the codes that the real
service answers at its gateway (numbers as text, PascalCase), and OpenAI's own shape for inference.

    LinariteError
    ├── InvalidPayload          400  invalidPayload
    │   ├── PayloadTooLarge     413
    │   ├── UnsupportedMediaType  415
    │   ├── RangeNotSatisfiable 416
    │   └── HeadersTooLarge     431
    ├── JsonlValidationFailed   400  jsonlValidationFailed
    ├── FileImportFailed        400  fileImportFailed
    ├── Unauthorized            401  401 (contract: unauthorized)
    ├── Forbidden               403  forbidden
    ├── QuotaExceeded           403  quotaExceeded
    ├── NotFound                404  notFound
    ├── ItemDoesAlreadyExist    409  itemDoesAlreadyExist
    ├── UnexpectedEntityState   409  unexpectedEntityState
    ├── RateLimited             429  429
    ├── InternalFailure         500  internalFailure
    ├── ServiceUnavailable      503  serviceUnavailable
    ├── ResourceNotFound        404  404
    ├── MethodNotAllowed        405  405
    ├── ApiVersionNotSupported  400  BadRequest
    ├── DeploymentNotFound      404  DeploymentNotFound
    └── InferenceRefused        any  OpenAI's {message, type, param, code}
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from linarite.wire.inference import error_body


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong in a body: where it stands (a JSON path) and what it is."""

    target: str
    message: str


class LinariteError(Exception):
    """A refusal with a code, a status and a sentence that says what would be right.

    Args:
        message: what is wrong, with which value, and what would be right.
        target: JSON path or parameter that is at fault.
        faults: every single fault when there are several; the first one is `message`'s.
        headers: additional response headers.
    """

    code: ClassVar[str] = "internalFailure"
    status: int = 500
    should_retry: ClassVar[bool | None] = None

    def __init__(
        self,
        message: str | None = None,
        *,
        target: str | None = None,
        faults: Sequence[Fault] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.message = message or (self.__doc__ or "").partition("\n")[0]
        self.target = target
        self.faults = tuple(faults)
        self.headers = dict(headers or {})
        super().__init__(self.message)


class InvalidPayload(LinariteError):
    """The request is not valid."""

    code = "invalidPayload"
    status = 400


class UnsupportedMediaType(InvalidPayload):
    """The content type of the request is not one that this operation takes."""

    status = 415


class PayloadTooLarge(InvalidPayload):
    """The body of the request is too large."""

    status = 413


class HeadersTooLarge(InvalidPayload):
    """The headers of the request are too many or too long."""

    status = 431


class RangeNotSatisfiable(InvalidPayload):
    """The range asked for lies outside the content."""

    status = 416


class JsonlValidationFailed(LinariteError):
    """The file is not valid JSON Lines for its purpose."""

    code = "jsonlValidationFailed"
    status = 400


class FileImportFailed(LinariteError):
    """The file could not be imported."""

    code = "fileImportFailed"
    status = 400


class Unauthorized(LinariteError):
    """Access denied due to invalid subscription key or wrong API endpoint. Make sure to provide a valid key for an active subscription and use a correct regional API endpoint for your resource."""  # noqa: E501 - the service's sentence, word for word

    code = "401"
    status = 401


class Forbidden(LinariteError):
    """The caller may not do this."""

    code = "forbidden"
    status = 403


class QuotaExceeded(LinariteError):
    """A quota of this resource is used up."""

    code = "quotaExceeded"
    status = 403


class NotFound(LinariteError):
    """There is no such item."""

    code = "notFound"
    status = 404


class ItemDoesAlreadyExist(LinariteError):
    """There is such an item already."""

    code = "itemDoesAlreadyExist"
    status = 409
    should_retry = False


class UnexpectedEntityState(LinariteError):
    """The item is in a state that does not allow this."""

    code = "unexpectedEntityState"
    status = 409
    should_retry = False


class RateLimited(LinariteError):
    """More was asked for in a minute than the deployment answers."""

    code = "429"
    status = 429


class InternalFailure(LinariteError):
    """The server failed; the failure was logged under the request id of this answer."""

    code = "internalFailure"
    status = 500


class ServiceUnavailable(LinariteError):
    """The service cannot answer now; wait and try again."""

    code = "serviceUnavailable"
    status = 503


class ResourceNotFound(LinariteError):
    """Resource not found"""  # noqa: D415 - the service's sentence, word for word

    code = "404"
    status = 404


class MethodNotAllowed(LinariteError):
    """The method is not allowed on this path."""

    code = "405"
    status = 405


class ApiVersionNotSupported(LinariteError):
    """API version not supported"""  # noqa: D415 - the service's sentence, word for word

    code = "BadRequest"
    status = 400


class DeploymentNotFound(LinariteError):
    """The API deployment for this resource does not exist. If you created the deployment within the last 5 minutes, please wait a moment and try again."""  # noqa: E501 - the service's sentence, word for word

    code = "DeploymentNotFound"
    status = 404


class InferenceRefused(LinariteError):
    """An inference request that is refused in OpenAI's own shape.

    Args:
        message: what is wrong and what would be right.
        status: the HTTP status.
        code: OpenAI's code, such as ``context_length_exceeded``, or None.
        param: the parameter at fault, or None.
        kind: OpenAI's ``type``, such as ``invalid_request_error``, or None.
        more: further fields of the error, such as ``innererror``.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int = 400,
        code: str | None = None,
        param: str | None = None,
        kind: str | None = "invalid_request_error",
        headers: Mapping[str, str] | None = None,
        more: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message, target=param, headers=headers)
        self.status = status
        self.openai_code = code
        self.param = param
        self.kind = kind
        self.more = dict(more or {})

    @property
    def body(self) -> dict[str, Any]:
        """What it travels as."""
        return error_body(
            self.message, kind=self.kind, code=self.openai_code, param=self.param, more=self.more
        )
