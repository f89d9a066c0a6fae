"""Stand-ins at the seams of ingestion, plain enough to see in a test what reached them.

FolderContainer   documents as files; a version is what a file holds
RowsTarget        chunks as rows of an SQLite file of its own, which a kill leaves as they are
WordsEmbedder     vectors made of a text's hash; each text that it is asked for is a line
PlainCracker      a text's first line is its title, each line a piece; one that says ``broken`` is
                  refused, and one that says ``unforeseen`` is what its author did not think of;
                  ``packed`` makes a long one
"""

import hashlib
import json
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from linarite.indexing.containers.container import Item, Page
from linarite.indexing.cracking.cracked import Cracked, File
from linarite.indexing.crawling.crawl import Crawled
from linarite.indexing.failures import DocumentFailed, IndexMisfit
from linarite.indexing.targets.target import Chunk, Stored
from linarite.resources.ingestion.parts import Parts
from linarite.wire.ingestion import (
    IngestionJob,
    IngestionJobSystemCompute,
    SystemComputeStorage,
    SystemComputeUrl,
)

DIMENSIONS = 4
_ROOM_CHARACTERS = 4_000_000

Chokes = Callable[[Sequence[str]], None]
"""Told of texts, and fails where a service would that cannot stand one of them."""

Pass = Callable[[str], None]
"""Told of every call at a seam, by what it is; may raise, or end the process."""


def nothing(_call: object) -> None:
    """Let every call pass."""


def choking(on: str, error: Exception) -> Chokes:
    """Fails wherever a text holds `on`."""

    def choke(texts: Sequence[str]) -> None:
        if any(on in text for text in texts):
            raise error

    return choke


@dataclass
class FolderContainer:
    """The files of a folder."""

    folder: Path
    told: Pass = nothing
    chokes: Chokes = nothing

    @property
    def place(self) -> str:
        return str(self.folder)

    def list(self) -> Iterator[Item]:
        for path in sorted(self.folder.rglob("*")):
            self.told("list")
            if path.is_file():
                key = path.relative_to(self.folder).as_posix()
                content = path.read_bytes()
                version = hashlib.sha256(content).hexdigest()[:16]
                title = content.decode().partition("noted as ")[2] or None
                yield Item(key, version, f"file:///{key}", len(content), title)

    def read(self, item: Item, into: BinaryIO, limit_bytes: int) -> None:
        self.told("read")
        try:
            content = (self.folder / item.key).read_bytes()
        except FileNotFoundError:
            raise DocumentFailed("It is gone.") from None
        if hashlib.sha256(content).hexdigest()[:16] != item.version:
            raise DocumentFailed("It was changed.")
        if len(content) > limit_bytes:
            raise DocumentFailed("It is too long.")
        self.chokes([content.decode()])
        into.write(content)

    def write(self, page: Page) -> None:
        path = self.folder / page.key
        path.parent.mkdir(parents=True, exist_ok=True)
        half = self.folder.parent / "half"
        half.write_bytes(page.body)
        half.replace(path)

    def delete(self, key: str) -> None:
        (self.folder / key).unlink(missing_ok=True)


@dataclass
class SiteContainer(FolderContainer):
    """The same, filled by a crawl: of the files of another folder, which is the site."""

    site: Path = Path()
    is_complete: bool = True

    def crawl(
        self,
        check: Callable[[], None],
        told: Callable[[Crawled], None],
        warn: Callable[[str, str], None],
    ) -> Crawled:
        paths = [path for path in sorted(self.site.rglob("*")) if path.is_file()]
        keys = {path.relative_to(self.site).as_posix() for path in paths}
        for number, key in enumerate(sorted(keys)):
            check()
            self.told("crawl")
            self.write(Page(key, (self.site / key).read_bytes(), "text/plain", f"http://{key}"))
            told(Crawled(number + 1, 0, len(keys)))
        gone = [item.key for item in self.list() if item.key not in keys]
        if not self.is_complete:
            warn("http://slow", "it was too slow")
            return Crawled(len(keys), 0, len(keys))
        return Crawled(len(keys), 0, len(keys), is_complete=True, gone=gone)


@dataclass
class RowsTarget:
    """An index as rows; what it refuses can be set."""

    file: Path
    told: Pass = nothing
    refuses: str = "nothing is refused"
    chokes: Chokes = nothing
    dimensions: int | None = None

    def ensure(self, dimensions: int | None) -> None:
        self.told("ensure")
        if self.dimensions not in {None, dimensions}:
            raise IndexMisfit("The index has other vectors.")
        self.dimensions = dimensions
        with self._open() as rows:
            rows.execute(
                "CREATE TABLE IF NOT EXISTS chunks (id TEXT PRIMARY KEY, document TEXT, "
                "filepath TEXT, title TEXT, url TEXT, content TEXT, vector TEXT, meta TEXT)"
            )

    def upsert(self, chunks: Sequence[Chunk]) -> None:
        for chunk in chunks:
            if self.refuses in chunk.content:
                raise DocumentFailed("The index does not take that.")
        self.chokes([chunk.content for chunk in chunks])
        self.told("upsert")
        with self._open() as rows:
            rows.executemany(
                "INSERT OR REPLACE INTO chunks VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                [
                    (
                        *(one.id, one.parent_id, one.filepath, one.title, one.url, one.content),
                        None if one.vector is None else json.dumps(list(one.vector)),
                        one.meta_json_string,
                    )
                    for one in chunks
                ],
            )
        self.told("upserted")

    def delete(self, ids: Sequence[str]) -> None:
        self.told("delete")
        with self._open() as rows:
            rows.executemany("DELETE FROM chunks WHERE id = ?", [(one,) for one in ids])
        self.told("deleted")

    def count(self) -> int:
        self.told("count")
        with self._open() as rows:
            return int(rows.execute("SELECT count(*) FROM chunks").fetchone()[0])

    def stored(self, most: int | None = None) -> Iterator[Stored]:
        self.told("stored")
        with self._open() as rows:
            try:
                found = rows.execute("SELECT id, filepath, meta FROM chunks ORDER BY id").fetchall()
            except sqlite3.OperationalError:  # there is no index
                return
        yield from (Stored(*row) for row in found[:most])

    def drop(self) -> None:
        self.told("drop")
        self.dimensions = None
        with self._open() as rows:
            rows.execute("DROP TABLE IF EXISTS chunks")

    def rows(self) -> dict[str, tuple[Any, ...]]:
        """All that is in it but what else is known, by the chunks' ids."""
        wanted = "SELECT id, document, filepath, title, url, content, vector FROM chunks"
        with self._open() as rows:
            return {row[0]: row[1:] for row in rows.execute(wanted)}

    def copy(self, id_: str, **changes: str) -> None:
        """Have another chunk that is as this one but for its id and some columns."""
        with self._open() as rows:
            rows.row_factory = sqlite3.Row
            row = dict(rows.execute("SELECT * FROM chunks WHERE id = ?", (id_,)).fetchone())
            values = tuple((row | changes).values())
            rows.execute(f"INSERT INTO chunks VALUES ({', '.join('?' * len(values))})", values)

    def change(self, column: str, value: str) -> None:
        """Have all chunks say the same there."""
        with self._open() as rows:
            rows.execute(f"UPDATE chunks SET {column} = ?", (value,))

    def contents(self) -> dict[str, list[str]]:
        """The texts of each document's chunks, in order."""
        found: dict[str, dict[int, str]] = {}
        for id_, (_, filepath, _, _, content, _) in self.rows().items():
            found.setdefault(filepath, {})[int(id_.rpartition("-")[2])] = content
        return {key: [texts[n] for n in sorted(texts)] for key, texts in sorted(found.items())}

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(self.file, timeout=30)) as connection, connection:
            yield connection


@dataclass
class WordsEmbedder:
    """Vectors of hashes; `log` has a line for each text that it embedded."""

    log: Path
    told: Pass = nothing
    name: str = "words"
    dimensions: int = DIMENSIONS
    tokenizer: str | None = None
    max_tokens: int | None = None
    chokes: Chokes = nothing

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        self.told("embed")
        self.chokes(texts)
        with self.log.open("a") as log:
            log.write("".join(f"{json.dumps(text)}\n" for text in texts))
        hashes = [hashlib.sha256(text.encode()).digest() for text in texts]
        self.told("embedded")
        return [[byte / 255 for byte in one[: self.dimensions]] for one in hashes]

    def asked(self) -> list[str]:
        """Every text that it was asked for."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return [json.loads(line) for line in lines]


@dataclass
class PlainCracker:
    """Reads text; a piece for each line."""

    told: Pass = nothing

    def crack(
        self, files: Sequence[File], check: Callable[[], None]
    ) -> list[Cracked | DocumentFailed]:
        outcomes: list[Cracked | DocumentFailed] = []
        for file in files:
            check()
            outcomes.append(self._crack(file.path.read_text()))
            texts = [one.text for one in outcomes if isinstance(one, Cracked)]
            if sum(map(len, texts)) > _ROOM_CHARACTERS:
                break
        return outcomes

    def _crack(self, text: str) -> Cracked | DocumentFailed:
        self.told("crack")
        if "poison" in text:
            self.told("poison")
        if "broken" in text:
            return DocumentFailed("It is broken.")
        if "unforeseen" in text:
            raise LookupError("no such thing")
        if "packed" in text:
            text += "x" * 1_000_000
        lines = text.splitlines()
        return Cracked(text, lines[0] if lines else None, [line for line in lines if line])


@dataclass
class Standing:
    """All parts of a job in one folder."""

    folder: Path
    told: Pass = nothing
    chokes: Chokes = nothing
    """At what the container is asked for."""
    fingerprint: str = "1"
    parallel: int = 2
    cleans_up: bool = False
    has_vectors: bool = True
    crawls: bool = False
    is_own: bool = False
    is_crawled_whole: bool = True
    misfits: set[str] = field(default_factory=set)
    """Containers whose targets have other vectors."""
    target: RowsTarget = field(init=False)
    embedder: WordsEmbedder = field(init=False)

    def __post_init__(self) -> None:
        self.documents.mkdir(parents=True, exist_ok=True)
        self.target = RowsTarget(self.folder / "index.sqlite3", self._tell)
        self.embedder = WordsEmbedder(self.folder / "embedded.jsonl", self._tell)

    def _tell(self, call: str) -> None:
        self.told(call)  # which a test may replace

    @property
    def documents(self) -> Path:
        """Where the documents lie."""
        return self.folder / "documents"

    @property
    def source(self) -> Path:
        """Where a test puts them: the site, where there is one."""
        return self.folder / "site" if self.crawls else self.documents

    def write(self, key: str, *lines: str) -> None:
        """Put a document there."""
        (self.source / key).parent.mkdir(parents=True, exist_ok=True)
        (self.source / key).write_text("\n".join(lines))

    def target_of(self, container: str) -> RowsTarget:
        """Where a job with that container puts its chunks; so that a test can have two places."""
        if container == "documents":
            return self.target
        target = RowsTarget(self.folder / f"{container}.sqlite3", self._tell)
        target.dimensions = 99 if container in self.misfits else None
        return target

    def open(self, _resource: str, job: IngestionJob) -> AbstractContextManager[Parts]:
        """The parts as a run gets them."""
        assert isinstance(job, IngestionJobSystemCompute)
        assert isinstance(job.datasource, SystemComputeStorage | SystemComputeUrl)
        container = job.datasource.container_name
        target = self.target_of(container)
        folder = self.folder / container  # of pages

        @contextmanager
        def opened() -> Iterator[Parts]:
            pages = None
            if self.crawls:
                whole = self.is_crawled_whole
                folder.mkdir(exist_ok=True)
                pages = SiteContainer(folder, self._tell, self.chokes, self.source, whole)
            yield Parts(
                container=pages or FolderContainer(self.documents, self._tell, self.chokes),
                target=target,
                cracker=PlainCracker(self._tell),
                embedder=self.embedder if self.has_vectors else None,
                place=str(target.file),
                fingerprint=self.fingerprint,
                document_bytes=1 << 20,
                parallel=self.parallel,
                pages=pages,
                cleans_up=self.cleans_up,
                is_own=self.is_own,
            )

        return opened()
