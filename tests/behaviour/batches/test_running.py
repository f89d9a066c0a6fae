"""What becomes of a good batch: its answers, its counts, its files, its times."""

import json
import threading
import time
from collections.abc import Callable

import pytest
import sqlalchemy as sa
from tests.behaviour.batches.conftest import BatchSystem, jsonl, line

from linarite.errors import UnexpectedEntityState
from linarite.storage.tables import batch_answers
from linarite.tasks.task import HandedBack


def wait_until(happened: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def running(system: BatchSystem, batch) -> threading.Thread:
    """The worker's `run` of that batch, in a thread of its own."""
    thread = threading.Thread(target=system.run, args=(batch,))
    thread.start()
    return thread


def running_until_handed_back(system: BatchSystem, batch) -> threading.Thread:
    def run() -> None:
        with pytest.raises(HandedBack):
            system.run(batch)

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def test_every_line_has_its_answer_in_the_order_of_the_input(system):
    batch = system.finish(*[line(n) for n in range(50)])

    assert batch.status == "completed"
    assert (batch.total, batch.completed, batch.failed) == (50, 50, 0)
    output = system.content(batch.output_file_id)
    assert [answer["custom_id"] for answer in output] == [f"task-{n}" for n in range(50)]
    body = output[7]["response"]["body"]
    assert body["choices"][0]["message"]["content"] == "Answer to: question 7"
    assert system.content(batch.error_file_id) == []


def test_a_failed_line_goes_to_the_error_file(system):
    batch = system.finish(line(0), line(1, "[[fail 400]]"), line(2))

    assert (batch.status, batch.completed, batch.failed) == ("completed", 2, 1)
    [error] = system.content(batch.error_file_id)
    assert error["custom_id"] == "task-1"
    assert error["response"]["status_code"] == 400
    assert error["response"]["body"]["error"]["message"] == "The script says 400."
    assert error["error"] is None


def test_a_line_that_asks_for_a_stream_goes_to_the_error_file(system):
    batch = system.finish(line(0, stream=True), line(1))

    [error] = system.content(batch.error_file_id)
    assert error["response"]["body"]["error"]["param"] == "stream"
    assert batch.completed == 1


def test_a_line_that_cannot_be_written_or_judged_goes_to_the_error_file(system):
    schema = {"type": "object", "properties": {}, "additionalProperties": False, "required": [{}]}
    form = {"name": "f", "strict": True, "schema": schema}
    odd = {"response_format": {"type": "json_schema", "json_schema": form}}
    deep = json.dumps(line(2, odd=json.loads("[" * 300 + "]" * 300))).encode()

    batch = system.finish(line(0), line(1, **odd), deep, line(3))

    assert (batch.status, batch.completed, batch.failed) == ("completed", 2, 2)
    params = [
        error["response"]["body"]["error"]["param"] for error in system.content(batch.error_file_id)
    ]
    assert params == ["response_format", "odd"]


@pytest.mark.parametrize("words", ["[[fail 500 x2]]", "[[fail 429 x1]]", "[[drop x1]]"])
def test_a_failure_that_passes_leaves_no_trace(system, words):
    batch = system.finish(line(0, words), line(1))

    assert (batch.completed, batch.failed) == (2, 0)


def test_a_line_that_always_fails_ends_with_its_last_failure(make):
    system = make(attempts=2)

    batch = system.finish(line(0, "[[fail 503]]"), *[line(n) for n in range(1, 30)])

    [error] = system.content(batch.error_file_id)
    assert error["response"]["status_code"] == 503
    assert batch.completed == 29


def test_each_time_is_noted_when_its_state_is_entered(system):
    batch = system.create(line(0))
    assert (batch.status, batch.in_progress_at) == ("validating", None)
    assert batch.expires_at == batch.created_at + 86_400

    system.clock.seconds += 5
    batch = system.validate(batch)
    assert (batch.status, batch.in_progress_at) == ("in_progress", batch.created_at + 5)
    assert batch.output_file_id.startswith("file-")
    assert batch.error_file_id.startswith("file-")

    system.clock.seconds += 5
    batch = system.run(batch)
    assert batch.finalizing_at == batch.completed_at == batch.created_at + 10
    assert batch.failed_at is batch.expired_at is batch.cancelling_at is batch.cancelled_at is None


def test_counts_and_partial_results_rise_while_it_runs(system):
    batch = system.validate(
        system.create(*[line(n) for n in range(20)], line(99, "[[delay 4000]]"))
    )
    thread = running(system, batch)

    wait_until(lambda: system.now(batch).completed == 20)

    partial = system.content(batch.output_file_id)
    assert {answer["custom_id"] for answer in partial} == {f"task-{n}" for n in range(20)}
    assert system.now(batch).status == "in_progress"
    thread.join()
    assert system.now(batch).completed == 21


def test_a_file_in_the_making_is_running_and_has_no_length(system):
    batch = system.validate(system.create(line(0)))

    file = system.batches.files.get("default", batch.output_file_id)
    assert (file.status, file.bytes, file.purpose) == ("running", None, "batch_output")
    assert system.content(batch.output_file_id) == []

    system.run(batch)
    file = system.batches.files.get("default", batch.output_file_id)
    assert (file.status, file.purpose) == ("processed", "batch_output")
    assert file.bytes > 0


def test_a_cancelled_batch_keeps_what_is_answered(make):
    system = make(cancel_seconds=0.5)
    lines = [*[line(n) for n in range(10)], *[line(n, "[[hang]]") for n in range(10, 300)]]
    batch = system.validate(system.create(*lines))
    thread = running(system, batch)
    wait_until(lambda: system.now(batch).completed == 10)

    cancelling = system.batches.cancel("default", batch.id)
    thread.join()

    assert cancelling.status == "cancelling"
    batch = system.now(batch)
    assert (batch.status, batch.completed, batch.failed) == ("cancelled", 10, 0)
    assert len(system.content(batch.output_file_id)) == 10
    errors = system.content(batch.error_file_id)
    assert {error["error"]["code"] for error in errors} == {"batch_cancelled"}
    assert [error["custom_id"] for error in errors] == [f"task-{n}" for n in range(10, 300)]


def test_a_batch_that_is_cancelled_while_it_validates_ends_without_files(system):
    batch = system.create(line(0))

    system.batches.cancel("default", batch.id)
    batch = system.settle(batch)

    assert (batch.status, batch.output_file_id) == ("cancelled", None)
    assert system.validate(batch).status == "cancelled"


def test_a_batch_that_is_cancelled_while_it_waits_ends_at_once(system):
    batch = system.validate(system.create(line(0), line(1)))

    system.batches.cancel("default", batch.id)
    batch = system.settle(batch)

    assert batch.status == "cancelled"
    assert len(system.content(batch.error_file_id)) == 2
    assert system.run(batch).status == "cancelled"
    assert system.engine.asked()["total"] == 0


def test_cancelling_twice_is_no_fault_and_cancelling_what_has_ended_is(system):
    batch = system.create(line(0))
    system.batches.cancel("default", batch.id)

    assert system.batches.cancel("default", batch.id).status == "cancelling"

    system.settle(batch)
    with pytest.raises(UnexpectedEntityState):
        system.batches.cancel("default", batch.id)


def test_an_expired_batch_keeps_what_is_answered(make):
    system = make(cancel_seconds=0.5)
    lines = [*[line(n) for n in range(10)], *[line(n, "[[hang]]") for n in range(10, 20)]]
    batch = system.validate(system.create(*lines))
    thread = running(system, batch)
    wait_until(lambda: system.now(batch).completed == 10)

    system.clock.seconds += 86_400
    thread.join()

    batch = system.now(batch)
    assert (batch.status, batch.completed) == ("expired", 10)
    assert batch.expired_at == batch.expires_at
    errors = system.content(batch.error_file_id)
    assert {error["error"]["code"] for error in errors} == {"batch_expired"}
    assert len(errors) == 10


def test_a_batch_that_expires_while_it_waits_is_settled(system):
    batch = system.validate(system.create(line(0)))
    system.clock.seconds += 86_400

    system.work.expire(system.ticket)
    batch = system.settle(batch)

    assert batch.status == "expired"


def test_expiry_can_be_turned_off(make):
    system = make(expire=False)
    batch = system.validate(system.create(line(0)))
    system.clock.seconds += 100_000

    assert system.run(batch).status == "completed"
    assert system.work.schedules() == []


def test_work_that_is_handed_back_goes_on_where_it_was(system):
    lines = [*[line(n) for n in range(20)], line(20, "[[delay 3000]]"), line(21)]
    batch = system.validate(system.create(*lines))
    thread = running_until_handed_back(system, batch)
    wait_until(lambda: system.now(batch).completed >= 20)

    system.ticket.is_revoked = True
    thread.join()
    system.ticket.is_revoked = False
    batch = system.run(batch)

    assert (batch.status, batch.completed) == ("completed", 22)
    assert len(system.content(batch.output_file_id)) == 22
    assert system.engine.asked()["total"] <= 23


def test_a_worker_that_was_replaced_writes_nothing_more(system):
    lines = [line(n, "[[delay 1500]]") for n in range(5)]
    batch = system.validate(system.create(*lines))
    first = running(system, batch)
    wait_until(lambda: system.engine.asked()["in_flight"] == 5)

    second = running(system, batch)
    first.join()
    second.join()

    batch = system.now(batch)
    assert (batch.status, batch.completed) == ("completed", 5)
    assert len(system.content(batch.output_file_id)) == 5


def test_a_batch_whose_deployment_is_gone_ends_with_refusals(system):
    batch = system.validate(system.create(line(0), line(1)))
    system.batches.deployments.declared.clear()
    system.batches.deployments.sync()

    batch = system.run(batch)

    assert (batch.status, batch.failed) == ("completed", 2)
    errors = system.content(batch.error_file_id)
    assert errors[0]["response"]["status_code"] == 404
    assert errors[0]["response"]["body"]["error"]["code"] == "DeploymentNotFound"


def test_a_batch_that_the_server_cannot_run_fails_and_keeps_what_is_answered(system):
    batch = system.validate(system.create(line(0), line(1)))

    system.work.give_up(batch.id, ZeroDivisionError())

    batch = system.now(batch)
    assert (batch.status, batch.errors[0]["code"]) == ("failed", "server_error")
    assert len(system.content(batch.error_file_id)) == 2


def test_the_input_can_be_deleted_while_the_batch_runs(system):
    file = system.upload(jsonl(*[line(n) for n in range(3)]))
    batch = system.validate(system.create_over(file))

    system.batches.files.delete("default", file.id)
    batch = system.run(batch)

    assert batch.completed == 3
    kept = {path.name for path in system.batches.blobs.folder.rglob("*") if path.is_file()}
    assert len(kept) == 2


def test_nothing_of_a_finished_batch_stays_in_the_rows(system):
    system.finish(*[line(n) for n in range(5)])

    with system.batches.database.reading() as connection:
        count = connection.execute(sa.select(sa.func.count()).select_from(batch_answers)).scalar()
    assert count == 0


def test_batches_wait_for_an_engine_that_is_full(system):
    system.engine.steer(limit=4, delay_ms=5)

    batch = system.finish(*[line(n) for n in range(60)])

    assert (batch.completed, batch.failed) == (60, 0)


def test_lines_that_begin_alike_are_asked_next_to_each_other(system):
    """Requests that are out at once overtake each other, so only the middle is not told apart."""
    lines = [line(n) for n in range(200)]
    for n, one in enumerate(lines):
        prompt = {"role": "system", "content": f"You are number {n % 2}."}
        one["body"]["messages"] = [prompt, {"role": "user", "content": f"{n % 2}"}]
    system.engine.log.write_text("")

    system.finish(*lines)

    asked = [entry["text"] for entry in system.engine.logged()]
    assert set(asked[:60]) == {"0"}
    assert set(asked[-60:]) == {"1"}
