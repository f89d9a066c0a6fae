"""What cracking a file gives."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Cracked:
    """The text of a document.

    Args:
        text: as Markdown where the file had a structure, never blank.
        title: what the document calls itself; None where it has no title.
    """

    text: str
    title: str | None
