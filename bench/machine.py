"""The machine that a result was measured on, and how busy others kept it meanwhile."""

import os
import platform
import time
from pathlib import Path
from typing import Any

import psutil

from linarite import __version__


def described() -> dict[str, Any]:
    """What a reader needs to judge a number: processor, memory, system, versions, other load."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / (1 << 30)),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "linarite": __version__,
        "other_load_cores": round(other_load(), 2),
    }


def other_load(seconds: float = 2.0) -> float:
    """How many cores are busy while this process only waits."""
    before = _busy_seconds()
    began = time.monotonic()
    time.sleep(seconds)
    return max(0.0, (_busy_seconds() - before) / (time.monotonic() - began))


def _busy_seconds() -> float:
    times = psutil.cpu_times()
    return float(times.user + times.nice + times.system + getattr(times, "steal", 0.0))


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()
