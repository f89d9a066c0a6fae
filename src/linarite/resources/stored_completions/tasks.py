"""What comes round for stored completions."""

from linarite.resources.stored_completions.service import StoredCompletions
from linarite.tasks.task import Schedule


def schedules(stored: StoredCompletions) -> list[Schedule]:
    """Those that are too old or too many."""
    return [Schedule("stored_completions.sweep", 60, stored.sweep)]
