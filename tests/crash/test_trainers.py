"""Real trainers, their worker and the whole server die at every moment of a job: none is noticed.

Nobody is killed before the job's folder and rows show the moment that is meant; what comes out is
compared, bit for bit, with trainings that nobody disturbed.
"""

import io
import json
import os
import signal
import subprocess
import sys
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest
import sqlalchemy as sa
from tests.support.crashing import Crashing, client_of, told_of_success
from tests.support.files import until
from tests.support.serving import Serving, serving
from tests.support.trainers import Sight, Trainer
from tests.support.training_jobs import chats, log_of, preferences, write_job
from tests.support.tuning import (
    a_job,
    a_training_file,
    checkpoints_of,
    content_of,
    events_of,
    job_now,
    tiny_base,
)

from linarite.resources.fine_tuning import results
from linarite.storage.tables import fine_tuning_checkpoints, fine_tuning_jobs
from linarite.wire.fine_tuning import FineTuningMethodType

pytestmark = [pytest.mark.crash, pytest.mark.timeout(600)]

EXAMPLES, BATCH, EPOCHS, SEED = 12, 4, 12, 7
STEPS = EXAMPLES // BATCH
LAST = EPOCHS * STEPS
WISHES = {"n_epochs": EPOCHS, "batch_size": BATCH}
MANY_FILES = 5_000
TRAINER = [sys.executable, "-m", "linarite.training"]
CONFIG = f"""
[fine_tuning]
running = 2
at_once = 2
command = {json.dumps([*TRAINER, "--keep-seconds", "0.05"])}
"""


class Site:
    """A server that comes back when it was killed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stack = ExitStack()
        self.fell: Counter[str] = Counter()
        (folder / "linarite.toml").write_text(CONFIG)
        self.running = self._start()
        self.data = self.running.data
        self.database = sa.create_engine(f"sqlite:///{self.data / 'linarite.sqlite3'}")

    def _start(self) -> Serving:
        config, models = str(self._folder / "linarite.toml"), str(self._folder / "models")
        started = serving(self._folder / "serving", "--config", config, LINARITE_MODELS_DIR=models)
        return self._stack.enter_context(started)

    def kill_everything(self) -> None:
        """Kill -9 all processes of the server, but not its trainers."""
        pids = [self.running.process.pid, *self.running.processes().values()]
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        self.running.process.wait()

    def start_again(self) -> None:
        """Start another server in the place of the one that was killed."""
        (self._folder / "serving" / "ready.json").unlink()
        self.running = self._start()

    def has_checkpoint(self, job_id: str, step: int) -> bool:
        """Whether a row tells of it."""
        query = (
            sa.select(fine_tuning_checkpoints.c.step)
            .join(fine_tuning_jobs, fine_tuning_jobs.c.seq == fine_tuning_checkpoints.c.job)
            .where(fine_tuning_jobs.c.id == job_id, fine_tuning_checkpoints.c.step == step)
        )
        with self.database.connect() as connection:
            return connection.execute(query).first() is not None

    def status(self, job_id: str) -> str:
        """The job's, as its row tells."""
        query = sa.select(fine_tuning_jobs.c.status).where(fine_tuning_jobs.c.id == job_id)
        with self.database.connect() as connection:
            return str(connection.execute(query).scalar_one())

    def close(self) -> None:
        self.database.dispose()
        self._stack.close()


Plot = Callable[[Site, Trainer, str], None]


def a_trainer_that_prepares(_: Site, trainer: Trainer, __: str) -> None:
    trainer.wait_for(lambda seen: "log.jsonl" in seen.names)
    trainer.kill_at(lambda seen: not seen.told)


def a_trainer_between_steps(_: Site, trainer: Trainer, __: str) -> None:
    trainer.wait_for(lambda seen: seen.step > 2)
    seen = trainer.kill_at(lambda seen: not seen.is_writing and seen.told[-1]["kind"] == "step")
    assert seen.step < LAST


def a_trainer_that_writes_a_state(_: Site, trainer: Trainer, __: str) -> None:
    trainer.wait_for(lambda seen: seen.step > 2)
    trainer.kill_at(lambda seen: "state/.resume.safetensors.part" in seen.names)


def a_trainer_that_writes_a_checkpoint(_: Site, trainer: Trainer, __: str) -> None:
    trainer.wait_for(lambda seen: "checkpoints" in seen.names)
    seen = trainer.kill_at(lambda seen: any("/.step-" in name for name in seen.names))
    assert seen.step < LAST


def a_trainer_that_has_not_told_its_checkpoint(_: Site, trainer: Trainer, __: str) -> None:
    """It drops the oldest checkpoint before it tells the newest, which takes as long as we like."""

    def is_untold(seen: Sight) -> bool:
        there = f"checkpoints/step-{3 * STEPS}" in seen.names
        return there and not seen.tells("checkpoint", 3 * STEPS)

    trainer.wait_for(lambda seen: "log.jsonl" in seen.names)
    oldest = trainer.folder / "checkpoints/step-1"
    oldest.mkdir(parents=True)
    for number in range(MANY_FILES):
        (oldest / str(number)).touch()
    trainer.wait_for(lambda seen: seen.tells("checkpoint", STEPS))
    trainer.kill_at(is_untold)


def a_worker_before_the_row_of_a_checkpoint(site: Site, trainer: Trainer, job_id: str) -> None:
    crashing = Crashing(site.running)
    with before_the_row(site, trainer, job_id):
        crashing.kill("worker", "row")
    crashing.recover()


def a_server_before_the_row_of_a_checkpoint(site: Site, trainer: Trainer, job_id: str) -> None:
    with before_the_row(site, trainer, job_id):
        site.kill_everything()
    site.start_again()


@contextmanager
def before_the_row(site: Site, trainer: Trainer, job_id: str) -> Iterator[None]:
    """While a checkpoint is told in the log, and its row cannot be written."""
    trainer.wait_for(lambda seen: bool(seen.told))
    with ExitStack() as stack:
        with trainer.held_at(lambda seen: seen.tells("checkpoint", STEPS)) as seen:
            stack.enter_context(Crashing(site.running).nobody_writes())
            wanted = (seen.step // STEPS + 1) * STEPS
        trainer.wait_for(lambda seen: seen.tells("checkpoint", wanted))
        assert not site.has_checkpoint(job_id, wanted)
        yield


def a_worker_that_registers_the_model(site: Site, trainer: Trainer, job_id: str) -> None:
    model = site.data / "tuned" / f"tiny.ft-{job_id.removeprefix('ftjob-')}"
    crashing = Crashing(site.running)
    trainer.wait_for(lambda seen: bool(seen.told))
    with ExitStack() as stack:
        with trainer.held_at(lambda seen: seen.tells("checkpoint", LAST)):
            until(lambda: site.has_checkpoint(job_id, LAST), "it has its row", 60)
            stack.enter_context(crashing.nobody_writes())
        until(model.exists, "the model's folder is there", 60)
        assert site.status(job_id) == "running"
        crashing.kill("worker", "registration")
    crashing.recover()
    assert trainer.folder.exists()


def a_server_with_its_trainer(site: Site, trainer: Trainer, job_id: str) -> None:
    trainer.wait_for(lambda seen: bool(seen.told))
    assert trainer.kill_at(lambda seen: seen.step > 2 and not seen.is_writing).step < LAST
    assert site.status(job_id) == "running"
    site.kill_everything()
    site.start_again()


AGAINST_TRAINERS: list[tuple[str, Plot]] = [
    ("supervised", a_trainer_that_prepares),
    ("supervised", a_trainer_between_steps),
    ("supervised", a_trainer_that_writes_a_state),
    ("supervised", a_trainer_that_writes_a_checkpoint),
    ("supervised", a_trainer_that_has_not_told_its_checkpoint),
    ("dpo", a_trainer_between_steps),
]
AGAINST_THE_SERVER: list[tuple[str, Plot]] = [
    ("supervised", a_worker_before_the_row_of_a_checkpoint),
    ("supervised", a_worker_that_registers_the_model),
    ("supervised", a_server_with_its_trainer),
    ("dpo", a_server_before_the_row_of_a_checkpoint),
]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The job folder of a training of each method that nobody disturbed."""
    folder = tmp_path_factory.mktemp("undisturbed")
    base = tiny_base(folder / "models").folder
    made = {
        method: write_job(
            folder / method, base, lines(EXAMPLES), lines(6, start=90),
            method=method, seed=SEED, **WISHES,
        )
        for method, lines in (("supervised", chats), ("dpo", preferences))
    }  # fmt: skip
    running = [subprocess.Popen([*TRAINER, str(job)]) for job in made.values()]
    assert [process.wait(100) for process in running] == [0, 0]
    return made


@pytest.fixture
def site(tmp_path: Path, undisturbed: dict[str, Path]):
    (tmp_path / "models").symlink_to(undisturbed["dpo"].parent / "models")
    one = Site(tmp_path)
    yield one
    one.close()


def create(client: httpx.Client, job: Path, method: str) -> str:
    training, validation = (
        a_training_file(client, (job / f"{name}.jsonl").read_bytes())
        for name in ("training", "validation")
    )
    asked = {"type": method, method: {"hyperparameters": WISHES}}
    return a_job(
        client, training_file=training, validation_file=validation, method=asked, seed=SEED
    )["id"]


def carry_out(plot: Plot, site: Site, job_id: str) -> None:
    plot(site, Trainer.of(site.data, job_id), job_id)
    site.fell[plot.__name__] += 1


def check_same(client: httpx.Client, job_id: str, undisturbed: Path, method: str) -> None:
    """Steps, events, checkpoints and weights are those of the undisturbed training, each once."""
    job = job_now(client, job_id)
    assert job["status"] == "succeeded", job
    [file_id] = job["result_files"]
    steps = [(line["step"], line["metrics"]) for line in log_of(undisturbed, "step")]
    wanted = b"".join(results.lines(FineTuningMethodType(method), steps)).decode()
    assert content_of(client, file_id) == wanted
    told = [event["message"].partition(":")[0] for event in events_of(client, job_id)]
    ends = [STEPS * epoch for epoch in range(1, EPOCHS + 1)]
    assert told == told_of_success(sorted({*ends, *range(10, LAST + 1, 10)}))
    made = checkpoints_of(client, job_id)
    assert [one["step_number"] for one in made] == ends[:-4:-1]
    for one in made:
        name, step = one["fine_tuned_model_checkpoint"], one["step_number"]
        content = client.get(f"/openai/fine_tuning/models/{name}/content").content
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for file in ("adapter_config.json", "adapter_model.safetensors"):
                same = (undisturbed / f"checkpoints/step-{step}" / file).read_bytes()
                assert archive.read(file) == same, (step, file)


def test_real_trainings_come_to_the_same_bits_whoever_dies_whenever(site, undisturbed):
    made: list[tuple[str, str]] = []

    def new_job(method: str) -> str:
        with client_of(site.running) as client:
            made.append((create(client, undisturbed[method], method), method))
        return made[-1][0]

    with ThreadPoolExecutor(len(AGAINST_TRAINERS)) as pool:
        plots = [
            pool.submit(carry_out, plot, site, new_job(method)) for method, plot in AGAINST_TRAINERS
        ]
        for method, plot in AGAINST_THE_SERVER:
            carry_out(plot, site, new_job(method))
    for plot in plots:
        plot.result()
    commands = site.data / "commands"
    until(lambda: not any(commands.iterdir()), "every job is over and tidied up", 200)

    wanted = AGAINST_TRAINERS + AGAINST_THE_SERVER
    assert site.fell == Counter(plot.__name__ for _, plot in wanted)
    with client_of(site.running) as client:
        for job_id, method in made:
            check_same(client, job_id, undisturbed[method], method)
    assert list((site.data / "fine-tuning").iterdir()) == []
    crashing = Crashing(site.running)
    crashing.sweep()
    assert crashing.whole_objects() == crashing.named_objects()
    print("killed:", dict(site.fell))  # noqa: T201
