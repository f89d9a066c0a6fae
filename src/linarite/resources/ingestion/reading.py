"""From a document in its container to the texts of its chunks."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

import orjson
import structlog

from linarite.indexing.containers.container import Item
from linarite.indexing.failures import DocumentFailed
from linarite.resources.ingestion.culprits import NOT_ITS_FAULT
from linarite.resources.ingestion.documents import Document, Settled
from linarite.resources.ingestion.parts import Parts
from linarite.resources.ingestion.tenure import Tenure

_DEATHS = 5
"""How many workers may die over one document before it is left out."""

_log = structlog.get_logger("linarite.ingestion")


@dataclass(frozen=True, slots=True)
class Ready:
    """A document whose chunks are to go into the target.

    Args:
        document: which.
        digest: of all that its chunks depend on, but for how they are made.
        title: what it is called.
        texts: of its chunks, in order.
    """

    document: Document
    digest: str
    title: str
    texts: Sequence[str]

    @property
    def characters(self) -> int:
        """How much there is of it in memory."""
        return sum(map(len, self.texts))


class Reading:
    """Reads documents, one after the other; for one thread.

    Args:
        parts: what the run works with.
        tenure: the right to.
        file: where a document lies while it is read.
    """

    def __init__(self, parts: Parts, tenure: Tenure, file: Path) -> None:
        self._parts = parts
        self._tenure = tenure
        self._file = file
        file.touch()

    def read(self, document: Document) -> Ready | Settled:
        """The document's chunks; how it ended where there are none, or no others than before."""
        if document.attempts >= _DEATHS:
            reason = f"{_DEATHS} workers died while they were at it; see the server's log."
            return Settled(document, 0, None, reason)
        try:
            return self._read(document)
        except DocumentFailed as failure:
            return Settled(document, 0, None, str(failure))
        except NOT_ITS_FAULT:
            raise
        except Exception as error:  # noqa: BLE001 - what nobody foresaw is not to end the run
            self._tenure.check()
            _log.exception("a document cannot be read", document=document.id)
            reason = f"Reading it failed for an internal error ({type(error).__name__})."
            return Settled(document, 0, None, reason)

    def _read(self, document: Document) -> Ready | Settled:
        parts, item = self._parts, document.item
        digest = self._tenure.patiently(lambda: self._fetch(item))
        if digest == document.digest and parts.fingerprint == document.fingerprint:
            return Settled(document, document.chunks, digest)
        cracked = self._tenure.patiently(
            lambda: parts.cracker.crack(self._file, item.key, item.content_type)
        )
        title = item.title or cracked.title or item.key.rpartition("/")[2]
        return Ready(document, digest, title, parts.chunk(cracked.text))

    def _fetch(self, item: Item) -> str:
        """Write a document into the file; tells what it and what is known of it come to.

        Over the one before, and cut to its length then: file systems flush a file to the disk that
        was emptied first, which takes longer than all else that is done for a small document.
        """
        with self._file.open("r+b") as into:
            checked = cast(BinaryIO, _Checked(into, self._tenure))
            self._parts.container.read(item, checked, self._parts.document_bytes)
            into.truncate()
            into.seek(0)
            digest = hashlib.file_digest(into, "sha256")
        digest.update(orjson.dumps([item.url, item.title]))
        return digest.hexdigest()


class _Checked:
    """A file that can be written to while the right to work on the run holds."""

    def __init__(self, file: BinaryIO, tenure: Tenure) -> None:
        self._file = file
        self._tenure = tenure

    def write(self, piece: bytes) -> int:
        """Write a piece; raises HandedBack or RunOver."""
        self._tenure.check()
        return self._file.write(piece)
