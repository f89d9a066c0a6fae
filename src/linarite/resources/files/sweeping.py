"""What comes round: files whose time is over, blobs that nobody uses, objects that nobody names."""

import time
from itertools import islice

from linarite.resources.files import repository
from linarite.resources.files.service import Files
from linarite.storage import blob_rows
from linarite.tasks.task import Ticket
from linarite.wire.files import FileState

LEFTOVER_SECONDS = 3600
"""How long an object may lie without a name: what is being written is never older."""

_SLICE = 200


def expire_files(files: Files, ticket: Ticket) -> None:
    """Delete the files whose `expires_at` is past."""
    while True:
        ticket.check()
        with files.database.reading() as connection:
            records = repository.expired(connection, files.clock.now(), _SLICE)
        if not records:
            return
        for record in records:
            with files.database.transaction() as tx:
                current = repository.find(tx, record.resource, record.id, lock=True)
                if current is not None and current.status != FileState.DELETED:
                    files.let_go(tx, current)
            if record.blob_id is not None:
                files.drop_unused(record.blob_id)


def drop_unused_blobs(files: Files, ticket: Ticket) -> None:
    """Remove the blobs whose last user has gone without removing them."""
    while True:
        ticket.check()
        with files.database.reading() as connection:
            blob_ids = blob_rows.unused(connection, _SLICE)
        if not blob_ids:
            return
        for blob_id in blob_ids:
            files.drop_unused(blob_id)


def drop_leftovers(
    files: Files, ticket: Ticket, older_than_seconds: float = LEFTOVER_SECONDS
) -> None:
    """Remove the objects that processes left without a row when they died.

    Objects carry the machine's time, whatever the server's clock says.
    """
    keys = files.blobs.keys_before(time.time() - older_than_seconds)
    while slice_ := list(islice(keys, _SLICE)):
        ticket.check()
        with files.database.reading() as connection:
            named = blob_rows.named(connection, slice_)
        files.blobs.delete([key for key in slice_ if key not in named])
