"""Which blobs there are and who still needs them.

A blob lives as long as somebody uses it: a file, a batch that reads it. `release` ends a use;
what nobody uses is found by `unused`, its row removed by `forget`, its objects by the caller.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from linarite import ids
from linarite.storage.blobs import Extent, Stored
from linarite.storage.database import Transaction
from linarite.storage.tables import blob_uses, blobs


@dataclass(frozen=True)
class Blob:
    """A row of `blobs`: bytes as a list of extents."""

    id: str
    bytes: int
    sha256: str | None
    extents: tuple[Extent, ...]


def keep(
    tx: Transaction, extents: Sequence[Extent], *, user: str, now: int, sha256: str | None = None
) -> Blob:
    """Name stored extents as a new blob with its first user."""
    blob = Blob(ids.blob_id(), sum(e.bytes for e in extents), sha256, tuple(extents))
    tx.execute(
        sa.insert(blobs).values(
            id=blob.id,
            bytes=blob.bytes,
            sha256=sha256,
            extents=[[extent.key, extent.bytes] for extent in extents],
            created_at=now,
        )
    )
    use(tx, blob.id, user)
    return blob


def keep_stored(tx: Transaction, stored: Stored, *, user: str, now: int) -> Blob:
    """Name one stored object as a new blob with its first user."""
    return keep(tx, [stored.extent], user=user, now=now, sha256=stored.sha256)


def get(connection: sa.Connection, blob_id: str) -> Blob:
    """The blob `blob_id`; it must exist, as whoever knows its id uses it."""
    row = connection.execute(sa.select(blobs).where(blobs.c.id == blob_id)).one()
    extents = tuple(Extent(key, size) for key, size in row.extents)
    return Blob(row.id, row.bytes, row.sha256, extents)


def use(tx: Transaction, blob_id: str, user: str) -> None:
    """Add a user: the blob stays until `release` with the same words."""
    tx.execute(sa.insert(blob_uses).values(blob_id=blob_id, user=user))


def release(tx: Transaction, blob_id: str, user: str) -> None:
    """End a use; a use that has ended already is no fault."""
    tx.execute(sa.delete(blob_uses).where(blob_uses.c.blob_id == blob_id, blob_uses.c.user == user))


def unused(connection: sa.Connection, limit: int = 500) -> list[Blob]:
    """Blobs that nobody uses."""
    used = sa.exists().where(blob_uses.c.blob_id == blobs.c.id)
    rows = connection.execute(sa.select(blobs.c.id).where(~used).limit(limit)).scalars()
    return [get(connection, blob_id) for blob_id in rows.all()]


def forget(tx: Transaction, blob_id: str) -> bool:
    """Remove the row of a blob that nobody uses; False when somebody does, or it is gone."""
    used = sa.exists().where(blob_uses.c.blob_id == blob_id)
    return bool(tx.execute(sa.delete(blobs).where(blobs.c.id == blob_id, ~used)).rowcount)


def known_keys(connection: sa.Connection) -> set[str]:
    """Every key that a blob names."""
    rows = connection.execute(sa.select(blobs.c.extents)).scalars()
    return {key for extents in rows for key, _ in extents}
