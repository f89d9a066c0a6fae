"""The one place where exceptions become answers.

Authoring operations answer the contract's ErrorResponse; a refused inference request answers
OpenAI's own shape. What nobody raised on purpose is an InternalFailure: logged with its traceback
under the request's id, and told to the caller without it.
"""

import orjson
import sqlalchemy.exc
import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import Match

from linarite.errors import (
    InferenceRefused,
    InternalFailure,
    InvalidPayload,
    LinariteError,
    MethodNotAllowed,
    ResourceNotFound,
    ServiceUnavailable,
)
from linarite.http.faults import invalid_parameters
from linarite.wire.errors import Error, ErrorResponse

log = structlog.get_logger()

_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
_CLIENT_GONE = 499


def install(app: FastAPI) -> None:
    """Let `app` answer every exception in the service's form."""
    app.add_exception_handler(LinariteError, _refused)
    app.add_exception_handler(RequestValidationError, _not_valid)
    app.add_exception_handler(HTTPException, _no_route)
    app.add_exception_handler(ClientDisconnect, _client_gone)
    app.add_exception_handler(sqlalchemy.exc.OperationalError, _database_away)
    app.add_exception_handler(sqlalchemy.exc.TimeoutError, _database_away)
    app.add_exception_handler(Exception, _failed)


def error_answer(error: LinariteError) -> Response:
    """The answer that `error` travels as."""
    headers = dict(error.headers)
    if error.should_retry is not None:
        headers["x-should-retry"] = "true" if error.should_retry else "false"
    if isinstance(error, InferenceRefused):
        body = orjson.dumps(error.body)
    else:
        body = _contract_body(error)
    return Response(body, error.status, headers=headers, media_type="application/json")


def _contract_body(error: LinariteError) -> bytes:
    details = [
        Error(code=error.code, message=fault.message, target=fault.target) for fault in error.faults
    ]
    return ErrorResponse(
        error=Error(
            code=error.code, message=error.message, target=error.target, details=details or None
        )
    ).to_json()


async def _refused(_request: Request, error: Exception) -> Response:
    assert isinstance(error, LinariteError)
    return error_answer(error)


async def _not_valid(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    return error_answer(invalid_parameters(error.errors()))


async def _no_route(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == 404:
        return error_answer(ResourceNotFound())
    if error.status_code == 405:
        allowed = ", ".join(_methods_of(request))
        message = f"{request.method} is not allowed on this path; it takes {allowed}."
        return error_answer(MethodNotAllowed(message, headers={"Allow": allowed}))
    return error_answer(InvalidPayload(str(error.detail)))


def _methods_of(request: Request) -> list[str]:
    """The methods that the request's path takes; the framework names those of one route only."""
    return [
        method
        for method in _METHODS
        if any(
            route.matches({**request.scope, "method": method})[0] is Match.FULL
            for route in request.app.routes
        )
    ]


async def _client_gone(_request: Request, _error: Exception) -> Response:
    log.info("the client went away before it was answered")
    return Response(status_code=_CLIENT_GONE)  # for the figures; nobody is there to read it


async def _database_away(_request: Request, error: Exception) -> Response:
    log.error("the database does not answer", exc_info=error)
    return error_answer(
        ServiceUnavailable(
            "The database does not answer now; wait and try again.", headers={"retry-after": "2"}
        )
    )


async def _failed(_request: Request, error: Exception) -> Response:
    log.error("the request failed", exc_info=error)
    return error_answer(InternalFailure())
