"""From a document in its container to the texts of its chunks."""

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO, cast

import orjson
import structlog

from linarite.indexing.containers.container import Item
from linarite.indexing.cracking.cracked import Cracked, File
from linarite.indexing.failures import DocumentFailed
from linarite.resources.ingestion.culprits import NOT_ITS_FAULT, Blame, Choked, ask_beside
from linarite.resources.ingestion.documents import Document, Settled
from linarite.resources.ingestion.parts import Parts
from linarite.resources.ingestion.tenure import Tenure

_DEATHS = 5
"""How many workers may die over one document before it is left out."""
_TOGETHER_BYTES = 16 << 20
"""How much of documents lies on the disk beyond which no more are fetched to be read together."""
_LEFT_BYTES = 1 << 20
"""What is longer does not stay there until another takes its place."""

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


@dataclass(frozen=True, slots=True)
class _Fetched:
    """A document that lies in a file."""

    document: Document
    digest: str
    file: File


class Reading:
    """Reads documents, some at a time; for one thread.

    Args:
        parts: what the run works with.
        tenure: the right to.
        files: where documents lie while they are read; so many may be asked for together.
        check: called often; what it raises ends the reading.
    """

    def __init__(
        self, parts: Parts, tenure: Tenure, files: Sequence[Path], check: Callable[[], None]
    ) -> None:
        self._parts = parts
        self._tenure = tenure
        self._check = check
        self._files = files
        self._blame = Blame("read")
        for file in files:
            file.touch()

    def read(self, some: Sequence[Document]) -> list[Ready | Settled]:
        """Their chunks; how a document ended that has none, or no others than before.

        Documents after the first that come to more text than memory has room for are left out, and
        so are those after some that are far longer than their container told: unpacked, it may be.
        """
        read: list[Ready | Settled] = []
        fetched: list[_Fetched] = []
        long = 0
        for document, path in zip(some, self._files, strict=False):
            self._check()
            if isinstance(found := self._found(document, path), Settled):
                read.append(found)
            else:
                fetched.append(found)
            if (long := long + path.stat().st_size) >= _TOGETHER_BYTES:
                break
        read += self._crack(fetched)
        self._empty()
        return read

    def _empty(self) -> None:
        for path in self._files:
            if path.stat().st_size > _LEFT_BYTES:
                os.truncate(path, 0)

    def _found(self, document: Document, path: Path) -> Settled | _Fetched:
        if document.attempts >= _DEATHS:
            reason = f"{_DEATHS} workers died while they were at it; see the server's log."
            return Settled(document, 0, None, reason)
        item = document.item
        fetch = partial(self._tenure.patiently, partial(self._fetch, item, path))
        try:
            digest = ask_beside(self._tenure, fetch, self._list_one, "reading")
        except DocumentFailed as failure:
            if isinstance(failure, Choked):
                self._blame.put_on(document.id, failure)
            return Settled(document, 0, None, str(failure))
        self._blame.got_through()
        if digest == document.digest and self._parts.fingerprint == document.fingerprint:
            return Settled(document, document.chunks, digest)
        return _Fetched(document, digest, File(path, item.key, item.content_type))

    def _list_one(self) -> None:
        next(self._parts.container.list(), None)

    def _crack(self, fetched: Sequence[_Fetched]) -> list[Ready | Settled]:
        if not fetched:
            return []
        files = [one.file for one in fetched]
        crack = partial(self._parts.cracker.crack, files, self._check)
        try:
            cracked = self._tenure.patiently(crack)
        except NOT_ITS_FAULT:
            raise
        except Exception as error:  # noqa: BLE001 - what nobody foresaw is of one of them
            if len(fetched) == 1:
                return [self._unforeseen(fetched[0].document, error)]
            return [outcome for one in fetched for outcome in self._crack([one])]
        return [_outcome(one, found) for one, found in zip(fetched, cracked, strict=False)]

    def _unforeseen(self, document: Document, error: Exception) -> Settled:
        self._check()
        _log.exception("a document cannot be read", document=document.id)
        reason = f"Reading it failed for an internal error ({type(error).__name__})."
        return Settled(document, 0, None, reason)

    def _fetch(self, item: Item, path: Path) -> str:
        """Write a document into a file; tells what it and what is known of it come to.

        Over the one before, and cut to its length then: file systems flush a file to the disk that
        was emptied first, which takes longer than all else that is done for a small document.
        """
        with path.open("r+b") as into:
            checked = cast(BinaryIO, _Checked(into, self._check))
            self._parts.container.read(item, checked, self._parts.document_bytes)
            into.truncate()
            into.seek(0)
            digest = hashlib.file_digest(into, "sha256")
        digest.update(orjson.dumps([item.url, item.title]))
        return digest.hexdigest()


def _outcome(one: _Fetched, found: Cracked | DocumentFailed) -> Ready | Settled:
    if isinstance(found, DocumentFailed):
        return Settled(one.document, 0, None, str(found))
    item = one.document.item
    title = item.title or found.title or item.key.rpartition("/")[2]
    return Ready(one.document, one.digest, title, found.pieces)


class _Checked:
    """A file that can be written to while there is something to read for."""

    def __init__(self, file: BinaryIO, check: Callable[[], None]) -> None:
        self._file = file
        self._check = check

    def write(self, piece: bytes) -> int:
        """Write a piece; raises HandedBack or RunOver."""
        self._check()
        return self._file.write(piece)
