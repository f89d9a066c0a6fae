"""Who a worker is, and whether a worker that ran on this machine is gone.

A worker's id names its machine (and process namespace), its process and when that started, so
that a successor on the same machine sees at once that it died; others wait for its heartbeat.
"""

import hashlib
import os
import socket
import uuid
from pathlib import Path

_PROC = Path("/proc")


def worker_id() -> str:
    """The id of this process as a worker; ``PLACE:PID:START`` where the system tells."""
    since = started(os.getpid())
    return f"{_place()}:{os.getpid()}:{since or uuid.uuid4().hex[:12]}"


def is_gone(other: str) -> bool:
    """Whether `other` certainly ended: it ran in this place and its process is no more."""
    place, _, process = other.partition(":")
    pid, _, since = process.partition(":")
    if place != _place() or not pid.isdigit() or not _PROC.is_dir():
        return False
    return started(int(pid)) != since


def _place() -> str:
    """This boot of this machine, and the namespace in which its process ids count."""
    boot = _PROC / "sys/kernel/random/boot_id"
    namespace = _PROC / "self/ns/pid"
    parts = [socket.gethostname()]
    if boot.is_file() and namespace.is_symlink():
        parts += [boot.read_text().strip(), os.readlink(namespace)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def started(pid: int) -> str | None:
    """When the process started, in clock ticks since boot; None when it is no more."""
    try:
        stat = (_PROC / str(pid) / "stat").read_text()
    except (FileNotFoundError, ProcessLookupError, NotADirectoryError):
        return None
    state, *rest = stat.rpartition(")")[2].split()
    return None if state in "ZX" else rest[18]
