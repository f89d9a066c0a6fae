"""Workers die at every moment of a run: the index is what it is when none dies.

The moments are those before and after each write to the database, and each call at the seams: to
the container, the crawl, the cracker, the embedding and the target.
"""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.support.ingestion_parts import Standing

from linarite.bootstrap import Built, build
from linarite.resources.ingestion.service import Ingestion
from linarite.settings import Settings
from linarite.tasks import schema
from linarite.wire.ingestion import IngestionJob, IngestionJobRun, OperationState

pytestmark = [pytest.mark.crash, pytest.mark.timeout(300)]

DOCUMENTS = 300
RESOURCE, JOB = "default", "handbook"
ROOT = Path(__file__).parents[2]

FIRST = [
    ("crawl", 150),
    ("list", 150),
    ("compare before", 1),
    ("put down before", 1),
    ("claim before", 1),
    ("claim after", 1),
    ("read", 40),
    ("crack", 20),
    ("write-ahead before", 1),
    ("write-ahead after", 2),
    ("embed", 2),
    ("cache before", 2),
    ("upsert", 2),
    ("upserted", 3),
    ("settle before", 2),
    ("settle after", 4),
]
"""Where workers die in the first run."""
SECOND = [
    ("delete", 1),
    ("deleted", 1),
    ("vanish before", 1),
    ("vanish after", 1),
    ("count", 1),
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

    def index(self) -> dict[str, tuple[Any, ...]]:
        """Its whole index."""
        return self.standing.target.rows()


def fill(standing: Standing, count: int = DOCUMENTS) -> None:
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
    for number in range(100, 130):
        (standing.source / f"{number:03}.txt").unlink()
    for number in range(30):
        standing.write(f"new/{number}.txt", f"new {number}")


def undisturbed(folder: Path) -> list[dict[str, tuple[Any, ...]]]:
    """The index after each of the two runs, when nobody dies."""
    place = Place(folder)
    fill(place.standing)
    place.go_through(place.put())
    indexes = [place.index()]
    change(place.standing)
    place.go_through(place.put())
    return [*indexes, place.index()]


def test_after_twenty_kills_the_index_is_what_it_is_without(tmp_path):
    expected = undisturbed(tmp_path / "undisturbed")
    place = Place(tmp_path / "disturbed")

    fill(place.standing)
    first = place.put()
    told = place.go_through(first, FIRST)
    assert (told.status, told.warnings) == (OperationState.SUCCEEDED, None)
    assert place.index() == expected[0]

    change(place.standing)
    second = place.put()
    told = place.go_through(second, SECOND)
    assert told.status == OperationState.SUCCEEDED
    assert sorted(told.warnings or ()) == [f"{n:03}.txt: It is broken." for n in range(90, 100)]
    assert place.index() == expected[1]
    asked = place.standing.embedder.asked()
    print(f"{len(asked)} texts were embedded, of which {len(set(asked))} differ")  # noqa: T201
    place.built.database.close()


def test_killed_workers_leave_no_stale_chunk_on_postgresql_either(tmp_path, postgres_url):
    place = Place(tmp_path, postgres_url)
    fill(place.standing, 130)
    place.go_through(place.put())
    change(place.standing)

    told = place.go_through(
        place.put(), [("claim after", 1), ("upserted", 1), ("settle before", 1), ("delete", 1)]
    )

    assert told.status == OperationState.SUCCEEDED
    texts = {path.name: path.read_text() for path in place.standing.source.rglob("*.txt")}
    expected = {name: text.splitlines() for name, text in texts.items() if text != "broken"}
    contents = place.standing.target.contents()
    assert {key.rpartition("/")[2]: lines for key, lines in contents.items()} == expected
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
