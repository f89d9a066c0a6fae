"""How documents lie on the disk while they are read."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from tests.support.ingestion_parts import FolderContainer, RowsTarget

from linarite.indexing.containers.container import Item
from linarite.indexing.cracking.cracked import Cracked, File
from linarite.resources.ingestion.documents import Document
from linarite.resources.ingestion.parts import Parts
from linarite.resources.ingestion.reading import Reading

LONG = 10 << 20


@dataclass
class Packed(FolderContainer):
    """What tells of little, and gives much."""

    def read(self, item: Item, into: BinaryIO, limit_bytes: int) -> None:
        into.write(b"a" * LONG)


class Brief:
    """What finds little in every file."""

    def crack(self, files: Sequence[File], check: Callable[[], None]) -> list[Cracked]:
        return [Cracked("words", None, ["words"]) for _ in files]


class Held:
    """The right to work, for good."""

    def check(self) -> None:
        pass

    def patiently(self, ask: Callable[[], Any]) -> Any:
        return ask()


def document(seq: int) -> Document:
    return Document(
        seq=seq,
        id=str(seq),
        key=f"{seq}.txt",
        version="1",
        url="",
        title=None,
        content_type=None,
        bytes=9,
        attempts=0,
        digest=None,
        fingerprint=None,
        chunks=0,
        chunks_most=0,
        run=None,
    )


def test_documents_that_are_longer_than_told_do_not_fill_the_disk_together(tmp_path: Path):
    parts = Parts(
        container=Packed(tmp_path),
        target=RowsTarget(tmp_path / "rows"),
        cracker=Brief(),
        embedder=None,
        place="",
        fingerprint="1",
        document_bytes=LONG,
        parallel=1,
    )
    files = [tmp_path / str(number) for number in range(8)]
    held: Any = Held()

    read = Reading(parts, held, files, held.check).read([document(seq) for seq in range(8)])

    assert [one.document.seq for one in read] == [0, 1]
    assert sum(file.stat().st_size for file in files) == 0
