"""Where durable work is put down: in the caller's own transaction.

So the row of a job and the start of its work are there together or not at all.
"""

import threading
from typing import TYPE_CHECKING

from linarite.storage.database import Database, Transaction

if TYPE_CHECKING:
    from linarite.tasks.durable import Enqueuer


class Queue:
    """The tasks that wait for a worker, in the server's one database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._enqueuer: Enqueuer | None = None
        self._opening = threading.Lock()

    def enqueue(
        self, tx: Transaction, task: str, subject_id: str, *, resource: str, place: int = 0
    ) -> None:
        """Have a worker perform `task` on `subject_id` once `tx` has committed.

        Does nothing when that very task already waits or runs. Workers take turns between
        resources, so that one with a thousand tasks does not hold up another's first.

        Args:
            tx: the transaction.
            task: the task's name.
            subject_id: what it is performed on.
            resource: whose it is.
            place: of one resource's tasks those of a lower place go first, where their order
                matters; the queue itself knows the second in which they came.
        """
        self.open().enqueue(tx, task, subject_id, resource=resource, place=place)

    def open(self) -> "Enqueuer":
        """Load what enqueueing needs: takes a second once, best spent before someone waits."""
        with self._opening:
            if self._enqueuer is None:
                from linarite.tasks.durable import Enqueuer  # late: see there

                self._enqueuer = Enqueuer(self._database)
            return self._enqueuer
