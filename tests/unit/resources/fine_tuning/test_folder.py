"""The folder of a job: made whole, its log read line by line."""

import errno
import json
from dataclasses import replace
from pathlib import Path

import pytest
from tests.unit.resources.fine_tuning.test_records import JOB

from linarite.resources.fine_tuning.folder import JobFolder
from linarite.wire.fine_tuning import AUTO


@pytest.fixture
def folder(tmp_path: Path) -> JobFolder:
    made = JobFolder(tmp_path / "jobs" / JOB.id)
    made.make(
        replace(JOB, hyperparameters={"n_epochs": 3, "batch_size": AUTO}),
        tmp_path / "base",
        [b"a", b"b\n"],
        None,
        None,
    )
    return made


def line(kind: str, **fields: object) -> bytes:
    return json.dumps({"kind": kind, "at": 5, **fields}).encode() + b"\n"


def test_the_command_is_told_what_to_do(folder, tmp_path):
    spec = json.loads((folder.path / "spec.json").read_text())

    assert spec["hyperparameters"] == {
        "n_epochs": 3,
        "batch_size": None,
        "learning_rate_multiplier": None,
        "beta": None,
        "l2_multiplier": None,
    }
    assert (spec["format"], spec["method"], spec["seed"]) == (1, "supervised", 105)
    assert (spec["adapter"], spec["validation_file"]) == (None, None)
    assert Path(spec["base"]).is_absolute()
    assert (folder.path / spec["training_file"]).read_bytes() == b"ab\n"


def test_a_folder_made_anew_has_another_word(folder, tmp_path):
    before = folder.id

    folder.make(JOB, tmp_path, [b"c"], [b"d"], None)

    assert folder.id != before
    assert (folder.path / "validation.jsonl").read_bytes() == b"d"
    assert folder.is_whole


def test_a_folder_that_could_not_be_made_is_removed_too(folder, tmp_path):
    def full(_: Path) -> None:
        raise OSError(errno.ENOSPC, "no space left")

    with pytest.raises(OSError, match="no space left"):
        folder.make(JOB, tmp_path, [b"c"], None, full)
    folder.remove()

    assert list(folder.path.parent.iterdir()) == []


def test_a_line_in_the_making_is_not_told(folder):
    log = folder.path / "log.jsonl"
    assert folder.read_log(0) == []
    log.write_bytes(line("message", message="one") + b'{"kind": "mess')

    [entry] = folder.read_log(0)

    assert (entry.kind, entry.at, entry.fields["message"]) == ("message", 5, "one")
    assert folder.read_log(entry.end) == []
    log.write_bytes(log.read_bytes() + b'age", "at": 6, "message": "two"}\n')
    assert [one.fields["message"] for one in folder.read_log(entry.end)] == ["two"]


def test_a_long_log_is_read_some_at_a_time(folder):
    text = b"".join(line("step", step=number) for number in range(20_000))
    (folder.path / "log.jsonl").write_bytes(text)

    position, steps = 0, []
    while entries := folder.read_log(position):
        position = entries[-1].end
        steps += [entry.fields["step"] for entry in entries]

    assert position == len(text)
    assert steps == list(range(20_000))
