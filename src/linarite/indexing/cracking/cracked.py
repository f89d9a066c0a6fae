"""What is cracked, and what that gives."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class File:
    """A document to be read.

    Args:
        path: where it lies.
        name: the document's own, whose extension tells the format.
        content_type: as the container tells it.
    """

    path: Path
    name: str
    content_type: str | None = None


@dataclass(frozen=True, slots=True)
class Cracked:
    """The text of a document.

    Args:
        text: as Markdown where the file had a structure, never blank.
        title: what the document calls itself; None where it has no title.
        pieces: of the text, in order, each short enough for the embedding model; a reader leaves
            them out, as it does not cut.
    """

    text: str
    title: str | None
    pieces: Sequence[str] = ()
