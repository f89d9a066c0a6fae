"""Counts bytes on their way to the disk, and stops them when there are too many."""

from collections.abc import AsyncIterable, AsyncIterator

from linarite.errors import QuotaExceeded
from linarite.resources.files.rules import too_large
from linarite.settings import LimitSettings
from linarite.storage.blobs import BlobStore

_LOOK_EVERY_BYTES = 64 << 20


class Meter:
    """Counts one stream as it comes in.

    Args:
        blobs: where it goes.
        limits: the ``[limits]`` section.
        most_bytes: what it may have.
        kind: what to call it in a refusal.
    """

    def __init__(self, blobs: BlobStore, limits: LimitSettings, most_bytes: int, kind: str) -> None:
        self._blobs = blobs
        self._limits = limits
        self._most_bytes = most_bytes
        self._kind = kind
        self._bytes = self._looked_at = 0

    def count(self, more_bytes: int) -> None:
        """Count some more.

        Raises:
            PayloadTooLarge: it is longer than it may be.
            QuotaExceeded: the disk's reserve would be touched.
        """
        self._bytes += more_bytes
        if self._bytes > self._most_bytes:
            raise too_large(self._kind, self._most_bytes)
        if self._bytes - self._looked_at >= _LOOK_EVERY_BYTES:
            self._looked_at = self._bytes
            check_free_space(self._blobs, self._limits, 0)

    async def counted(self, pieces: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
        """`pieces`, counted as they pass; raises as `count` does."""
        async for piece in pieces:
            self.count(len(piece))
            yield piece


def check_free_space(blobs: BlobStore, limits: LimitSettings, needed_bytes: int) -> None:
    """Raise QuotaExceeded unless `needed_bytes` fit on the disk and its reserve stays free."""
    free = blobs.free_bytes()
    if free is not None and free - needed_bytes < limits.free_space_bytes:
        raise QuotaExceeded(
            f"The disk of this server has {free} bytes free, of which {limits.free_space_bytes} "
            f"stay in reserve (the setting `limits.free_space_bytes`); {needed_bytes} more are not "
            "taken. Delete files, or ask the operator for more space."
        )
