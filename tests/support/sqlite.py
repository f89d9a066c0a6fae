"""SQLite files with every table in them, copied: to migrate one takes a hundred times as long."""

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path

from linarite.storage.database import Database
from linarite.tasks import schema


def put_database(file: Path) -> None:
    """Make an SQLite file as a server that has just started leaves it; one that is there stays."""
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(_template(), file)


@cache
def _template() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="linarite-sqlite-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    file = folder / "template.sqlite3"
    database = Database(f"sqlite:///{file}")
    database.migrate()
    schema.migrate(database)
    database.close()
    return file
