"""Where durable work is put down: in the caller's own transaction.

So the row of a job and the start of its work are there together or not at all.
"""

from linarite.storage.database import Database, Transaction


class Queue:
    """The tasks that wait for a worker, in the server's one database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def enqueue(self, tx: Transaction, task: str, subject_id: str, *, resource: str) -> None:
        """Have a worker perform `task` on `subject_id` once `tx` has committed.

        Does nothing when that very task already waits or runs. Workers take turns between
        resources, so that one with a thousand tasks does not hold up another's first.
        """
        raise NotImplementedError
