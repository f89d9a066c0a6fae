"""Child processes that end with their parent, also when it is killed, and see little of it.

A child asks the kernel to be killed when its parent dies. Where that cannot be asked (other than
Linux), or the parent was gone before it was, the closed pipe on its standard input tells.
"""

import ctypes
import os
import signal
import sys
import threading
from collections.abc import Mapping

_PR_SET_PDEATHSIG = 1
_PARENT = "LINARITE_PARENT_PID"
_KEPT = (
    "HOME",
    "LANG",
    "LD_LIBRARY_PATH",
    "OMP_NUM_THREADS",
    "PATH",
    "PYTHONHOME",
    "PYTHONPATH",
    "RAYON_NUM_THREADS",
    "TMPDIR",
    "TOKIO_WORKER_THREADS",
    "TZ",
    "VIRTUAL_ENV",
)


def child_environment() -> Mapping[str, str]:
    """What a child may see of the environment: nothing that could be a secret."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name in _KEPT or name.startswith(("LANCE_", "LC_", "OPENVINO_", "OV_"))
    }
    return {**kept, _PARENT: str(os.getpid()), "PYTHONUNBUFFERED": "1"}


def die_with_parent() -> None:
    """Called first in a child: end at once when the parent that started it is gone."""
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    parent = os.environ.get(_PARENT)
    if parent is not None and os.getppid() != int(parent):
        os._exit(1)
    if not os.isatty(0):
        threading.Thread(target=_watch_standard_input, daemon=True).start()


def _watch_standard_input() -> None:
    while os.read(0, 4096):
        continue
    os._exit(1)
