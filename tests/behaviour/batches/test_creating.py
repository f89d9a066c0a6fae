"""Batch_Create: what is refused at once, what fails as a batch, and what it costs in tokens."""

import orjson
import pytest
from tests.behaviour.batches.conftest import jsonl, line

from linarite.errors import InvalidPayload, NotFound
from linarite.resources.batches.validation import EMPTY, NO_MODEL


def faults(batch) -> list[tuple[str, int | None]]:
    assert batch.status == "failed"
    assert batch.failed_at is not None
    return [(fault["code"], fault["line"]) for fault in batch.errors]


@pytest.mark.parametrize("endpoint", ["/chat/completions", "/v1/chat/completions"])
def test_the_endpoint_is_echoed_without_its_prefix(system, endpoint):
    assert system.create(line(0), endpoint=endpoint).endpoint == "/chat/completions"


@pytest.mark.parametrize("endpoint", ["", "/v1/responses", "chat/completions", "/v1"])
def test_an_endpoint_that_batches_cannot_ask_is_refused(system, endpoint):
    with pytest.raises(InvalidPayload, match="endpoint"):
        system.create(line(0), endpoint=endpoint)


def test_a_file_that_is_not_there_is_refused(system):
    with pytest.raises(NotFound):
        system.create(line(0), input_file_id="file-0")


def test_a_file_of_another_resource_is_not_there(system):
    file = system.upload(jsonl(line(0)), resource="other")

    with pytest.raises(NotFound):
        system.create_over(file)


def test_another_window_makes_the_batch_fail(system):
    batch = system.validate(system.create(line(0), completion_window="7d"))

    assert faults(batch) == [("invalid_request", None)]
    assert batch.errors[0]["param"] == "completion_window"


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([b"not json"], [("invalid_json_line", 1)]),
        ([line(0), line(0)], [("duplicate_custom_id", 2)]),
        ([line(0) | {"url": "/embeddings"}], [("url_mismatch", 1)]),
        ([line(0, model="nobody")], [("model_not_found", 1)]),
        ([line(0), line(1, model="other")], [("model_mismatch", 2)]),
        ([line(0) | {"method": "GET"}], [("invalid_request", 1)]),
        ([b"\xef\xbb\xbf" + orjson.dumps(line(0))], [("model_not_found", 1)]),
        ([], [("empty_file", None)]),
    ],
)
def test_a_bad_input_makes_the_batch_fail_with_its_lines(system, lines, expected):
    batch = system.validate(system.create(*lines))

    assert faults(batch) == expected
    assert (batch.output_file_id, batch.total) == (None, 0)


def test_the_texts_are_the_services_own(system):
    empty = system.validate(system.create())
    unnamed = system.validate(system.create(line(0, model="nobody")))

    assert empty.errors[0]["message"] == EMPTY
    assert unnamed.errors[0]["message"] == NO_MODEL
    assert empty.to_wire().errors.data[0].code == "empty_file"


def test_too_many_lines_make_the_batch_fail(make):
    system = make(limits={"batch_lines": 3})

    batch = system.validate(system.create(*[line(n) for n in range(4)]))

    assert faults(batch) == [("too_many_tasks", None)]


def test_an_input_whose_bytes_changed_makes_the_batch_fail(system):
    batch = system.create(line(0))
    [stored] = [path for path in system.batches.blobs.folder.rglob("*") if path.is_file()]
    stored.write_bytes(stored.read_bytes().replace(b"question 0", b"question 1"))

    assert faults(system.validate(batch)) == [("input_modified", None)]


def test_an_input_whose_bytes_are_gone_makes_the_batch_fail(system):
    batch = system.create(line(0))
    [stored] = [path for path in system.batches.blobs.folder.rglob("*") if path.is_file()]
    stored.unlink()

    assert faults(system.validate(batch)) == [("input_no_permissions", None)]


def test_a_batch_that_failed_lets_go_of_its_input(system):
    batch = system.create(b"not json")
    system.batches.files.delete("default", batch.input_file_id)

    system.validate(batch)

    assert not [path for path in system.batches.blobs.folder.rglob("*") if path.is_file()]


def test_an_input_that_cannot_be_read_for_other_reasons_fails_in_the_end(system):
    batch = system.create(line(0))

    system.work.give_up_validating(batch.id, OSError("disk"))

    assert faults(system.now(batch)) == [("server_error", None)]


def test_tokens_are_the_prompt_and_the_longest_answer(system):
    """No tokenizer here: a quarter of the letters, and 4 for each message; "hi" makes 1 + 4."""
    system.create(line(0, "hi", max_tokens=95), line(1, "hi", max_completion_tokens=45, n=2))

    assert (system.tokens.enqueued, system.tokens.limit) == (100 + 95, 1_000_000)


def test_tokens_of_all_open_batches_of_the_deployment_count_together(system):
    system.create(line(0, "hi", max_tokens=95))
    system.create(line(0, "hi", max_tokens=95), resource="other")
    ended = system.create(line(0, "hi", max_tokens=95))
    system.run(system.validate(ended))

    system.create(line(0, "hi", max_tokens=95))

    assert system.tokens.enqueued == 300


def test_a_batch_over_the_limit_of_tokens_fails_and_a_later_one_may_pass(make):
    system = make(enqueued_token_limit=150)
    first = system.validate(system.create(line(0, "hi", max_tokens=95)))
    second = system.validate(system.create(line(0, "hi", max_tokens=95)))

    assert faults(second) == [("token_limit_exceeded", None)]
    assert "configured limit of 150 for the deployment 'chat'" in second.errors[0]["message"]

    system.run(first)
    third = system.validate(system.create(line(0, "hi", max_tokens=95)))
    assert third.status == "in_progress"


def test_a_batch_over_the_limit_is_refused_at_once_where_the_settings_say_so(make):
    system = make(enqueued_token_limit=150, fail_fast=True)
    system.create(line(0, "hi", max_tokens=95))

    with pytest.raises(InvalidPayload, match="token_limit_exceeded"):
        system.create(line(0, "hi", max_tokens=95))


def test_a_large_input_is_estimated_first_and_counted_by_the_validation(system):
    lines = [line(n, "word " * 50) for n in range(1500)]
    batch = system.create(*lines)
    estimated = system.tokens.enqueued

    batch = system.validate(batch)

    assert estimated == sum(len(orjson.dumps(one)) + 1 for one in lines) // 4
    assert batch.enqueued_tokens == 1500 * (63 + 4)


def test_a_batch_knows_its_deployment_from_the_first_line_on(system):
    batch = system.create(line(0))

    assert (batch.deployment, batch.deployment_owner) == ("chat", "*")


def test_metadata_comes_back(system):
    batch = system.create(line(0), metadata={"kind": "evaluation"})

    assert system.now(batch).to_wire().metadata == {"kind": "evaluation"}
