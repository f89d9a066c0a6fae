"""The process that performs durable work: batches, imports, validations, sweeps."""

import sys
import threading

from linarite import memory
from linarite.bootstrap import Built
from linarite.tasks import schema
from linarite.tasks.worker import Worker

_STOP_SECONDS = 6.0
_SWITCH_SECONDS = 0.0002
"""How long a thread that computes keeps others waiting: most only come by to start the next wait,
for a file, a child or an engine, and by Python's own 5 ms each stop would cost that much."""


def run(built: Built, stop: threading.Event) -> None:
    """Work until `stop` is set, then hand back what is not done.

    The process must end at once then: a task that did not let go must not outlive its hand-back,
    and threads that wait for one that was handed back would keep the process.

    Raises:
        WrongSchema: the database is of another version.
    """
    built.database.check_version()
    schema.check_version(built.database)
    sys.setswitchinterval(_SWITCH_SECONDS)
    memory.spare()
    worker = Worker(built.database, built.tasks, built.schedules, built.settings.tasks)
    worker.start()
    stop.wait()
    worker.stop(within_seconds=_STOP_SECONDS)
