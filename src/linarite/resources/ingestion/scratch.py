"""Where documents lie while they are read: a folder of the process, gone when the process is.

A process that is killed leaves its folder behind, with a document in it. It held a lock there that
ended with it, by which the next one knows, and removes it.
"""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_PREFIX, _LOCK = "linarite-reading-", "lock"


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A folder of one's own until the block ends; those of killed processes are removed first."""
    _sweep(Path(tempfile.gettempdir()))
    with tempfile.TemporaryDirectory(prefix=_PREFIX, ignore_cleanup_errors=True) as name:
        folder = Path(name)
        making = folder / f"{_LOCK}.new"
        with making.open("x") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            making.rename(folder / _LOCK)  # locked as soon as it is there
            yield folder


def _sweep(among: Path) -> None:
    for folder in among.glob(f"{_PREFIX}*"):
        with suppress(OSError):  # another's, or in use, or just being made or removed
            file = os.open(folder / _LOCK, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder)
            finally:
                os.close(file)
