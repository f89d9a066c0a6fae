"""What a container has to offer: documents by key, listed, read and written."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import BinaryIO, Protocol


@dataclass(frozen=True, slots=True)
class Item:
    """A document as a listing tells of it.

    Args:
        key: its name in the container, with ``/`` between folders; told as `filepath`.
        version: an etag, or what stands for one; equal means unchanged.
        url: where a reader finds the document: the page it was saved from, else the blob; empty
            where there is no such place.
        size: in bytes.
        title: what was noted beside it when a crawl saved it.
        content_type: as the container tells it; None where it tells none.
        more: what a Page had as `more`, where a crawl saved it.
    """

    key: str
    version: str
    url: str
    size: int
    title: str | None = None
    content_type: str | None = None
    more: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Page:
    """What is written for a page that a crawl fetched."""

    key: str
    body: bytes
    content_type: str
    url: str
    title: str | None = None
    more: Mapping[str, str] = field(default_factory=dict)
    """What the next crawl wants to know of it, in names and values that fit a blob's metadata."""


class Container(Protocol):
    """Documents under keys.

    Every method raises IngestionFailed (TryLater) where the container as a whole cannot be
    reached or refuses.
    """

    @property
    def place(self) -> str:
        """Tells the container apart from others; no secret is in it."""

    def list(self) -> Iterator[Item]:
        """Every document, in pages behind the scenes; one that ends without raising is complete."""

    def read(self, item: Item, into: BinaryIO, limit_bytes: int) -> None:
        """Write the document of that version into a file.

        Raises:
            DocumentFailed: it is gone, was changed since, or is longer than `limit_bytes`.
        """

    def write(self, page: Page) -> None:
        """Store a page under its key, whole or not at all, over what was there."""

    def delete(self, key: str) -> None:
        """Remove a document; one that is gone already is no fault."""
