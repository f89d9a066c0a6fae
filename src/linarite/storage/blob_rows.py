"""Which blobs there are and who still needs them.

A blob lives as long as somebody uses it: a file, a batch that reads it. `release` ends a use;
what nobody uses is found by `unused`, its row removed by `forget`, its objects by the caller.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from linarite import ids
from linarite.storage.database import Transaction
from linarite.storage.objects import Extent, Stored
from linarite.storage.tables import blob_extents, blob_uses, blobs, files, upload_parts


@dataclass(frozen=True)
class Blob:
    """A row of `blobs`: bytes as a list of extents."""

    id: str
    bytes: int
    sha256: str | None
    """Of the whole, hex; None for a blob put together from parts."""
    extents: tuple[Extent, ...]


def keep(
    tx: Transaction, extents: Sequence[Extent], *, user: str, now: int, sha256: str | None = None
) -> Blob:
    """Name stored extents as a new blob with its first user."""
    blob = Blob(ids.blob_id(), sum(e.bytes for e in extents), sha256, tuple(extents))
    tx.execute(sa.insert(blobs).values(id=blob.id, bytes=blob.bytes, sha256=sha256, created_at=now))
    if extents:
        tx.execute(
            sa.insert(blob_extents),
            [
                {"blob_id": blob.id, "position": position, "key": e.key, "bytes": e.bytes}
                for position, e in enumerate(extents)
            ],
        )
    use(tx, blob.id, user)
    return blob


def keep_stored(tx: Transaction, stored: Stored, *, user: str, now: int) -> Blob:
    """Name one stored object as a new blob with its first user."""
    return keep(tx, [stored.extent], user=user, now=now, sha256=stored.sha256)


def get(connection: sa.Connection, blob_id: str) -> Blob:
    """The blob `blob_id`; it must exist, as whoever knows its id uses it."""
    row = connection.execute(sa.select(blobs).where(blobs.c.id == blob_id)).one()
    extents = connection.execute(
        sa.select(blob_extents.c.key, blob_extents.c.bytes)
        .where(blob_extents.c.blob_id == blob_id)
        .order_by(blob_extents.c.position)
    )
    return Blob(row.id, row.bytes, row.sha256, tuple(Extent(key, size) for key, size in extents))


def use(tx: Transaction, blob_id: str, user: str) -> None:
    """Add a user: the blob stays until `release` with the same words."""
    tx.execute(sa.insert(blob_uses).values(blob_id=blob_id, user=user))


def release(tx: Transaction, blob_id: str, user: str) -> None:
    """End a use; a use that has ended already is no fault."""
    tx.execute(sa.delete(blob_uses).where(blob_uses.c.blob_id == blob_id, blob_uses.c.user == user))


def is_used(connection: sa.Connection, blob_id: str) -> bool:
    """Whether anybody uses the blob."""
    query = sa.select(blob_uses.c.user).where(blob_uses.c.blob_id == blob_id).limit(1)
    return connection.execute(query).first() is not None


def unused(connection: sa.Connection, limit: int = 500) -> list[str]:
    """The ids of blobs that nobody uses."""
    used = sa.exists().where(blob_uses.c.blob_id == blobs.c.id)
    return list(connection.execute(sa.select(blobs.c.id).where(~used).limit(limit)).scalars())


def forget(tx: Transaction, blob_id: str) -> list[str]:
    """Remove the row of a blob that nobody uses; gives the keys of its objects, to delete after it.

    Nothing when somebody uses it, or it is gone. Rows of files that were deleted while the blob
    was in use go with it.
    """
    # PostgreSQL decides by what was there when a statement began: lock first, so that a use which
    # is being added is seen, or fails.
    tx.execute(sa.select(blobs.c.id).where(blobs.c.id == blob_id).with_for_update())
    if is_used(tx, blob_id):
        return []
    of_blob = blob_extents.c.blob_id == blob_id
    keys = tx.execute(sa.select(blob_extents.c.key).where(of_blob)).scalars().all()
    tx.execute(sa.delete(files).where(files.c.blob_id == blob_id, files.c.status == "deleted"))
    tx.execute(sa.delete(blob_extents).where(of_blob))
    tx.execute(sa.delete(blobs).where(blobs.c.id == blob_id))
    return list(keys)


def named(connection: sa.Connection, keys: Sequence[str]) -> set[str]:
    """Those of `keys` that a blob or a part of an upload names.

    One statement, hence one view: a key that moves from a part to a blob meanwhile is in it.
    """
    return set(
        connection.execute(
            sa.union_all(
                sa.select(blob_extents.c.key).where(blob_extents.c.key.in_(keys)),
                sa.select(upload_parts.c.key).where(upload_parts.c.key.in_(keys)),
            )
        ).scalars()
    )
