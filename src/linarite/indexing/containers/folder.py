"""Documents in a folder of this machine, or one file of it."""

import errno
import json
import os
import stat
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO
from urllib.parse import quote_from_bytes, unquote_to_bytes

from linarite.indexing.containers.container import Item, Page
from linarite.indexing.failures import DocumentFailed, IngestionFailed, TryLater

_PIECE_BYTES = 1 << 20
_BESIDE_BYTES = 1 << 16
_PASSING = {errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.EMFILE, errno.ENFILE, errno.EAGAIN}


class FolderContainer:
    """A folder with all below it, or one file, as the Container of a run.

    Hidden files and folders are left out, as is everything that is no regular file. A link to a
    file counts where the file lies below the folder, too; links to folders are not followed, so
    that nothing outside is ever read and nothing comes twice. Documents have no `url`, as no
    reader gets at this machine's files. What belongs to a crawled page lies beside it, hidden.

    Args:
        path: the folder or the file.
        creates: whether the folder is made where there is none, as for pages of a crawl.
    """

    def __init__(self, path: Path, *, creates: bool = False) -> None:
        self._path = path
        self._creates = creates

    @property
    def place(self) -> str:
        return f"folder {os.path.realpath(self._path)}"

    def list(self) -> Iterator[Item]:
        with self._failures():
            if self._creates:
                self._path.mkdir(parents=True, exist_ok=True)
            root = self._path.resolve(strict=True)
            if root.is_file():
                yield self._item(root.parent, root.name, root.stat())
            else:
                yield from self._below(root, "")

    def read(self, item: Item, into: BinaryIO, limit_bytes: int) -> None:
        if item.size > limit_bytes:
            raise DocumentFailed(f"the document is longer than {limit_bytes} bytes.")
        with self._failures(), _opened(self._root(), item.key) as file:
            if _version(os.fstat(file.fileno())) == item.version:
                left = item.size
                while left and (piece := file.read(min(left, _PIECE_BYTES))):
                    into.write(piece)
                    left -= len(piece)
                if not left and _version(os.fstat(file.fileno())) == item.version:
                    return
        raise DocumentFailed("the document was changed since the folder was listed.")

    def write(self, page: Page) -> None:
        path = self._place(page.key)
        beside = {"url": page.url, "title": page.title, "content_type": page.content_type}
        with self._failures():
            path.parent.mkdir(parents=True, exist_ok=True)
            # The page first: a crawl that takes an old note for a new page fetches it once more,
            # one that takes a new note for an old page would keep that for good.
            _replace(path, page.body)
            _replace(_beside(path), json.dumps(beside | {"more": dict(page.more)}).encode())

    def delete(self, key: str) -> None:
        with self._failures():
            path = self._place(key)
            path.unlink(missing_ok=True)
            _beside(path).unlink(missing_ok=True)

    def _root(self) -> Path:
        root = self._path.resolve(strict=True)
        return root.parent if root.is_file() else root

    def _below(self, root: Path, folder: str) -> Iterator[Item]:
        try:
            with os.scandir(root / folder) as found:
                entries = sorted(found, key=lambda entry: entry.name)
        except FileNotFoundError:
            if folder:  # removed since it was seen
                return
            raise
        for entry in entries:
            name = f"{folder}{entry.name}"
            if entry.name.startswith("."):
                continue
            if entry.is_dir(follow_symlinks=False):
                yield from self._below(root, f"{name}/")
                continue
            with suppress(FileNotFoundError):
                real = Path(entry.path).resolve() if entry.is_symlink() else None
                status = entry.stat()
                is_inside = real is None or real.is_relative_to(root)
                if stat.S_ISREG(status.st_mode) and is_inside:
                    yield self._item(root, name, status)

    def _item(self, root: Path, name: str, status: os.stat_result) -> Item:
        beside = _noted(_beside(root / name))
        return Item(
            key=_key(name),
            version=_version(status),
            url=beside.get("url") or "",
            size=status.st_size,
            title=beside.get("title"),
            content_type=beside.get("content_type"),
            more=beside.get("more") or {},
        )

    def _place(self, key: str) -> Path:
        """Where a page goes; never outside, whatever links lie on the way."""
        parts = PurePosixPath(key).parts
        root = self._path.resolve()
        path = root.joinpath(*parts)
        is_plain = all(part not in {"/", ".."} and not part.startswith(".") for part in parts)
        if not parts or not is_plain or "\0" in key or not path.parent.resolve() == path.parent:
            raise IngestionFailed(f"A page cannot be stored as {key!r} in the folder.")
        return path

    @contextmanager
    def _failures(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            told = f"The folder {self._path.name!r} cannot be used: {error.strerror}."
            raise (TryLater if error.errno in _PASSING else IngestionFailed)(told) from error


@contextmanager
def _opened(root: Path, key: str) -> Iterator[BinaryIO]:
    """The regular file of that key, opened so that no link leads out, swap them who may."""
    try:
        file = _open_below(root, _real(root, key))
    except OSError as error:
        if error.errno in _PASSING:
            raise
        raise DocumentFailed(f"the document cannot be opened: {error.strerror}.") from error
    with os.fdopen(file, "rb") as opened:
        if not stat.S_ISREG(os.fstat(file).st_mode):
            raise DocumentFailed("the document is no regular file any more.")
        yield opened


def _real(root: Path, key: str) -> tuple[str, ...]:
    """The parts of the path below `root` that `key` stands for, links to files resolved."""
    path = root / key
    if not path.exists() and "%" in key:
        path = root / os.fsdecode(unquote_to_bytes(key))
    try:
        return path.resolve(strict=True).relative_to(root).parts
    except ValueError:
        raise DocumentFailed("the document lies outside of the folder.") from None


def _open_below(root: Path, parts: tuple[str, ...]) -> int:
    *folders, name = parts
    at = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for folder in folders:
            below = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=at)
            os.close(at)
            at = below
        return os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=at)
    finally:
        os.close(at)


def _key(name: str) -> str:
    """The name as text; of one that is not UTF-8 the bytes are escaped as in a URL."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return quote_from_bytes(os.fsencode(name), safe="/ ")
    return name


def _version(status: os.stat_result) -> str:
    return f"{status.st_mtime_ns:x}-{status.st_size:x}-{status.st_ino:x}"


def _beside(path: Path) -> Path:
    """Where it is noted what belongs to a page."""
    return path.with_name(f".{path.name}.page.json")


def _noted(path: Path) -> Mapping[str, Any]:
    try:
        with path.open("rb") as file:
            noted = json.loads(file.read(_BESIDE_BYTES))
    except (OSError, ValueError, RecursionError):
        return {}
    more = noted.pop("more", None) if isinstance(noted, dict) else None
    if not isinstance(more, dict) or not _are_texts(more) or not _are_texts(noted):
        return {}  # it is nothing that a crawl wrote
    return {**noted, "more": more}


def _are_texts(noted: Mapping[str, Any]) -> bool:
    return all(value is None or isinstance(value, str) for value in noted.values())


def _replace(path: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    half = path.with_name(f".{uuid.uuid4().hex}.part")
    try:
        with half.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        half.replace(path)
    finally:
        half.unlink(missing_ok=True)
