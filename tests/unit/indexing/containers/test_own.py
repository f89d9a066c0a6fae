import io
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from linarite.clock import SystemClock
from linarite.indexing.containers.container import Item, Page
from linarite.indexing.containers.own import OwnContainer
from linarite.indexing.failures import DocumentFailed, IngestionFailed
from linarite.storage.blobs import BlobStore
from linarite.storage.database import Database
from linarite.storage.tables import blob_extents, blobs, ingestion_pages


@pytest.fixture
def store(tmp_path: Path) -> BlobStore:
    return BlobStore((tmp_path / "blobs").as_uri())


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    database = Database(database_url)
    database.migrate()
    yield database
    database.close()


@pytest.fixture
def container(database: Database, store: BlobStore) -> OwnContainer:
    return own(database, store)


def own(database: Database, store: BlobStore, resource: str = "one", name: str = "pages"):
    return OwnContainer(database, store, SystemClock(), resource=resource, name=name, creates=True)


def page(key: str = "example.org/a-1.html", body: bytes = b"<h1>x</h1>") -> Page:
    return Page(key, body, "text/html", "https://example.org/a", "Über", {"etag": '"1"'})


def read(container: OwnContainer, item: Item, limit: int = 1 << 30) -> bytes:
    into = io.BytesIO()
    container.read(item, into, limit)
    return into.getvalue()


def test_pages_are_kept_with_what_belongs_to_them(container):
    container.write(page())

    [item] = container.list()

    assert (item.key, item.url, item.title, item.content_type, item.size, item.more) == (
        "example.org/a-1.html",
        "https://example.org/a",
        "Über",
        "text/html",
        10,
        {"etag": '"1"'},
    )
    assert read(container, item) == b"<h1>x</h1>"
    with pytest.raises(DocumentFailed, match="longer than 9 bytes"):
        read(container, item, 9)


def test_a_page_that_is_written_again_takes_the_place_of_the_first(container, database, store):
    container.write(page(body=b"one"))
    [before] = container.list()
    container.write(page(body=b"two"))
    [after] = container.list()

    assert read(container, after) == b"two"
    with pytest.raises(DocumentFailed, match="changed"):
        read(container, before)
    assert left(database, store) == (1, 1)


def test_a_container_that_nothing_was_written_to_is_none(database, store):
    made = own(database, store)
    read_only = OwnContainer(database, store, SystemClock(), resource="one", name="pages")

    with pytest.raises(IngestionFailed, match=r"ContainerNotFound: .* 'pages' with pages in it"):
        list(read_only.list())
    assert list(made.list()) == []
    made.write(page())
    assert len(list(read_only.list())) == 1


def test_a_deleted_page_leaves_nothing(container, database, store):
    container.write(page())
    [item] = container.list()

    container.delete(item.key)
    container.delete(item.key)

    assert list(container.list()) == []
    with pytest.raises(DocumentFailed, match="removed"):
        read(container, item)
    assert left(database, store) == (0, 0)


def test_a_name_is_another_container_for_another_resource(container, database, store):
    container.write(page())

    assert list(own(database, store, resource="two").list()) == []
    assert list(own(database, store, name="other").list()) == []


def test_more_pages_than_one_query_gives_are_listed_in_order(container, database):
    container.write(page("k"))
    with database.transaction() as tx:
        row = tx.execute(sa.select(ingestion_pages)).mappings().one()
        tx.execute(sa.insert(ingestion_pages), [{**row, "key": f"k{n:04}"} for n in range(1200)])

    assert [item.key for item in container.list()] == ["k", *(f"k{n:04}" for n in range(1200))]


def test_a_key_that_is_too_long_is_refused(container):
    with pytest.raises(IngestionFailed, match="too long"):
        container.write(page("x" * 701))


def left(database: Database, store: BlobStore) -> tuple[int, int]:
    with database.reading() as connection:
        rows = connection.scalar(sa.select(sa.func.count()).select_from(blobs))
        assert rows == connection.scalar(sa.select(sa.func.count()).select_from(blob_extents))
    return rows, len([path for path in store.folder.rglob("*") if path.is_file()])
