"""What a target has to offer, and the chunk that goes there."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

OF_A_JOB = "ingestion job "
"""How the description of an index begins that a job made; what follows tells which."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of a document, by the names of the fields that it is stored under.

    Args:
        id: `parent_id`, a dash and the place of the chunk in the document, from 0.
        parent_id: the document's; 32 hexadecimal digits.
        content: the text.
        title, filepath, url: the document's.
        chunk_id: the place again, as text; citations carry it.
        last_updated: when the document was ingested, in UTC as ISO 8601 with a Z.
        meta_json_string: JSON of what else is known of it.
        vector: None in a keyword-only index.
    """

    id: str
    parent_id: str
    content: str
    title: str
    filepath: str
    url: str
    chunk_id: str
    last_updated: str
    meta_json_string: str
    vector: Sequence[float] | None


@dataclass(frozen=True, slots=True)
class Stored:
    """What tells whose a chunk is that lies in a target; the fields as `Chunk` has them."""

    id: str
    filepath: str
    meta_json_string: str


class Target(Protocol):
    """An index that holds the chunks of one job.

    Every method raises IngestionFailed (TryLater) where the target cannot be reached or refuses,
    and does the same when done twice. Several workers use one index at once.
    """

    def ensure(self, dimensions: int | None) -> None:
        """Make the index where there is none; None: without vectors.

        Raises:
            IndexMisfit: there is one whose fields or dimensions do not fit.
        """

    def upsert(self, chunks: Sequence[Chunk]) -> None:
        """Store chunks, over those of the same ids; all are stored when this returns.

        Raises:
            DocumentFailed: the target refuses a chunk for what it is, as one that is too long;
                others may be stored by then.
        """

    def delete(self, ids: Sequence[str]) -> None:
        """Remove chunks; those that are not there are no fault."""

    def count(self) -> int:
        """How many chunks of this job are there; what was just stored may not be counted yet."""

    def stored(self, most: int | None = None) -> Iterator[Stored]:
        """The chunks of this job that are there, in no order; none where there is no index.

        Args:
            most: so many are enough; None: all, as far as they are told of already.
        """

    def drop(self) -> None:
        """Remove all that the job stored, the index too where the job made it."""
