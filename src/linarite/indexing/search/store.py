"""Where indexes lie: a folder each, with a Lance table and the index's definition beside it.

    ROOT/RESOURCE/NAME/index.json        the definition, its etag and who made it
    ROOT/RESOURCE/NAME/documents.lance/  the documents
    ROOT/RESOURCE/NAME/lock              held by the one process that writes

Many processes read and write at once. A folder comes to its name whole, by a rename, and goes the
same way; `index.json` is replaced by a rename; Lance's commits are atomic. So a process may be
killed at any moment, and what it leaves behind is swept by the next that writes there.
"""

import fcntl
import os
import re
import shutil
import threading
import time
import uuid
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import lancedb
import orjson
import pyarrow as pa
from lancedb.index import FTS, BTree
from lancedb.table import Table

from linarite import memory
from linarite.indexing.search import tending
from linarite.indexing.search.analyzers import ANALYZERS, STANDARD
from linarite.indexing.search.definition import IndexDefinition, IndexField
from linarite.indexing.search.refusals import AlreadyThere, Busy, NotThere, QuotaReached
from linarite.indexing.search.rules import check_name
from linarite.indexing.search.schema import arrow_schema, column
from linarite.indexing.search.tending import Tail

_RECORD, _TABLE, _LOCK = "index.json", "documents", "lock"
_MAKING, _GOING = ".making-", ".going-"
_ABANDONED_SECONDS = 3600
_LOCK_SECONDS = 60.0
_OPEN_TABLES = 64
_OLD_SECONDS = 120.0
"""How long a query that is under way may read what was replaced, which the disk has to hold."""
_LARGE_ROWS = 20_000
"""A process of its own takes a second to start."""
_REST = 4
"""A fifth of the time at most is spent on it, then, however much is written."""
_CACHE_BYTES = 64 << 20
"""What Lance may keep in memory of all indexes together; left alone it takes gigabytes."""


@dataclass(frozen=True)
class Record:
    """What is known of an index beside its documents.

    Args:
        definition: its fields.
        etag: changes with every change of the definition.
        maker: who made it and alone writes to it; empty: callers of the API.
        generation: differs between two indexes that had the same name one after the other.
    """

    definition: IndexDefinition
    etag: str
    maker: str
    generation: str

    def changed(self, definition: IndexDefinition) -> "Record":
        """The same index with another definition."""
        return replace(self, definition=definition, etag=_new_etag())


class Store:
    """All indexes of a server.

    Args:
        root: the folder that they lie in; made when the first one is.
        most_indexes: how many one resource may have.
        free_space_bytes: nothing is written while the disk has less than this free.
        lock_seconds: how long one who writes waits for another.
        old_seconds: how long what was replaced stays.
        large_rows: from so many documents on, an index is tended in a process of its own.
        rest: how many times longer than tending took an index is left alone after it.
    """

    def __init__(
        self,
        root: Path,
        most_indexes: int,
        free_space_bytes: int,
        lock_seconds: float = _LOCK_SECONDS,
        old_seconds: float = _OLD_SECONDS,
        large_rows: int = _LARGE_ROWS,
        rest: float = _REST,
    ) -> None:
        self._root, self._most = root, most_indexes
        self._free_space_bytes = free_space_bytes
        self._lock_seconds, self._old_seconds = lock_seconds, old_seconds
        self._large_rows, self._rest = large_rows, rest
        self._tables: OrderedDict[tuple[Path, str], Table] = OrderedDict()
        self._rests: dict[str, float] = {}
        """Until when indexes are left alone, by their generations."""
        self._tended: set[str] = set()
        """The generations of those that a thread is at."""
        self._opening, self._turns = threading.Lock(), threading.Lock()
        if memory.spare():
            pa.set_memory_pool(pa.system_memory_pool())  # Arrow's own would keep what is freed
        self._session = lancedb.Session(
            index_cache_size_bytes=_CACHE_BYTES, metadata_cache_size_bytes=_CACHE_BYTES // 4
        )

    @property
    def most_indexes(self) -> int:
        return self._most

    def names(self, resource: str) -> list[str]:
        """The indexes of `resource`, by name."""
        folder = self._folder(resource)
        if not folder.is_dir():
            return []
        found = (each.name for each in os.scandir(folder) if not each.name.startswith("."))
        return sorted(name for name in found if (folder / name / _RECORD).is_file())

    def get(self, resource: str, name: str) -> Record:
        """What is known of an index; raises NotThere."""
        check_name(name)
        return _read(self._folder(resource) / name, name)

    def table(self, resource: str, record: Record) -> Table:
        """The documents, as they are whenever they are asked for; raises NotThere."""
        path = self._folder(resource) / record.definition.name
        key = (path, record.generation)
        with self._opening:
            table = self._tables.pop(key, None) or _open(path, self._session)
            self._tables[key] = table
            while len(self._tables) > _OPEN_TABLES:
                self._tables.popitem(last=False)
        return table

    def create(self, resource: str, definition: IndexDefinition, maker: str) -> Record:
        """Make an index.

        Raises:
            AlreadyThere: there is one of that name.
            QuotaReached: the resource has as many as it may, or the disk is full.
        """
        self.check_space()
        folder = self._folder(resource)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _sweep(folder)
        names = self.names(resource)
        if definition.name in names:
            raise _already(definition.name)
        if len(names) >= self._most:
            raise QuotaReached(
                f"Index quota has been exceeded for this service. You currently have "
                f"{len(names)} indexes, and the quota is {self._most}. You must either delete "
                "unused indexes first, or raise the quota.",
                "QuotaExceeded",
            )
        record = Record(definition, _new_etag(), maker, uuid.uuid4().hex)
        making = folder / f"{_MAKING}{record.generation}"
        making.mkdir(mode=0o700)
        (making / _LOCK).touch(mode=0o600)
        _create_table(making, definition)
        _write(making, record)
        try:
            making.rename(folder / definition.name)  # fails where there is one, as it is not empty
        except OSError:
            shutil.rmtree(making, ignore_errors=True)
            if (folder / definition.name).exists():
                raise _already(definition.name) from None
            raise
        _sync(folder)
        return record

    @contextmanager
    def writing(self, resource: str, name: str) -> Iterator[Record]:
        """Be the only one to write to an index; its record as it then is.

        Raises:
            NotThere: it is not there, or was deleted meanwhile.
            Busy: somebody else wrote all the time that this one waits.
        """
        generation = self.get(resource, name).generation
        path = self._folder(resource) / name
        with _locked(path, name, self._lock_seconds):
            record = _read(path, name)
            if record.generation != generation:
                raise _missing(name)
            yield record

    def change(self, resource: str, record: Record, added: Sequence[IndexField]) -> None:
        """Keep a record whose definition has `added` fields; the caller is the one that writes."""
        self.check_space()
        table = self.table(resource, record)
        there = set(table.schema.names)
        left_behind = [field.name for field in added if field.name in there]
        if left_behind:  # by one that was killed before it kept the record
            table.drop_columns(left_behind)
        if added:
            table.add_columns(pa.schema([column(field) for field in added]))
            _index(table, added)
        _write(self._folder(resource) / record.definition.name, record)

    def delete(self, resource: str, name: str) -> None:
        """Remove an index with all that is in it; the caller is the one that writes."""
        folder = self._folder(resource)
        going = folder / f"{_GOING}{uuid.uuid4().hex}"
        (folder / name).rename(going)
        _sync(folder)
        shutil.rmtree(going, ignore_errors=True)

    def tend(self, resource: str, name: str, tail: Tail = Tail.WRITING) -> None:
        """Make an index quick again where it is time to; the caller does not hold it.

        While much is written the time for that is bounded: after each there is a rest, longer than
        it took, whatever came of it; and one thread does it for all.

        Args:
            resource: whose index it is.
            name: the index's.
            tail: what may be left.

        Raises:
            NotThere: there is no such index, or it was deleted meanwhile.
            Busy: somebody else wrote all the time that this one waits.
            TendingFailed: it could not be done; a later write tries again.
        """
        record = self.get(resource, name)
        table = self.table(resource, record)
        is_resting = time.monotonic() < self._rests.get(record.generation, 0.0)
        if is_resting and tail is not Tail.AT_LEISURE:
            return
        if not tending.is_due(table, self._old_seconds, tail):
            return
        with self._turns:
            if record.generation in self._tended:
                return
            self._tended.add(record.generation)
        began = time.monotonic()
        try:
            if table.count_rows() < self._large_rows:
                self.tend_here(resource, name, tail)
            else:
                tending.tend_apart(self._root, resource, name, tail, self._old_seconds)
        finally:
            ended = time.monotonic()
            self._rests[record.generation] = ended + self._rest * (ended - began)
            self._tended.discard(record.generation)

    def tend_here(self, resource: str, name: str, tail: Tail) -> None:
        """The same in this process, at once; raises NotThere, Busy."""
        with self.writing(resource, name) as record:
            table = self.table(resource, record)
            if tending.is_due(table, self._old_seconds, tail):
                tending.tend(table, record.definition, self._old_seconds)

    def check_space(self) -> None:
        """Raise QuotaReached where the disk is nearly full."""
        there = next(each for each in (self._root, *self._root.parents) if each.exists())
        if shutil.disk_usage(there).free < self._free_space_bytes:
            raise QuotaReached(
                "Storage quota has been exceeded for this service: the disk is full.",
                "QuotaExceeded",
            )

    def stored_bytes(self, resource: str, name: str) -> int:
        """What an index takes on the disk."""
        total = 0
        for folder, _, files in os.walk(self._folder(resource) / name):
            for file in files:
                try:
                    total += os.stat(os.path.join(folder, file)).st_size
                except FileNotFoundError:  # tidied up meanwhile
                    continue
        return total

    def _folder(self, resource: str) -> Path:
        assert re.fullmatch(r"[\w-]+", resource), resource  # as `linarite keys` has it
        return self._root / resource


def _open(path: Path, session: lancedb.Session) -> Table:
    try:
        # every query sees what was committed before it, by whichever process
        database = lancedb.connect(path, read_consistency_interval=timedelta(0), session=session)
        return database.open_table(_TABLE)
    except (FileNotFoundError, ValueError) as error:
        if path.exists():
            raise
        raise _missing(path.name) from error


def _create_table(path: Path, definition: IndexDefinition) -> None:
    table = lancedb.connect(path).create_table(_TABLE, schema=arrow_schema(definition))
    table.create_index(definition.key, config=BTree())
    _index(table, definition.fields)


def _index(table: Table, fields: Sequence[IndexField]) -> None:
    for field in fields:
        if field.is_searched_by_text:
            analyzer = field.analyzer or field.index_analyzer or field.search_analyzer or STANDARD
            words = FTS(**ANALYZERS[analyzer])
            table.create_index(field.name, config=words, name=f"{field.name}_words")


@contextmanager
def _locked(path: Path, name: str, seconds: float) -> Iterator[None]:
    try:
        descriptor = os.open(path / _LOCK, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        raise _missing(name) from None
    try:
        until = time.monotonic() + seconds
        while not _taken(descriptor):
            if time.monotonic() > until:
                raise Busy(
                    f"The index '{name}' is written to by others for long; try again later.",
                    "ServiceUnavailable",
                )
            time.sleep(0.005)
        yield
    finally:
        os.close(descriptor)  # which lets go, as the end of the process would


def _taken(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _read(path: Path, name: str) -> Record:
    try:
        kept = orjson.loads((path / _RECORD).read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        raise _missing(name) from None
    definition = IndexDefinition.model_validate(kept.pop("definition"))
    return Record(definition, **kept)


def _write(path: Path, record: Record) -> None:
    kept = {
        "definition": record.definition.to_wire(),
        "etag": record.etag,
        "maker": record.maker,
        "generation": record.generation,
    }
    new = path / f"{_RECORD}.new"
    with new.open("wb") as file:
        file.write(orjson.dumps(kept))
        file.flush()
        os.fsync(file.fileno())
    new.replace(path / _RECORD)
    _sync(path)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sweep(folder: Path) -> None:
    """Remove what was left by processes that were killed as they made or removed an index."""
    for each in folder.iterdir():
        is_old = each.name.startswith(_MAKING) and _age_seconds(each) > _ABANDONED_SECONDS
        if is_old or each.name.startswith(_GOING):
            shutil.rmtree(each, ignore_errors=True)


def _age_seconds(path: Path) -> float:
    try:
        return time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _new_etag() -> str:
    return f'"0x{uuid.uuid4().hex[:15].upper()}"'


def _missing(name: str) -> NotThere:
    return NotThere(f"The index '{name}' for service 'linarite' was not found.")


def _already(name: str) -> AlreadyThere:
    return AlreadyThere(
        f"Cannot create index '{name}' because it already exists.", "ResourceNameAlreadyInUse"
    )
