"""Workers die between two statements of a run: its index holds what its documents say, once.

The moments are those before and after each write to the database, which nobody can tell from
outside; so there are stand-ins for all else. `test_ingestion` kills workers with the real parts.
"""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from tests.support.ingestion_parts import Standing

from linarite.bootstrap import Built, build
from linarite.resources.ingestion.service import Ingestion
from linarite.settings import Settings
from linarite.tasks import schema
from linarite.wire.ingestion import IngestionJob, IngestionJobRun, OperationState

pytestmark = [pytest.mark.crash, pytest.mark.timeout(300)]

DOCUMENTS = 130
RESOURCE, JOB = "default", "handbook"
ROOT = Path(__file__).parents[2]

FIRST = [
    ("compare before", 1),
    ("put down before", 1),
    ("claim before", 1),
    ("claim after", 1),
    ("write-ahead before", 1),
    ("write-ahead after", 1),
    ("cache before", 2),
    ("settle before", 1),
    ("settle after", 1),
]
"""Where workers die in the first run."""
SECOND = [
    ("vanish before", 1),
    ("vanish after", 1),
    ("finish before", 1),
    ("finish after", 1),
]
"""Where they die once documents were changed, added and removed."""


class Place:
    """A database, a job, and the folder of its documents and its index."""

    def __init__(self, folder: Path, url: str | None = None) -> None:
        self._data = folder / "data"
        self.built: Built = build(Settings(data=self._data, database_url=url))
        self.built.database.migrate()
        schema.migrate(self.built.database)
        self.runs: Ingestion = self.built.parts[Ingestion]
        self.standing = Standing(folder / "standing", crawls=True)

    def put(self) -> str:
        """Start a run; its id."""
        source = {
            "kind": "Storage",
            "connection": {"kind": "RelativeConnection"},
            "containerName": "documents",
            "embeddings": [],
        }
        body = IngestionJob.model_validate({"kind": "SystemCompute", "datasource": source})
        return self.runs.put(RESOURCE, JOB, body)[1].id

    def go_through(self, run: str, moments: Sequence[tuple[str, int]] = ()) -> IngestionJobRun:
        """The run at its end, once workers died at these moments and the last brought it there."""
        url = self.built.settings.resolved_database_url
        command = [sys.executable, "-m", "tests.support.ingestion_worker"]
        command += [str(self._data), url, str(self.standing.folder), run]
        command += [str(word) for moment in moments for word in moment]
        subprocess.run(command, cwd=ROOT, stdout=subprocess.DEVNULL, check=True, timeout=200)
        return self.runs.run(RESOURCE, JOB, run)

    def holds_what_documents_say(self) -> bool:
        """Whether each that is not broken is in the index, whole, and nothing else is."""
        texts = {path.name: path.read_text() for path in self.standing.source.rglob("*.txt")}
        expected = {name: text.splitlines() for name, text in texts.items() if text != "broken"}
        contents = self.standing.target.contents()
        return expected == {key.rpartition("/")[2]: lines for key, lines in contents.items()}


def fill(standing: Standing, count: int) -> None:
    for number in range(count):
        standing.write(f"{number:03}.txt", f"title {number}", f"body {number}", "the same in all")


def change(standing: Standing) -> None:
    """Shorten, lengthen, break and remove some, and add others."""
    for number in range(60):
        standing.write(f"{number:03}.txt", f"title {number}")
    for number in range(60, 90):
        standing.write(f"{number:03}.txt", *(f"line {number} {n}" for n in range(6)))
    for number in range(90, 100):
        standing.write(f"{number:03}.txt", "broken")
    for number in range(100, 115):
        (standing.source / f"{number:03}.txt").unlink()
    for number in range(30):
        standing.write(f"new/{number}.txt", f"new {number}")


def test_workers_that_die_between_statements_leave_what_documents_say(tmp_path):
    place = Place(tmp_path)
    fill(place.standing, DOCUMENTS)

    told = place.go_through(place.put(), FIRST)
    assert (told.status, told.warnings) == (OperationState.SUCCEEDED, None)
    assert place.holds_what_documents_say()

    change(place.standing)
    told = place.go_through(place.put(), SECOND)
    assert told.status == OperationState.SUCCEEDED
    assert sorted(told.warnings or ()) == [f"{n:03}.txt: It is broken." for n in range(90, 100)]
    assert place.holds_what_documents_say()
    asked = place.standing.embedder.asked()
    print(f"{len(asked)} texts were embedded, of which {len(set(asked))} differ")  # noqa: T201
    place.built.database.close()


def test_they_leave_no_more_on_postgresql(tmp_path, postgres_url):
    place = Place(tmp_path, postgres_url)
    fill(place.standing, DOCUMENTS)
    place.go_through(place.put())
    change(place.standing)

    told = place.go_through(
        place.put(), [("claim after", 1), ("upserted", 1), ("settle before", 1), ("delete", 1)]
    )

    assert told.status == OperationState.SUCCEEDED
    assert place.holds_what_documents_say()
    place.built.database.close()


def test_a_document_over_which_worker_after_worker_dies_is_left_out(tmp_path):
    place = Place(tmp_path)
    fill(place.standing, 40)
    place.standing.write("020.txt", "poison")

    told = place.go_through(place.put(), [("poison", 1)] * 5)

    assert told.status == OperationState.SUCCEEDED
    assert told.warnings is not None
    assert [warning.partition(":")[0] for warning in told.warnings] == ["020.txt"]
    assert "5 workers died" in told.warnings[0]
    assert len(place.standing.target.contents()) == 39
    place.built.database.close()
