"""Another machine goes on with a job: it has the rows, and nothing of the training."""

import shutil

import httpx
from tests.support.files import until
from tests.support.tuning import a_job, checkpoints_of, ended, messages_of

LONG = "Training data: 1 of 10 texts were longer than 512 tokens and were truncated."


def _steps(client: httpx.Client, job: str) -> list[int]:
    return [one["step_number"] for one in checkpoints_of(client, job)]


def test_a_training_that_begins_anew_changes_nothing_that_was_told(client, script, server):
    script.set(epochs=5, steps_per_epoch=4, wait_at=17, messages=[["warning", LONG]])
    job = a_job(client)["id"]
    with server.working():
        until(lambda: _steps(client, job) == [16, 12, 8], "four epochs are told")
    before = checkpoints_of(client, job)
    for folder in ("fine-tuning", "commands"):
        shutil.rmtree(server.settings.data / folder)
    script.set(epochs=5, steps_per_epoch=4, messages=[["warning", LONG]])

    with server.working():
        assert ended(client, job)["status"] == "succeeded"
        until(lambda: not list((server.settings.data / "commands").iterdir()), "all is tidy")

    after = checkpoints_of(client, job)
    assert _steps(client, job) == [20, 16, 12]
    assert [one["id"] for one in after[1:]] == [one["id"] for one in before[:2]]
    told = [message.partition(":")[0] for message in messages_of(client, job)]
    assert len(told) == len(set(told))
