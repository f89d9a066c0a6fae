"""How a part of an ingestion fails, told apart by what it means for the run."""

from collections.abc import Sequence


class IngestionFailed(Exception):
    """The run cannot go on: its container, its target or its embedding refuses or is away.

    The message is told to the caller, so it names what failed and what to do, and holds no secret.
    """

    def __init__(self, message: str, inner: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.inner = tuple(inner)
        """What failed on the way to it, each in words of its own; told as `innerErrors`."""


class IndexMisfit(IngestionFailed):
    """There is an index already, and its fields or dimensions are not those that are needed."""


class TryLater(IngestionFailed):
    """The same, for now: 429, 5xx, a broken connection. Worth another try after a while."""

    def __init__(
        self, message: str, after_seconds: float | None = None, *, is_limit: bool = False
    ) -> None:
        super().__init__(message)
        self.after_seconds = after_seconds
        """How long the other side asked to be left alone; None where it did not say."""
        self.is_limit = is_limit
        """Whether it said that it is asked too much (429): that is for no document's text."""


class DocumentFailed(Exception):
    """One document cannot be ingested; the run goes on and tells the reason as a warning."""
