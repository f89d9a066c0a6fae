"""How calls of the official search client are retried, and what their failures mean."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    HttpResponseError,
    ServiceRequestError,
    ServiceResponseError,
)
from azure.core.pipeline import PipelineResponse
from azure.core.pipeline.policies import RetryPolicy

from linarite.indexing.failures import IngestionFailed, TryLater
from linarite.outbound import OutboundFailed, OutboundTooSlow

_BUSY = frozenset({408, 429, 500, 502, 503, 504})
_LONGEST_WAIT_SECONDS = 30.0
_LONGEST_MESSAGE = 500


class BoundedRetries(RetryPolicy[Any, Any]):
    """Tries again when the service is busy, whatever the method: each call may be made twice.

    The client's own policy would leave a POST that got 429 alone, and sleep for as long as a
    ``Retry-After`` says.

    Args:
        backoff_seconds: how long the second wait is; the first is none, the next ones double.
        retries: how many there are.
    """

    def __init__(self, backoff_seconds: float, retries: int = 4) -> None:
        super().__init__(
            retry_total=retries,
            retry_backoff_factor=backoff_seconds / 2,
            retry_backoff_max=_LONGEST_WAIT_SECONDS,
        )

    def is_retry(self, settings: dict[str, Any], response: PipelineResponse[Any, Any]) -> bool:
        wait_seconds = self.get_retry_after(response) or 0
        busy = response.http_response.status_code in _BUSY
        return busy and settings["total"] > 0 and wait_seconds <= _LONGEST_WAIT_SECONDS


@contextmanager
def search_failures(what: str) -> Iterator[None]:
    """Raise IngestionFailed or TryLater, opened by the sentence `what`, for the client's errors."""
    try:
        yield
    except OutboundTooSlow as error:
        raise TryLater(f"{what} {error}") from error
    except OutboundFailed as error:
        raise IngestionFailed(f"{what} {error}") from error
    except HttpResponseError as error:
        if isinstance(error, ClientAuthenticationError) and error.response is None:
            raise IngestionFailed(f"{what} This server has no identity there.") from error
        raise _answered(what, error) from error
    except (ServiceRequestError, ServiceResponseError) as error:
        raise TryLater(f"{what} The service could not be reached: {_brief(error)}") from error
    except AzureError as error:
        raise IngestionFailed(f"{what} {_brief(error)}") from error


def _answered(what: str, error: HttpResponseError) -> IngestionFailed:
    status = error.status_code
    if status in _BUSY:
        after, is_limit = _retry_after(error.response), status == 429
        return TryLater(f"{what} The service is busy ({status}).", after, is_limit=is_limit)
    if status in {401, 403}:
        return IngestionFailed(
            f"{what} The service refused the key or the identity ({status}): {_brief(error)}"
        )
    return IngestionFailed(f"{what} The service answered {status}: {_brief(error)}")


def _retry_after(response: Any) -> float | None:
    told = response.headers.get("Retry-After", "")
    return float(told) if told.isdecimal() else None


def _brief(error: AzureError) -> str:
    """The service's own words, without the client's frame around them."""
    told = error.error if isinstance(error, HttpResponseError) else None
    text = told.message if told is not None and told.message else error.message
    return " ".join(text.split())[:_LONGEST_MESSAGE]
