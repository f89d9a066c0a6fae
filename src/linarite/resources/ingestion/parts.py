"""What a run works with: the parts that its job's definition names, put together by `assembly`."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from linarite.indexing.containers.container import Container
from linarite.indexing.cracking.cracked import Cracked, File
from linarite.indexing.failures import DocumentFailed
from linarite.indexing.targets.target import Target
from linarite.wire.ingestion import IngestionJob

if TYPE_CHECKING:  # what it loads an installation may be without
    from linarite.indexing.crawling.crawl import Crawled
    from linarite.indexing.embedding.embedder import Embedder


class Cracker(Protocol):
    """Takes the text out of files, and cuts it."""

    def crack(
        self, files: Sequence[File], check: Callable[[], None]
    ) -> Sequence[Cracked | DocumentFailed]:
        """What is in files, or why there is nothing to be had.

        Those after the first that come to more text than memory has room for are left out.

        Args:
            files: some.
            check: called before each is done; what it raises ends the reading.
        """


class Pages(Container, Protocol):
    """A container of pages that a crawl saves."""

    def crawl(
        self,
        check: Callable[[], None],
        told: Callable[["Crawled"], None],
        warn: Callable[[str, str], None],
    ) -> "Crawled":
        """Crawl to the end, or to a limit; raises IngestionFailed, and what `check` raises.

        Args:
            check: called often; what it raises ends the crawl.
            told: called often with how far it is.
            warn: called with an address and why no page of it was saved.
        """


def _nothing() -> None:
    pass


@dataclass(frozen=True)
class Parts:
    """What a run works with.

    Args:
        container: where its documents are.
        target: where their chunks go.
        cracker: takes pieces of text out of them, each short enough for the embedding model.
        embedder: makes the vectors; None: the index has none.
        place: tells the target apart from others.
        fingerprint: tells how chunks are made; where it changes, all are made anew.
        document_bytes: how long a document may be.
        parallel: how many lanes there are at most.
        pages: the container once more where a crawl fills it; else None.
        cleans_up: whether what was only made on the way is removed at the end.
        is_own: whether the target is an index of this server: nobody can write into it but jobs of
            this id here, and it counts at once what is stored. Others may count later.
        tidy: makes the target quick to search once all is written; nothing where it sees to that.
    """

    container: Container
    target: Target
    cracker: Cracker
    embedder: "Embedder | None"
    place: str
    fingerprint: str
    document_bytes: int
    parallel: int
    pages: Pages | None = None
    cleans_up: bool = False
    is_own: bool = False
    tidy: Callable[[], None] = _nothing


OpenParts = Callable[[str, IngestionJob], AbstractContextManager[Parts]]
"""The parts of a resource's job while the block lasts; raises IngestionFailed."""


def delete_all(container: Container, check: Callable[[], None]) -> None:
    """Remove every document of a container; `check` is called before each."""
    for item in container.list():
        check()
        container.delete(item.key)
