"""The real trainer where something runs short: ``python …/limited_trainer.py FOLDER``.

What runs short follows from the name of the base model that the job is for.
"""

import json
import os
import resource
import signal
import sys
from pathlib import Path

_LIMITS = {
    "no-disk": (resource.RLIMIT_FSIZE, 100_000),  # an adapter is more than twice as big
    "no-memory": (resource.RLIMIT_DATA, 1_500 << 20),  # a batch of 256 long examples needs more
}


def main() -> int:
    base = Path(json.loads((Path(sys.argv[1]) / "spec.json").read_text())["base"]).name
    if base == "no-mercy":
        os.kill(os.getpid(), signal.SIGKILL)
    if base == "no-peft":
        sys.modules["peft"] = None  # type: ignore[assignment]  # as where it is not installed
    sys.dont_write_bytecode = True  # what a limit cuts off would be read by every other process
    if base in _LIMITS:
        what, most = _LIMITS[base]
        resource.setrlimit(what, (most, resource.getrlimit(what)[1]))
    from linarite.training.command import main as train

    return train(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
