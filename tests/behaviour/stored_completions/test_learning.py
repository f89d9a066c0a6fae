"""What an export makes is learned from: its lines go to the trainer as they came."""

from pathlib import Path

import pytest
from tests.support.server import running_server
from tests.support.stored import export, made, put
from tests.support.tiny_models import tiny_config, write_tiny_model
from tests.support.training_jobs import log_of, start_trainer, write_job

TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
OLDER = {"name": "f", "arguments": '{"a": 1}'}
ASKED = [
    {"role": "user", "content": "Look it up."},
    {"role": "assistant", "content": None, "function_call": OLDER},
    {"role": "function", "name": "f", "content": "Nothing."},
]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base")
    write_tiny_model(folder / "hf", tiny_config(model_type="llama"))
    return folder


@pytest.mark.parametrize("method", ["supervised", "dpo"])
def test_an_export_of_text_and_calls_is_learned(base, tmp_path, method):
    with running_server(tmp_path / "data") as server, server.client() as http:
        for run in ("good", "bad"):
            said = [made(f"{run} {n}", f"{n}?", metadata={"run": run}) for n in range(9)]
            call = {"content": None, "function_call": {**OLDER, "arguments": f'{{"a": "{run}"}}'}}
            called = made(call, ASKED, finish="function_call", tools=[TOOL], metadata={"run": run})
            put(server.built, "default", *said, called)
        good, bad = ({"metadata": {"run": run}} for run in ("good", "bad"))
        sides = {"preferred": good, "non_preferred": bad}
        _, lines = export(server, http, **(sides if method == "dpo" else good))
    folder = write_job(tmp_path / "job", base, lines, method=method, n_epochs=1, batch_size=5)

    assert len(lines) == 10
    assert start_trainer(folder).wait() == 0
    assert len(log_of(folder, "step")) == 2
    assert log_of(folder)[-1]["kind"] == "succeeded"
