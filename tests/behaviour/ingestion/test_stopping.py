"""A worker that is stopped hands its run back, and the next one goes on with it."""

import threading
import time
from dataclasses import dataclass, field, replace

from tests.behaviour.ingestion.conftest import Job, World
from tests.support.files import until
from tests.support.ingestion_parts import RowsTarget, Standing
from tests.support.server import running_server

from linarite.resources.ingestion.service import Ingestion
from linarite.resources.ingestion.tasks import Work
from linarite.wire.ingestion import OperationState

DOCUMENTS = 1_000


def test_a_stopped_worker_hands_its_run_to_the_next(tmp_path):
    reached = threading.Event()

    def slowly(call: str) -> None:
        if call == "upsert":
            time.sleep(0.2)
        if call == "upserted":
            reached.set()

    with running_server(tmp_path / "data") as server:
        runs = server.built.parts[Ingestion]
        world = World(server, {"handbook": Standing(tmp_path / "standing", slowly)})
        tasks = Work(runs, world.open).tasks()
        server = replace(server, built=replace(server.built, tasks=tasks, schedules=[]))
        job = Job("handbook", runs, world.standings["handbook"])
        for number in range(DOCUMENTS):
            job.standing.write(f"{number:04}.txt", f"body {number}")

        with server.working():
            job.put()
            assert reached.wait(20)
            stopping = time.monotonic()
        assert time.monotonic() - stopping < 5
        assert job.now().status == OperationState.RUNNING
        stored = len(job.standing.target.rows())

        with server.working():
            run = job.ended()

    assert 0 < stored < DOCUMENTS
    assert run.status == OperationState.SUCCEEDED, run
    assert len(job.standing.target.rows()) == DOCUMENTS
    asked = job.standing.embedder.asked()
    assert len(set(asked)) == DOCUMENTS + 1  # and a text that tells how long vectors are
    assert len(asked) == len(set(asked))


@dataclass
class LateTarget(RowsTarget):
    """Counts what is there only a while after it was first asked, as services do."""

    asked: list[float] = field(default_factory=list)

    def count(self) -> int:
        self.asked.append(time.monotonic())
        is_late = self.asked[-1] - self.asked[0] < 1.0
        return 0 if is_late else super().count()


def test_an_index_that_counts_late_is_waited_for_after_a_stop_too(tmp_path):
    with running_server(tmp_path / "data") as server:
        runs = server.built.parts[Ingestion]
        world = World(server, {"handbook": Standing(tmp_path / "standing")})
        tasks = Work(runs, world.open).tasks()
        server = replace(server, built=replace(server.built, tasks=tasks, schedules=[]))
        job = Job("handbook", runs, world.standings["handbook"])
        target = job.standing.target = LateTarget(tmp_path / "index.sqlite3")
        job.standing.write("a.txt", "body")
        with server.working():
            job.put()
            until(lambda: len(target.asked) > 1, "the chunks are counted again")
            waiting = job.now()
        calls: list[str] = []
        target.told = calls.append

        with server.working():
            run = job.ended()

    assert waiting.progress is not None
    parts = waiting.progress.stage_progress[-1].sub_stage_progress or ()
    assert {part.name: part.state for part in parts}["Reconciling"] == OperationState.RUNNING
    assert run.status == OperationState.SUCCEEDED, run
    assert "upsert" not in calls
