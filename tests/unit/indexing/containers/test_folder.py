import io
import os
from pathlib import Path

import pytest

from linarite.indexing.containers.container import Item, Page
from linarite.indexing.containers.folder import FolderContainer
from linarite.indexing.failures import DocumentFailed, IngestionFailed

PAGE = Page(
    "example.org/docs/über-1.html",
    b"<h1>x</h1>",
    "text/html",
    "https://example.org/docs/%C3%BCber",
    "Über",
    {"etag": '"1"'},
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "docs"
    folder.mkdir()
    return folder


def listed(root: Path) -> dict[str, Item]:
    return {item.key: item for item in FolderContainer(root).list()}


def read(root: Path, item: Item, limit: int = 1 << 30) -> bytes:
    into = io.BytesIO()
    FolderContainer(root).read(item, into, limit)
    return into.getvalue()


def test_files_below_a_folder_are_documents(root):
    (root / "a").mkdir()
    (root / "a" / "ü 1.txt").write_bytes(b"one")
    (root / "b.txt").write_bytes(b"")

    items = listed(root)

    assert list(items) == ["a/ü 1.txt", "b.txt"]
    assert (items["a/ü 1.txt"].size, items["a/ü 1.txt"].url) == (3, "")
    assert read(root, items["a/ü 1.txt"]) == b"one"
    assert read(root, items["b.txt"]) == b""


def test_one_file_is_one_document(root):
    (root / "a.txt").write_bytes(b"one")
    (root / "b.txt").write_bytes(b"two")

    [item] = FolderContainer(root / "a.txt").list()

    assert item.key == "a.txt"
    assert read(root / "a.txt", item) == b"one"


def test_hidden_files_and_what_is_no_file_are_left_out(root):
    (root / ".git").mkdir()
    (root / ".git" / "config").write_bytes(b"x")
    (root / ".hidden").write_bytes(b"x")
    os.mkfifo(root / "pipe")
    (root / "a.txt").write_bytes(b"x")

    assert list(listed(root)) == ["a.txt"]


def test_no_link_leads_out_of_the_folder(root, tmp_path):
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "key").write_bytes(b"secret")
    (root / "out").symlink_to(tmp_path / "secret" / "key")
    (root / "outside").symlink_to(tmp_path / "secret")
    (root / "a.txt").write_bytes(b"inside")
    (root / "in.txt").symlink_to(root / "a.txt")
    (root / "loop").symlink_to(root)
    (root / "nowhere").symlink_to(root / "missing")

    items = listed(root)

    assert list(items) == ["a.txt", "in.txt"]
    assert read(root, items["in.txt"]) == b"inside"
    for key in ("out", "outside/key", "../secret/key", str(tmp_path / "secret" / "key")):
        with pytest.raises(DocumentFailed):
            read(root, Item(key, items["a.txt"].version, "", 6))


def test_a_file_that_a_link_replaced_since_is_not_read(root, tmp_path):
    (tmp_path / "secret").write_bytes(b"secret")
    (root / "a.txt").write_bytes(b"inside")
    item = listed(root)["a.txt"]
    (root / "a.txt").unlink()
    (root / "a.txt").symlink_to(tmp_path / "secret")

    with pytest.raises(DocumentFailed, match="outside"):
        read(root, item)


def test_a_name_that_is_no_text_is_escaped(root):
    Path(os.fsdecode(os.fsencode(root) + b"/caf\xe9 1.txt")).write_bytes(b"x")
    (root / "100%25.txt").write_bytes(b"y")

    items = listed(root)

    assert sorted(items) == ["100%25.txt", "caf%E9 1.txt"]
    assert read(root, items["caf%E9 1.txt"]) == b"x"
    assert read(root, items["100%25.txt"]) == b"y"


def test_a_changed_file_is_told(root):
    path = root / "a.txt"
    path.write_bytes(b"one")
    before = listed(root)["a.txt"]
    assert listed(root)["a.txt"] == before
    new = root / "new"
    new.write_bytes(b"two")
    os.utime(new, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))
    new.replace(path)

    with pytest.raises(DocumentFailed, match="changed"):
        read(root, before)
    path.unlink()
    with pytest.raises(DocumentFailed, match="No such file"):
        read(root, before)


def test_a_file_that_changes_while_it_is_read_is_told(root):
    (root / "a.txt").write_bytes(b"x" * (3 << 20))
    item = listed(root)["a.txt"]

    class Into(io.BytesIO):
        def write(self, piece):
            with (root / "a.txt").open("ab") as file:
                file.write(b"more")
            return super().write(piece)

    with pytest.raises(DocumentFailed, match="changed"):
        FolderContainer(root).read(item, Into(), 1 << 30)


def test_a_long_file_is_not_read(root):
    (root / "a.txt").write_bytes(b"12345")

    with pytest.raises(DocumentFailed, match="longer than 4 bytes"):
        read(root, listed(root)["a.txt"], 4)


def test_pages_of_a_crawl_keep_what_belongs_to_them(root):
    container = FolderContainer(root)
    container.write(PAGE)
    container.write(PAGE)

    [item] = container.list()

    assert (item.key, item.url, item.title, item.content_type, item.more) == (
        PAGE.key,
        PAGE.url,
        PAGE.title,
        PAGE.content_type,
        PAGE.more,
    )
    assert read(root, item) == PAGE.body
    container.delete(PAGE.key)
    container.delete(PAGE.key)
    assert [path for path in root.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("key", ["", "/etc/x", "../x", "a/../../x", ".x", "a\0b", "link/x"])
def test_a_page_is_written_below_the_folder_only(root, tmp_path, key):
    (root / "link").symlink_to(tmp_path)

    with pytest.raises(IngestionFailed):
        FolderContainer(root).write(Page(key, b"x", "text/html", "https://x/"))

    assert [path.name for path in tmp_path.iterdir()] == ["docs"]


@pytest.mark.parametrize("noted", ['{"title": 1, "more": {}}', '{"more": [1]}', "[" * 60_000, "1"])
def test_a_note_that_no_crawl_wrote_is_none(root, noted):
    (root / "a.html").write_bytes(b"a")
    (root / ".a.html.page.json").write_text(noted)

    item = listed(root)["a.html"]

    assert (item.title, item.more) == (None, {})


def test_a_folder_that_cannot_be_listed_whole_fails(root, tmp_path):
    with pytest.raises(IngestionFailed, match="'none' cannot be used: No such file"):
        list(FolderContainer(tmp_path / "none").list())


def test_a_folder_for_a_crawl_is_made(tmp_path):
    container = FolderContainer(tmp_path / "a" / "pages", creates=True)

    assert list(container.list()) == []
    container.write(PAGE)
    assert [item.key for item in container.list()] == [PAGE.key]
