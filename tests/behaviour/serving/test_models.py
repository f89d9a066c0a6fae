"""`linarite models` as its users run it."""

import shutil
from pathlib import Path

import pytest
from tests.support.embedded import models_folder
from tests.support.serving import run_linarite, serving

CHAT = "smollm2-135m-instruct"


@pytest.mark.model
def test_the_list_tells_what_is_there_and_what_can_be_fetched(tmp_path: Path):
    (tmp_path / "models").mkdir()
    shutil.copytree(models_folder() / CHAT, tmp_path / "models" / CHAT, copy_function=_link)

    told = run_linarite("models", "list", LINARITE_MODELS_DIR=str(tmp_path / "models")).stdout

    assert f"{CHAT}  " in told
    assert "linarite models pull" in told.split("all-minilm-l6-v2")[1]


def test_a_removed_model_must_have_been_there(tmp_path: Path):
    run = run_linarite("models", "remove", "nobody", LINARITE_MODELS_DIR=str(tmp_path))

    assert run.returncode == 1
    assert "There is no model 'nobody' here." in run.stderr


def test_what_is_no_model_is_refused_with_what_would_be_one(tmp_path: Path):
    (tmp_path / "notes.txt").write_text("not a model")

    run = run_linarite(
        "models", "add", tmp_path / "notes.txt", LINARITE_MODELS_DIR=str(tmp_path / "models")
    )

    assert run.returncode == 1
    assert "neither a Hugging Face folder, a .gguf file nor a hub id" in run.stderr


@pytest.mark.slow
@pytest.mark.model
def test_a_model_of_the_settings_is_added_at_the_start_and_answers(tmp_path: Path):
    (tmp_path / "linarite.toml").write_text(
        f'[[models]]\nid = "mine"\npath = "{models_folder() / CHAT / "hf"}"\n'
    )

    with serving(tmp_path) as server:
        told = server.get("/openai/models/mine?api-version=2025-02-01-preview").json()

    assert told["capabilities"]["chat_completion"] is True


def _link(source: str, target: str) -> None:
    Path(target).hardlink_to(source)
