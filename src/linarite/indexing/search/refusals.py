"""How the embedded index refuses: with a status, a code and a sentence, as Azure AI Search does.

SearchRefused           400  what is asked for cannot be had
├── NotThere            404  an index or a document
├── AlreadyThere        409  an index of that name
├── OfAnotherMaker      409  an index that somebody else made, for writing
├── PreconditionFailed  412  the index was changed since
├── TooLarge            413  a body
├── QuotaReached        429  indexes, or space on the disk
└── Busy                503  somebody else writes for long
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar


class SearchRefused(Exception):
    """A request that is refused.

    Args:
        message: what is wrong and, where it helps, what would be right.
        code: the service's word for it; often it has none.
        details: further pairs of code and message.
    """

    status: ClassVar[int] = 400

    def __init__(
        self, message: str, code: str = "", details: Sequence[tuple[str, str]] = ()
    ) -> None:
        super().__init__(message)
        self.message, self.code, self.details = message, code, tuple(details)

    @property
    def body(self) -> Mapping[str, Any]:
        """What it travels as."""
        error: dict[str, Any] = {"code": self.code, "message": self.message}
        if self.details:
            error["details"] = [{"code": code, "message": text} for code, text in self.details]
        return {"error": error}


class NotThere(SearchRefused):
    """There is no such index or document."""

    status = 404


class AlreadyThere(SearchRefused):
    """There is an index of that name."""

    status = 409


class OfAnotherMaker(SearchRefused):
    """The index was made by somebody else, who alone writes to it."""

    status = 409


class PreconditionFailed(SearchRefused):
    """If-Match or If-None-Match does not hold."""

    status = 412


class TooLarge(SearchRefused):
    """The body is too long."""

    status = 413


class QuotaReached(SearchRefused):
    """No more of it is kept."""

    status = 429


class Busy(SearchRefused):
    """The index is written to by somebody else for longer than a caller should wait."""

    status = 503


def bad_parameter(name: str, reason: str) -> SearchRefused:
    """The refusal of one parameter of a query."""
    return SearchRefused(f"{reason}\r\nParameter name: {name}", "InvalidRequestParameter")


def bad_request(reason: str) -> SearchRefused:
    """The refusal of a body that says what it may not."""
    return SearchRefused(f"The request is invalid. Details: {reason}")
