"""Workers that a test kills one after the other, as `linarite serve` has them:

    python -m tests.support.forked_workers DATA CONFIG

For each line that it reads, a worker begins to work, and it prints that one's pid. Each is a fork,
as it is below `linarite serve`, but no rest is taken before the next: that has loaded meanwhile
what ingestion needs.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path

from tests.support.files import until

from linarite.cli.kinds import run_worker
from linarite.cli.loading import load_settings
from linarite.settings import Settings

ROOT = Path(__file__).parents[2]
BEFORE = (
    "azure.search.documents.indexes",
    "lance_namespace",
    "linarite.indexing.chunking",
    "linarite.indexing.cracking.cracker",
    "linarite.indexing.crawling.crawl",
    "linarite.worker",
    "pyarrow.dataset",
)
"""What takes long to load and may be forked."""
AFTER = ("linarite.indexing.search.in_process", "linarite.indexing.targets.azure_search")
"""What may not, as it has threads."""


class Workers:
    """One worker at a time over the data folder of a server.

    Args:
        forks: the running program above.
    """

    def __init__(self, forks: "subprocess.Popen[str]") -> None:
        self._forks = forks
        self.pid = 0
        self.killed: list[int] = []

    def begin(self) -> None:
        """Have a worker work."""
        assert self._forks.stdin is not None
        assert self._forks.stdout is not None
        self._forks.stdin.write("\n")
        self._forks.stdin.flush()
        self.pid = int(self._forks.stdout.readline())

    def kill(self) -> None:
        """Kill -9 the worker."""
        os.kill(self.pid, signal.SIGKILL)
        self.killed.append(self.pid)

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Have the worker stand still, so that what is seen of it is so; it may be killed then."""
        pid = self.pid
        os.kill(pid, signal.SIGSTOP)
        until(lambda: _stands_still(pid), "no thread of the worker runs")
        try:
            yield
        finally:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


def _stands_still(pid: int) -> bool:
    try:
        stats = [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/stat")]
    except (FileNotFoundError, ProcessLookupError):  # a thread ended
        return False
    return all(stat.rpartition(")")[2].split()[0] in "TZ" for stat in stats)


@contextmanager
def forked_workers(data: Path, config: Path) -> Iterator[Workers]:
    """Workers for the server on `data`, who log beside it; the last ends with the block."""
    command = [sys.executable, "-m", "tests.support.forked_workers", str(data), str(config)]
    pipe, scratch = subprocess.PIPE, data.with_name(f"{data.name}-scratch")
    scratch.mkdir()
    with (
        data.with_name(f"{data.name}.log").open("w") as log,
        subprocess.Popen(
            command,
            cwd=ROOT,
            env=os.environ | {"TMPDIR": str(scratch)},
            stdin=pipe,
            stdout=pipe,
            stderr=log,
            text=True,
        ) as forks,
    ):
        yield Workers(forks)


def ready(settings: Settings) -> tuple[int, int]:
    """A process that waits until it is to work: its pid, and where to tell it."""
    reading, writing = os.pipe()
    if (pid := os.fork()) != 0:
        os.close(reading)
        return pid, writing
    os.close(writing)
    os.dup2(2, 1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for name in AFTER:
        import_module(name)
    if os.read(reading, 1):
        run_worker(settings)
    os._exit(0)


def main() -> None:
    """Have one worker after the other work until the input ends; then the last ends, too."""
    for name in BEFORE:
        import_module(name)
    settings = load_settings(Path(sys.argv[2]), data=Path(sys.argv[1]))
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those that were killed
    working, (pid, tell) = 0, ready(settings)
    for _ in sys.stdin:
        os.write(tell, b"!")
        os.close(tell)
        sys.stdout.write(f"{pid}\n")
        sys.stdout.flush()
        working, (pid, tell) = pid, ready(settings)
    os.close(tell)
    if working:
        os.kill(working, signal.SIGTERM)
        with suppress(ChildProcessError):  # as nobody is to wait, which it tells once it may
            os.waitpid(working, 0)


if __name__ == "__main__":
    main()
