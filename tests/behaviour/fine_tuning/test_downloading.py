"""Tuned models as files that other programs read."""

import io
import json
import os
import zipfile

import pytest
from tests.support.files import error_of
from tests.support.tuning import a_job, checkpoints_of, ended

from linarite.resources.fine_tuning.service import FineTuning

pytestmark = pytest.mark.usefixtures("working")


@pytest.fixture
def models(client, script) -> list[str]:
    """The names of a job's model and of the checkpoint before it."""
    script.set(epochs=2, steps_per_epoch=1)
    job = ended(client, a_job(client)["id"])
    return [one["fine_tuned_model_checkpoint"] for one in checkpoints_of(client, job["id"])]


def content(client, name: str, **query: str):
    return client.get(f"/openai/fine_tuning/models/{name}/content", params=query)


def unzipped(answer) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_an_adapter_is_what_training_made(client, script, models, tmp_path):
    made = {path.name: path.read_bytes() for path in (tmp_path / "tuning/adapter").iterdir()}

    for name in models:
        answer = content(client, name)

        assert unzipped(answer) == made
        filename = name.replace(":", "-") + ".zip"
        assert answer.headers["content-disposition"] == f'attachment; filename="{filename}"'


def test_a_merged_model_is_a_whole_folder(client, models):
    files = unzipped(content(client, models[1], form="merged"))

    assert {"config.json", "model.safetensors", "tokenizer.json"} <= set(files)
    assert json.loads(files["config.json"])["num_hidden_layers"] == 2


def test_folders_of_no_model_are_swept_once_they_are_old(client, models, server):
    tuned = server.built.parts[FineTuning].tuned
    content(client, models[1], form="merged")
    there = {path.name for path in tuned.folder.iterdir()}
    for name in (".download-1", "gone.ft-1", ".adapter-young"):
        (tuned.folder / name).mkdir()
    for path in tuned.folder.iterdir():
        os.utime(path, (0, 0) if path.name != ".adapter-young" else None)

    tuned.sweep(older_than_seconds=3600)

    assert {path.name for path in tuned.folder.iterdir()} == {*there, ".adapter-young"}


def test_nothing_of_a_download_is_left(client, models, server):
    content(client, models[0], form="merged")

    left = [path.name for path in (server.settings.data / "tuned").iterdir()]
    assert [name for name in left if name.startswith((".download", ".adapter"))] == []


def test_what_is_not_there_is_not_found(client, models, server):
    assert error_of(content(client, "tiny"))[:2] == (404, "notFound")
    assert error_of(content(client, models[0], form="onnx"))[:2] == (400, "invalidPayload")
    with server.client(key=server.add_key("other")) as other:
        assert content(other, models[0]).status_code == 404
