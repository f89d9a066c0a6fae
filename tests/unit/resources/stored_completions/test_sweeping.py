"""What is too old or too much is deleted without holding up those who store."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from linarite.clock import SystemClock
from linarite.resources.stored_completions.records import NewCompletion
from linarite.resources.stored_completions.service import StoredCompletions
from linarite.settings import StoredCompletionSettings
from linarite.storage.database import Database
from linarite.tasks.tickets import TickTicket


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(f"sqlite:///{tmp_path / 'linarite.sqlite3'}")
    database.migrate()
    yield database
    database.close()


class Watching(TickTicket):
    """Counts the pauses in which SQLite's lock is free."""

    def __init__(self, unwaiting: sa.Connection) -> None:
        super().__init__()
        self._unwaiting = unwaiting
        self.pauses = 0

    def wait(self, seconds: float) -> None:
        with self._unwaiting.begin():
            self.pauses += seconds > 0


@pytest.mark.parametrize("settings", [{"retention_days": 1}, {"kept_bytes": 1}])
def test_a_sweep_pauses_so_that_chats_can_be_stored(database, settings):
    stored = StoredCompletions(database, SystemClock(), StoredCompletionSettings(**settings))
    new = [NewCompletion(f"{n}", "model", "chat", n, {}, b"{}", b"[]") for n in range(1_000)]
    with database.transaction() as tx:
        stored.add(tx, "me", new)

    with database.unwaiting() as unwaiting:
        ticket = Watching(unwaiting)
        stored.sweep(ticket)

    found_by = ("labels", "counts", "bitmaps")
    with database.reading() as connection:
        for table in ("stored_completions", *(f"stored_completion_{name}" for name in found_by)):
            assert connection.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar() == 0
    assert ticket.pauses >= 10
