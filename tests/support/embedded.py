"""The embedded models, converted once for all tests, and an engine host that serves them."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from linarite.engines import catalogue
from linarite.engines.installed import folder_of
from linarite.engines.place import ModelPlace, host_socket

CHAT, EMBEDDING = "smollm2-135m-instruct", "all-minilm-l6-v2"
_ROOT = Path(__file__).parents[2]


def models_folder() -> Path:
    """Where tests keep converted models: LINARITE_MODELS_DIR or `.models` in the checkout."""
    return Path(os.environ.get("LINARITE_MODELS_DIR") or _ROOT / ".models").resolve()


def pulled(model_id: str) -> ModelPlace:
    """An embedded model, pulled and converted if it is not yet."""
    catalogue.pull(model_id, models_folder())
    return ModelPlace(model_id, folder=folder_of(models_folder(), model_id))


@contextmanager
def engine_host(data: Path, **options: object) -> Iterator[subprocess.Popen[bytes]]:
    """Run an engine host on a data folder; `options` are those of `HostOptions`."""
    code = (
        "import asyncio, json, sys; from pathlib import Path\n"
        "from linarite.engines.host import HostOptions, run_host\n"
        "data, models, more = json.loads(sys.argv[1])\n"
        "asyncio.run(run_host(HostOptions(Path(data), Path(models), **more)))\n"
    )
    given = json.dumps([str(data), str(models_folder()), options])
    host = subprocess.Popen([sys.executable, "-c", code, given])
    try:
        deadline = time.monotonic() + 30
        while not host_socket(data).exists():
            if host.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"The engine host did not start: {host.poll()}.")
            time.sleep(0.05)
        yield host
    finally:
        host.terminate()
        host.wait(20)
