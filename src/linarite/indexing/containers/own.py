"""Pages of crawls in this server's own store, where a job names no container elsewhere.

It stands on what files stand on, the blob store and its rows: several machines share it, a bucket
serves as well as a folder, and what a killed process left is swept with all else.
"""

from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO

import sqlalchemy as sa

from linarite.clock import Clock
from linarite.indexing.containers.container import Item, Page
from linarite.indexing.failures import DocumentFailed, IngestionFailed
from linarite.storage import blob_rows
from linarite.storage.blobs import BlobStore
from linarite.storage.database import Database, Transaction
from linarite.storage.tables import ingestion_pages

_SLICE = 500
_KEY_LENGTH = 700


class OwnContainer:
    """The container of that name of one resource; it is there as soon as something is written.

    Args:
        database: where the rows are.
        blobs: where the bytes are.
        clock: the server's.
        resource: whose container it is.
        name: its name; of another resource the same name is another container.
        creates: whether the container may be one that nothing was written to yet, as for pages of
            a crawl.
    """

    def __init__(
        self,
        database: Database,
        blobs: BlobStore,
        clock: Clock,
        *,
        resource: str,
        name: str,
        creates: bool = False,
    ) -> None:
        self._database = database
        self._blobs = blobs
        self._clock = clock
        self._of = {"resource": resource, "container": name}
        self._creates = creates

    @property
    def place(self) -> str:
        return f"own {self._of['container']}"

    def list(self) -> Iterator[Item]:
        after = ""
        while True:
            page = ingestion_pages
            query = sa.select(page).where(*self._here(), page.c.key > after)
            with self._database.reading() as connection:
                rows = connection.execute(query.order_by(page.c.key).limit(_SLICE)).all()
            if not (after or rows or self._creates):
                raise IngestionFailed(
                    f"ContainerNotFound: this server's own store has no container "
                    f"{self._of['container']!r} with pages in it; a job with `urls` fills one."
                )
            for row in rows:
                yield _item(row)
            if len(rows) < _SLICE:
                return
            after = rows[-1].key

    def read(self, item: Item, into: BinaryIO, limit_bytes: int) -> None:
        if item.size > limit_bytes:
            raise DocumentFailed(f"the document is longer than {limit_bytes} bytes.")
        with self._database.reading() as connection:
            row = self._row(connection, item.key)
            extents = blob_rows.get(connection, row.blob_id).extents if row else ()
        if row is None or row.blob_id != item.version:
            raise DocumentFailed("the document was changed or removed since it was listed.")
        try:
            for piece in self._blobs.read(extents):
                into.write(piece)
        except OSError as error:
            raise DocumentFailed("the document was changed or removed meanwhile.") from error

    def write(self, page: Page) -> None:
        if len(page.key) > _KEY_LENGTH:
            raise IngestionFailed(f"A page cannot be stored as {page.key[:80]!r}…: it is too long.")
        stored = self._blobs.write_all([page.body])
        with self._database.transaction() as tx:
            blob = blob_rows.keep_stored(tx, stored, user=_USER, now=self._clock.now())
            values: dict[str, Any] = {
                "blob_id": blob.id,
                "bytes": blob.bytes,
                "url": page.url,
                "title": page.title,
                "content_type": page.content_type,
                "more": dict(page.more),
            }
            before = self._row(tx, page.key, lock=True)
            if before is None:
                tx.execute(sa.insert(ingestion_pages).values(key=page.key, **self._of, **values))
                return
            here = (*self._here(), ingestion_pages.c.key == page.key)
            tx.execute(sa.update(ingestion_pages).where(*here).values(values))
            blob_rows.release(tx, before.blob_id, _USER)
        self._drop(before.blob_id)

    def delete(self, key: str) -> None:
        with self._database.transaction() as tx:
            before = self._row(tx, key, lock=True)
            if before is None:
                return
            here = (*self._here(), ingestion_pages.c.key == key)
            tx.execute(sa.delete(ingestion_pages).where(*here))
            blob_rows.release(tx, before.blob_id, _USER)
        self._drop(before.blob_id)

    def _here(self) -> Sequence[sa.ColumnElement[bool]]:
        return [ingestion_pages.c[name] == value for name, value in self._of.items()]

    def _row(self, connection: Transaction, key: str, *, lock: bool = False) -> Any:
        query = sa.select(ingestion_pages).where(*self._here(), ingestion_pages.c.key == key)
        return connection.execute(query.with_for_update() if lock else query).one_or_none()

    def _drop(self, blob_id: str) -> None:
        """Remove the bytes; what is not removed here the sweep removes."""
        with self._database.transaction() as tx:
            keys = blob_rows.forget(tx, blob_id)
        self._blobs.delete(keys)


_USER = "ingestion-page"
"""A page's bytes are its row's alone, so that one word for all of them is enough."""


def _item(row: Any) -> Item:
    return Item(
        key=row.key,
        version=row.blob_id,
        url=row.url,
        size=row.bytes,
        title=row.title,
        content_type=row.content_type,
        more=row.more,
    )
