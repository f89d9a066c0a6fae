"""Files and folders that are whole or not there, also after a loss of power."""

import os
import shutil
from pathlib import Path


def write_whole(path: Path, content: bytes) -> None:
    """Put a file in place at once; on a failure the former one stays and no part is left."""
    part = path.with_name(f".{path.name}.part")
    try:
        with part.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        part.replace(path)
    except OSError:
        part.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def publish_folder(part: Path, final: Path) -> None:
    """Give a finished scratch folder its name. The folder must not exist under that name."""
    for path in part.iterdir():
        sync(path)
    sync_folder(part)
    part.rename(final)
    sync_folder(final.parent)


def scratch_folder(final: Path) -> Path:
    """An empty folder beside `final`, to be filled and published."""
    part = final.with_name(f".{final.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    return part


def sync(path: Path) -> None:
    """Bring a file's bytes to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


sync_folder = sync
"""Bring a folder's names to the disk."""
