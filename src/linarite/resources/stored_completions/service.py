"""The operations on stored completions. How they come to be stored is told in `making`."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import orjson

from linarite.clock import Clock
from linarite.errors import NotFound
from linarite.http.metadata import check_metadata
from linarite.http.pages import Listed, Page, listed, unknown_after
from linarite.resources.stored_completions import repository
from linarite.resources.stored_completions.finding import count_bearing
from linarite.resources.stored_completions.marks import counts
from linarite.resources.stored_completions.messages import input_message
from linarite.resources.stored_completions.records import (
    NewCompletion,
    StoredRecord,
    name_mark,
    pair_mark,
)
from linarite.settings import StoredCompletionSettings
from linarite.storage.database import Database, Transaction
from linarite.tasks.task import Ticket
from linarite.wire.stored_completions import InputMessage

_DAY_SECONDS = 86_400
_COUNTED = 1_000
"""Up to how many completions are looked through to count those that meet several conditions."""
_SLICE = 100
"""How many are deleted in one transaction, for which chats that are to be stored wait."""
_BREATH_SECONDS = 0.02
"""Between two of them, so that SQLite's lock is free as long as it is held."""


@dataclass(frozen=True)
class Wanted:
    """What a list is filtered by: metadata that must be there, a model's or deployment's name."""

    pairs: Sequence[tuple[str, str]] = ()
    name: str | None = None

    def marks(self, resource: str) -> set[bytes]:
        """The marks that a completion of `resource` must bear."""
        marks = {pair_mark(resource, key, value) for key, value in self.pairs}
        return marks | ({name_mark(resource, self.name)} if self.name else set())


@dataclass(frozen=True)
class StoredCompletions:
    """The stored completions of every resource.

    Args:
        database: where they lie.
        clock: what their age is measured by.
        settings: how long they are kept.
        meant: what the name of a model or deployment, which may be an alias, stands for to a
            resource.
    """

    database: Database
    clock: Clock
    settings: StoredCompletionSettings
    meant: Callable[[str, str], str] = lambda _resource, name: name

    def add(self, tx: Transaction, resource: str, group: Sequence[NewCompletion]) -> None:
        """Store completions of one resource in the caller's transaction.

        Raises:
            sqlalchemy.exc.IntegrityError: there is one of that id.
        """
        repository.add(tx, [repository.new_row(resource, new) for new in group])

    def page(
        self, resource: str, page: Page, wanted: Wanted
    ) -> tuple[Listed[StoredRecord], int | None]:
        """A page of what `wanted` lets through, and how many that are in all.

        That number is None where several conditions meet and each holds for more completions
        than are looked through for it.

        Raises:
            InvalidPayload: `page.after` is no completion of the resource.
        """
        if wanted.name is not None:
            wanted = replace(wanted, name=self.meant(resource, wanted.name))
        with self.database.reading() as connection:
            marks = wanted.marks(resource)
            bearing = counts(connection, marks) if marks else {}
            rarest_first = sorted(bearing, key=lambda mark: bearing[mark])
            found = repository.page(connection, resource, page, rarest_first)
            if not marks:
                return found, repository.count_all(connection, resource)
            fewest = bearing[rarest_first[0]]
            if len(marks) == 1 or not fewest:
                return found, fewest
            if fewest > _COUNTED:
                return found, None
            return found, count_bearing(connection, rarest_first)

    def get(self, resource: str, completion_id: str) -> StoredRecord:
        """The completion; raises NotFound."""
        with self.database.reading() as connection:
            record = repository.find(connection, resource, completion_id)
        if record is None:
            raise _no_completion(completion_id)
        return record

    def update(
        self, resource: str, completion_id: str, metadata: Mapping[str, str] | None
    ) -> StoredRecord:
        """Put `metadata` beside what there is; of a key that was there the new value counts.

        Raises:
            NotFound: there is no such completion.
            InvalidPayload: it would have too much metadata.
        """
        with self.database.transaction() as tx:
            record = repository.find(tx, resource, completion_id, lock=True)
            if record is None:
                raise _no_completion(completion_id)
            merged = {**record.metadata, **(metadata or {})}
            check_metadata(merged)
            repository.set_metadata(tx, record, merged)
        return replace(record, metadata=merged)

    def delete(self, resource: str, completion_id: str) -> None:
        """Delete the completion and its messages; raises NotFound."""
        with self.database.transaction() as tx:
            if not repository.delete(tx, resource, completion_id):
                raise _no_completion(completion_id)

    def messages(
        self, resource: str, completion_id: str, page: Page
    ) -> tuple[Listed[InputMessage], int]:
        """A page of what the model was sent, and how many messages that were.

        Raises:
            NotFound: there is no such completion.
            InvalidPayload: `page.after` is no message of it.
        """
        with self.database.reading() as connection:
            stored = repository.messages(connection, resource, completion_id)
        if stored is None:
            raise _no_completion(completion_id)
        given: list[dict[str, Any]] = orjson.loads(stored)
        ids = [f"{completion_id}-{index}" for index in range(len(given))]
        order = list(range(len(given)))[:: -1 if page.descending else 1]
        if page.after is not None:
            if page.after not in ids:
                raise unknown_after(page.after)
            order = order[order.index(ids.index(page.after)) + 1 :]
        shown = [input_message(ids[index], given[index]) for index in order[: page.limit + 1]]
        return listed(shown, page), len(given)

    def sweep(self, ticket: Ticket) -> None:
        """Delete what is older, or more, than the settings let be kept; the oldest first."""
        days, most = self.settings.retention_days, self.settings.kept_bytes
        if days is None and most is None:
            return
        with self.database.reading() as connection:
            usage = repository.usage(connection)
        for resource, stored in usage:
            if days is not None:
                stored -= self._delete_before(
                    resource, self.clock.now() - days * _DAY_SECONDS, ticket
                )
            if most is not None:
                self._delete_oldest(resource, stored - most, ticket)

    def _delete_before(self, resource: str, time: int, ticket: Ticket) -> int:
        """Delete what was made before `time`; the bytes that were."""
        freed = 0
        while True:
            ticket.wait(_BREATH_SECONDS)
            with self.database.transaction() as tx:
                old = repository.oldest(tx, resource, _SLICE, before=time)
                if not old:
                    return freed
                repository.delete_seqs(tx, [seq for seq, _ in old])
            freed += sum(stored for _, stored in old)

    def _delete_oldest(self, resource: str, excess: int, ticket: Ticket) -> None:
        """Delete the oldest until `excess` bytes are gone."""
        while excess > 0:
            ticket.wait(_BREATH_SECONDS)
            with self.database.transaction() as tx:
                chosen = []
                for seq, stored in repository.oldest(tx, resource, _SLICE):
                    if excess <= 0:
                        break
                    chosen.append(seq)
                    excess -= stored
                if not chosen:
                    return
                repository.delete_seqs(tx, chosen)


def _no_completion(completion_id: str) -> NotFound:
    return NotFound(f"There is no stored completion {completion_id[:100]!r}.")
