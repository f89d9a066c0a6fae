"""How much a resource keeps: bytes, which its files and open uploads are charged with, and files.

One row a resource, changed in the transaction that changes a charge, so that no sum over files is
ever taken and two callers at once cannot both have the last byte.
"""

import sqlalchemy as sa

from linarite.errors import QuotaExceeded
from linarite.resources.files import repository
from linarite.resources.files.rules import NewFile
from linarite.settings import LimitSettings
from linarite.storage.database import Transaction
from linarite.storage.tables import usage
from linarite.wire.files import Purpose

_FIRST = sa.text("INSERT INTO usage (resource, bytes) VALUES (:resource, 0) ON CONFLICT DO NOTHING")


def used_bytes(connection: sa.Connection, resource: str) -> int:
    """What the resource is charged with."""
    query = sa.select(usage.c.bytes).where(usage.c.resource == resource)
    return connection.execute(query).scalar() or 0


def charge(tx: Transaction, resource: str, more_bytes: int, *, limit: int | None = None) -> None:
    """Charge the resource with `more_bytes`.

    Raises:
        QuotaExceeded: it would then have more than `limit`.
    """
    tx.execute(_FIRST, {"resource": resource})
    change = sa.update(usage).where(usage.c.resource == resource)
    if limit is not None:
        change = change.where(usage.c.bytes + more_bytes <= limit)
    if not tx.execute(change.values(bytes=usage.c.bytes + more_bytes)).rowcount:
        raise exceeded(used_bytes(tx, resource), more_bytes, limit or 0)


def hold(tx: Transaction, resource: str) -> None:
    """Let no other transaction charge or count what the resource has until `tx` ends."""
    tx.execute(_FIRST, {"resource": resource})
    query = sa.select(usage.c.bytes).where(usage.c.resource == resource)
    tx.execute(query.with_for_update())


def discharge(tx: Transaction, resource: str, fewer_bytes: int) -> None:
    """Take `fewer_bytes` off the resource's charge."""
    tx.execute(
        sa.update(usage)
        .where(usage.c.resource == resource)
        .values(bytes=usage.c.bytes - fewer_bytes)
    )


def exceeded(used: int, more: int, limit: int) -> QuotaExceeded:
    """The refusal of `more` bytes."""
    return QuotaExceeded(
        f"{used} of the {limit} bytes that this resource may keep are in use (open uploads and "
        f"tuned models included), and this needs {more} more; delete files or tuning jobs, or "
        "cancel uploads first."
    )


def check_count(connection: sa.Connection, limits: LimitSettings, new: NewFile) -> None:
    """Raise QuotaExceeded when the resource may not have one more file like `new`."""
    if new.purpose == Purpose.FINE_TUNE:
        limit, kind = limits.fine_tune_files, None
    elif new.purpose == Purpose.BATCH and new.expires_after_seconds is None:
        limit, kind = limits.batch_files, False
    elif new.purpose == Purpose.BATCH:
        limit, kind = limits.batch_files_expiring, None
    else:
        return
    if limit is None:
        return
    there = repository.count(connection, new.resource, new.purpose, expiring=kind)
    if there >= limit:
        hint = " (more with `expires_after`)" if kind is False else ""
        raise QuotaExceeded(
            f"This resource has {there} files with purpose {new.purpose} and may have {limit}"
            f"{hint}; delete some first."
        )
