"""A worker that is stopped hands its run back, and the next one goes on with it."""

import threading
import time
from dataclasses import replace

from tests.behaviour.ingestion.conftest import Job, World
from tests.support.ingestion_parts import Standing
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
