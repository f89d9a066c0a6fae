"""The durable work of stored completions, as the worker runs it, and what comes round for them."""

from linarite.resources.stored_completions.exporting import EXPORT, Exports
from linarite.resources.stored_completions.service import StoredCompletions
from linarite.tasks.task import Schedule, Task


def tasks(exports: Exports) -> list[Task]:
    """What is put down by `exports`."""
    return [Task(EXPORT, exports.perform, exports.give_up, concurrency=2, per_resource=1)]


def schedules(stored: StoredCompletions) -> list[Schedule]:
    """Those that are too old or too many."""
    return [Schedule("stored_completions.sweep", 60, stored.sweep)]
