"""The trainer as a process: it may be stopped and killed, and comes to the same bits."""

import json
import signal
import time
from pathlib import Path

import pytest
from tests.support.training_jobs import (
    chats,
    curve,
    log_of,
    preferences,
    start_trainer,
    write_job,
)

from linarite.training import command


@pytest.fixture(scope="module")
def undisturbed(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A job's folder after a training that nobody disturbed."""
    folder = tmp_path_factory.mktemp("undisturbed") / "job"
    write_job(folder, base, chats(40), chats(6, start=90), n_epochs=5, batch_size=2)
    assert start_trainer(folder).wait() == 0
    return folder


def _steps(folder: Path, count: int) -> None:
    """Wait until a log tells of so many steps."""
    ends = time.monotonic() + 60
    while len(log_of(folder, "step")) < count:
        assert time.monotonic() < ends
        time.sleep(0.005)


def _again(undisturbed: Path, folder: Path) -> Path:
    """A folder of the same job."""
    folder.mkdir()
    for name in ("spec.json", "training.jsonl", "validation.jsonl"):
        (folder / name).write_bytes((undisturbed / name).read_bytes())
    return folder


def _result(folder: Path) -> bytes:
    last = log_of(folder, "checkpoint")[-1]["folder"]
    return (folder / last / "adapter_model.safetensors").read_bytes()


def test_a_training_tells_its_plan_its_steps_its_checkpoints_and_its_end(undisturbed):
    kinds = [line["kind"] for line in log_of(undisturbed)]
    steps = log_of(undisturbed, "step")
    ends = log_of(undisturbed, "checkpoint")

    assert kinds[0] == "plan"
    assert kinds[-1] == "succeeded"
    assert [line["step"] for line in steps] == list(range(1, 101))
    assert [line["step"] for line in ends] == [20, 40, 60, 80, 100]
    assert {"valid_loss", "full_valid_loss"} <= steps[19]["metrics"].keys()
    assert steps[-1]["finish_at"] - steps[-1]["at"] in (0, 1)


def test_the_last_three_checkpoints_are_kept(undisturbed):
    kept = {path.name for path in (undisturbed / "checkpoints").iterdir()}

    assert kept == {"step-60", "step-80", "step-100"}


def test_a_killed_training_goes_on_to_the_same_losses_and_weights(undisturbed, tmp_path):
    folder = _again(undisturbed, tmp_path / "killed")
    for steps in (15, 50, 83):
        trainer = start_trainer(folder, "--keep-seconds", "0.05")
        _steps(folder, steps)
        trainer.process.kill()
        assert trainer.wait() == -signal.SIGKILL

    assert start_trainer(folder).wait() == 0

    assert curve(folder) == curve(undisturbed)
    assert curve(folder, "full_valid_loss") == curve(undisturbed, "full_valid_loss")
    assert _result(folder) == _result(undisturbed)
    assert len(log_of(folder, "plan")) == 1
    assert len(log_of(folder, "step")) < 190


def test_a_stopped_training_keeps_its_state_and_asks_to_be_started_again(undisturbed, tmp_path):
    folder = _again(undisturbed, tmp_path / "stopped")
    trainer = start_trainer(folder)
    _steps(folder, 30)

    trainer.process.terminate()

    assert trainer.wait() == command.INTERRUPTED
    told = len(log_of(folder, "step"))
    assert start_trainer(folder).wait() == 0
    assert log_of(folder, "step")[told]["step"] == told + 1
    assert _result(folder) == _result(undisturbed)


def test_what_was_half_written_is_not_taken(undisturbed, tmp_path):
    folder = _again(undisturbed, tmp_path / "half")
    (folder / "log.jsonl").write_bytes(b'{"kind": "message", "at": 1}\n{"kind": "st')
    (folder / "state").mkdir()
    (folder / "state" / "resume.safetensors").write_bytes(b"\x08\x00\x00")
    (folder / "checkpoints" / ".step-20.part").mkdir(parents=True)

    assert start_trainer(folder).wait() == 0

    first, second = log_of(folder, "message")
    assert first == {"kind": "message", "at": 1}
    assert "from the beginning" in second["message"]
    assert curve(folder) == curve(undisturbed)


def test_one_process_trains_in_a_folder(base, tmp_path):
    folder = write_job(tmp_path / "job", base, chats(40), n_epochs=50, batch_size=1)
    first = start_trainer(folder)
    _steps(folder, 1)

    second = start_trainer(folder).wait()

    first.process.terminate()
    assert first.wait() == command.INTERRUPTED
    assert second == command.BUSY


def test_a_training_that_has_ended_is_not_done_again(undisturbed):
    before = log_of(undisturbed)

    assert start_trainer(undisturbed).wait() == 0

    assert log_of(undisturbed) == before


def test_preferences_are_resumed_with_the_reference_they_began_with(base, tmp_path):
    whole = write_job(
        tmp_path / "whole", base, preferences(40), method="dpo", n_epochs=2, batch_size=2
    )
    folder = write_job(
        tmp_path / "killed", base, preferences(40), method="dpo", n_epochs=2, batch_size=2
    )
    assert start_trainer(whole).wait() == 0
    trainer = start_trainer(folder, "--keep-seconds", "0.05")
    _steps(folder, 22)
    trainer.process.kill()
    trainer.wait()

    assert start_trainer(folder).wait() == 0

    assert curve(folder) == curve(whole)
    assert _result(folder) == _result(whole)


@pytest.mark.parametrize(
    ("lines", "code", "words"),
    [
        (chats(3), "invalid_n_examples", "Training file has 3 example(s), but must have at"),
        ([*chats(12), {"no": 1}], "invalid_training_file", "failed. Line 13: it has no"),
        (preferences(10), "invalid_training_file", "Line 1: it is a preference, which only"),
    ],
    ids=["few", "unknown", "preference"],
)
def test_data_at_fault_fail_the_job(base, tmp_path, lines, code, words):
    folder = write_job(tmp_path / "job", base, lines)

    status = command.main([str(folder)])

    (told,) = log_of(folder)
    assert status == 0
    assert (told["kind"], told["code"], told["param"]) == ("failed", code, "training_file")
    assert told["message"].startswith("Training data validation failed. ")
    assert words in told["message"]


@pytest.mark.parametrize(
    ("validation", "batch_size"),
    [([], 2), (chats(5, start=90), 20)],
    ids=["while learning", "while judging"],
)
def test_a_loss_that_is_no_number_fails_the_job(base, tmp_path, validation, batch_size):
    """The whole data in one step: what it did to the weights is seen by the validation first."""
    folder = write_job(
        tmp_path / "job",
        base,
        chats(20),
        validation,
        n_epochs=3,
        batch_size=batch_size,
        learning_rate_multiplier=1e30,
    )

    command.main([str(folder)])

    told = log_of(folder)[-1]
    assert (told["kind"], told["code"]) == ("failed", "training_diverged")
    assert "learning_rate_multiplier is 1e+30" in told["message"]


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors"])
def test_a_model_that_cannot_be_read_fails_the_job(base, tmp_path, name):
    broken = tmp_path / "base"
    (broken / "hf").mkdir(parents=True)
    for path in (base / "hf").iterdir():
        (broken / "hf" / path.name).write_bytes(path.read_bytes() if path.name != name else b"{")
    folder = write_job(tmp_path / "job", broken, chats(10))

    command.main([str(folder)])

    told = log_of(folder)[-1]
    assert (told["kind"], told["code"], told["param"]) == ("failed", "invalid_model", "model")


def test_the_adapter_is_one_that_peft_reads(undisturbed):
    folder = undisturbed / "checkpoints" / "step-100"

    config = json.loads((folder / "adapter_config.json").read_text())

    assert config["peft_type"] == "LORA"
    assert config["target_modules"] == sorted(config["target_modules"])
    assert {"q_proj", "down_proj"} <= set(config["target_modules"])
    assert "/" not in config["base_model_name_or_path"]
