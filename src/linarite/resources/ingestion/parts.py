"""What a run works with: the parts that its job's definition names, put together by `assembly`."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from linarite.indexing.containers.container import Container
from linarite.indexing.cracking.cracked import Cracked
from linarite.indexing.targets.target import Target
from linarite.wire.ingestion import IngestionJob

if TYPE_CHECKING:  # what it loads an installation may be without
    from linarite.indexing.embedding.embedder import Embedder


class Cracker(Protocol):
    """Takes the text out of files."""

    def crack(self, path: Path, name: str, content_type: str | None) -> Cracked:
        """The text of a file; raises DocumentFailed where there is none to be had."""


class Crawl(Protocol):
    """Fetches web pages into the run's container."""

    def run(self, check: Callable[[], None], told: Callable[["Crawled"], None]) -> "Crawled":
        """Crawl to the end, or to a limit; raises IngestionFailed, and what `check` raises.

        Args:
            check: called often; what it raises ends the crawl.
            told: called often with how far it is.
        """

    def clean(self) -> None:
        """Remove from the container what the crawl wrote there."""


@dataclass(frozen=True, slots=True)
class Crawled:
    """How far a crawl is.

    Args:
        fetched: how many pages are in the container.
        known: how many are known of.
        is_complete: whether nothing was left out for a limit or a failure that may pass.
    """

    fetched: int
    known: int
    is_complete: bool


@dataclass(frozen=True)
class Parts:
    """What a run works with.

    Args:
        container: where its documents are.
        target: where their chunks go.
        cracker: takes the text out of them.
        chunk: cuts a text; each piece is short enough for the embedding model.
        embedder: makes the vectors; None: the index has none.
        fingerprint: tells how chunks are made; where it changes, all are made anew.
        document_bytes: how long a document may be.
        parallel: how many lanes there are at most.
        crawl: fills the container first, where the job is about web pages.
        cleans_up: whether what was only made on the way is removed at the end.
    """

    container: Container
    target: Target
    cracker: Cracker
    chunk: Callable[[str], Sequence[str]]
    embedder: "Embedder | None"
    fingerprint: str
    document_bytes: int
    parallel: int
    crawl: Crawl | None = None
    cleans_up: bool = False


OpenParts = Callable[[str, IngestionJob], AbstractContextManager[Parts]]
"""The parts of a resource's job while the block lasts; raises IngestionFailed."""
