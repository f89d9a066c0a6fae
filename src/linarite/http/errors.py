"""The one place where exceptions become answers.

Authoring operations answer the contract's ErrorResponse; a refused inference request answers
OpenAI's own shape. What nobody raised on purpose is an InternalFailure: logged with its traceback
under the request's id, and told to the caller without it.
"""

from typing import Any

import orjson
import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from linarite.errors import (
    InferenceRefused,
    InternalFailure,
    InvalidPayload,
    LinariteError,
    MethodNotAllowed,
    ResourceNotFound,
)
from linarite.http.bodies import invalid_payload
from linarite.wire.errors import Error, ErrorResponse, InnerError, InnerErrorCode

log = structlog.get_logger()


def install(app: FastAPI) -> None:
    """Let `app` answer every exception in the service's form."""
    app.add_exception_handler(LinariteError, _refused)
    app.add_exception_handler(RequestValidationError, _not_valid)
    app.add_exception_handler(HTTPException, _no_route)


def error_answer(error: LinariteError) -> Response:
    """The answer that `error` travels as."""
    headers = dict(error.headers)
    if error.should_retry is not None:
        headers["x-should-retry"] = "true" if error.should_retry else "false"
    body = _openai_body(error) if isinstance(error, InferenceRefused) else _contract_body(error)
    return Response(body, error.status, headers=headers, media_type="application/json")


def failure_answer(error: BaseException) -> Response:
    """The answer to an exception that nobody raised on purpose; logs it."""
    log.error("request failed", exc_info=error)
    return error_answer(InternalFailure())


def _contract_body(error: LinariteError) -> bytes:
    details = [
        Error(code=error.code, message=fault.message, target=fault.target) for fault in error.faults
    ]
    inner = InnerError(code=InnerErrorCode.INVALID_PAYLOAD) if details else None
    return ErrorResponse(
        error=Error(
            code=error.code,
            message=error.message,
            target=error.target,
            details=details or None,
            innererror=inner,
        )
    ).to_json()


def _openai_body(error: InferenceRefused) -> bytes:
    said: dict[str, Any] = {
        "message": error.message,
        "type": error.kind,
        "param": error.param,
        "code": error.openai_code,
    }
    return orjson.dumps({"error": said})


async def _refused(_request: Request, error: Exception) -> Response:
    assert isinstance(error, LinariteError)
    return error_answer(error)


async def _not_valid(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    return error_answer(invalid_payload(error.errors()))


async def _no_route(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == 404:
        return error_answer(ResourceNotFound())
    if error.status_code == 405:
        return error_answer(MethodNotAllowed(headers=error.headers))
    return error_answer(InvalidPayload(str(error.detail)))
