"""A walk through what was stored when an export was asked for, step by step.

Memory stays flat at any number of completions, and no transaction lasts longer than a step.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from linarite.resources.files.service import Files
from linarite.resources.stored_completions import repository
from linarite.resources.stored_completions.marks import counts
from linarite.resources.stored_completions.repository import Whole
from linarite.resources.stored_completions.service import Wanted
from linarite.storage.database import Database
from linarite.tasks.task import Ticket

STEP = 100


class Unwanted(Exception):
    """The file that the walk is for was deleted."""


@dataclass(frozen=True)
class Walk:
    """The stored completions of one resource up to a moment.

    Args:
        database: where they lie.
        files: whose the file is that the walk is for.
        file_id: that file.
        resource: whose they are.
        newest: the last `seq` of that moment.
        ticket: the right to walk.
    """

    database: Database
    files: Files
    file_id: str
    resource: str
    newest: int
    ticket: Ticket

    def through(self, wanted: Wanted, *, descending: bool = True) -> Iterator[Whole]:
        """Every completion that `wanted` lets through, in the order of a list.

        Raises:
            Unwanted, HandedBack: nobody wants it any more, or not from this worker.
        """
        with self.database.reading() as connection:
            bearing = counts(connection, wanted.marks(self.resource))
        marks = sorted(bearing, key=lambda mark: bearing[mark])
        after = None
        while True:
            self.ticket.check()
            with self.database.reading() as connection:
                if not self.files.is_in_the_making(connection, self.file_id):
                    raise Unwanted
                found = repository.walk(
                    connection,
                    self.resource,
                    marks,
                    newest=self.newest,
                    after=after,
                    limit=STEP,
                    descending=descending,
                )
            yield from found
            if len(found) < STEP:
                return
            after = found[-1][0]

    def at(self, seqs: Sequence[int]) -> dict[int, Whole]:
        """Those of the completions at these places that are still there."""
        self.ticket.check()
        with self.database.reading() as connection:
            if not self.files.is_in_the_making(connection, self.file_id):
                raise Unwanted
            return repository.at(connection, self.resource, seqs)
