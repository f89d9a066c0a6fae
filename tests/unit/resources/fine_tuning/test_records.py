"""What tuned models and checkpoints are called, and where epochs end."""

from dataclasses import replace

import pytest

from linarite.resources.fine_tuning.records import CheckpointRecord, JobRecord, job_in, tuned_name
from linarite.wire.fine_tuning import FineTuningMethodType
from linarite.wire.models import FineTuningState

HEX = "966a5a930e6d4404884f52441e7688c8"
JOB = JobRecord(
    seq=1,
    id=f"ftjob-{HEX}",
    resource="default",
    status=FineTuningState.RUNNING,
    run=1,
    model="gpt-4.1",
    base_model="gpt-4.1",
    adapter=None,
    method=FineTuningMethodType.SUPERVISED,
    hyperparameters={"n_epochs": 3, "batch_size": 1, "learning_rate_multiplier": 2.0},
    seed=105,
    suffix=None,
    integrations=None,
    training_file_id="file-1",
    training_blob_id=None,
    validation_file_id=None,
    validation_blob_id=None,
    result_file_id=None,
    fine_tuned_model=None,
    steps=120,
    log_id=None,
    log_position=0,
    trained_tokens=None,
    error=None,
    created_at=1,
    finished_at=None,
    estimated_finish=None,
)


def test_a_tuned_model_is_called_by_its_base_its_job_and_its_suffix():
    assert tuned_name("gpt-4.1", JOB.id, None) == f"gpt-4.1.ft-{HEX}"
    assert tuned_name("gpt-4.1", JOB.id, "mine-2") == f"gpt-4.1.ft-{HEX}-mine-2"


@pytest.mark.parametrize("suffix", ["", "-mine", "-a-b_c"])
@pytest.mark.parametrize("step", ["", ":ckpt-step-80"])
def test_the_job_is_read_off_the_name(suffix, step):
    assert job_in(f"some/base:v1.ft-{HEX}{suffix}{step}") == JOB.id


@pytest.mark.parametrize("name", ["gpt-4.1", f"x.ft-{HEX[:-1]}", f"x.ft-{HEX} y", "ftchkpt-1", ""])
def test_other_names_speak_of_no_job(name):
    assert job_in(name) is None


def test_the_last_checkpoint_of_a_finished_job_is_its_model():
    last = CheckpointRecord("ftchkpt-1", 120, {}, {}, 1)
    older = replace(last, step=80)
    done = replace(JOB, fine_tuned_model=JOB.tuned_model)

    assert last.name(JOB) == f"gpt-4.1.ft-{HEX}:ckpt-step-120"
    assert last.name(done) == f"gpt-4.1.ft-{HEX}"
    assert older.name(done) == f"gpt-4.1.ft-{HEX}:ckpt-step-80"


def test_epochs_end_where_the_plan_says():
    assert [step for step in range(1, 121) if JOB.ends_epoch(step)] == [40, 80, 120]
    assert not replace(JOB, steps=None).ends_epoch(40)
