"""The log tells whole lines only."""

import json

import pytest

from linarite.training.journal import Journal


def test_lines_are_told_with_their_time(tmp_path):
    journal = Journal(tmp_path / "log.jsonl", now=lambda: 1000.6)

    journal.message("Beware", "warning")
    journal.step(3, 1, {"train_loss": 0.5}, seconds_left=9.2)

    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert lines == [
        {"kind": "message", "at": 1000, "level": "warning", "message": "Beware"},
        {
            "kind": "step",
            "at": 1000,
            "step": 3,
            "epoch": 1,
            "metrics": {"train_loss": 0.5},
            "finish_at": 1010,
        },
    ]


def test_a_log_knows_whether_its_job_has_a_plan_and_an_end(tmp_path):
    journal = Journal(tmp_path / "log.jsonl")
    assert (journal.has_plan, journal.has_ended) == (False, False)

    journal.plan({"n_epochs": 1}, steps=1, examples=1)
    journal.failed("x", "y", None)

    again = Journal(tmp_path / "log.jsonl")
    assert (again.has_plan, again.has_ended) == (True, True)


def test_no_number_that_json_lacks_is_told(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        Journal(tmp_path / "log.jsonl").step(1, 1, {"train_loss": float("nan")}, 0)
