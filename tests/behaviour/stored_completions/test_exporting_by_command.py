"""`linarite completions export` as its users run it, on a server that the environment names."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from tests.support.server import API_VERSION, Server, running_server
from tests.support.serving import run_linarite
from tests.support.stored import made, put, read


@pytest.fixture(scope="module")
def working(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with a worker, and two runs over three questions."""
    with running_server(tmp_path_factory.mktemp("command") / "data") as server, server.working():
        for run in ("good", "bad"):
            for n in range(3):
                metadata = {"run": run, "question": f"{n}"}
                put(server.built, "default", made(f"{run} {n}", f"{n}?", metadata=metadata))
        yield server


@pytest.fixture(scope="module")
def http(working: Server) -> Iterator[httpx.Client]:
    with working.client() as client:
        yield client


def run_export(server: Server, *options: str):
    return run_linarite(
        "completions",
        "export",
        *options,
        AZURE_OPENAI_ENDPOINT=server.url,
        AZURE_OPENAI_API_KEY=server.key,
        OPENAI_API_VERSION=API_VERSION,
    )


def test_the_command_makes_a_file_of_chats(working, http):
    options = ("--metadata", "run=good", "--order", "asc", "--limit", "2", "--filename", "a.jsonl")

    run = run_export(working, *options)

    assert run.returncode == 0, run.stderr
    file, lines = read(http, run.stdout.strip())
    assert file["filename"] == "a.jsonl"
    assert [line["messages"][1]["content"] for line in lines] == ["good 0", "good 1"]
    assert run.stderr.strip() == file["status_details"]


def test_the_command_makes_a_file_of_preferences(working, http):
    sides = ("--preferred", "run=good", "--non-preferred", "run=bad", "--join", "question")

    run = run_export(working, *sides, "--preferred-model", "a-model")

    assert run.returncode == 0, run.stderr
    _, lines = read(http, run.stdout.strip())
    assert [line["preferred_output"][0]["content"] for line in lines] == [
        "good 2",
        "good 1",
        "good 0",
    ]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--metadata", "run"), "'run' is no metadata; write KEY=VALUE."),
        (("--metadata", "a=1", "--metadata", "a=2"), "Nothing has two values of 'a'"),
        (("--join", "a"), "`join` needs `preferred` and `non_preferred`"),
        (("--metadata", "run=none"), "There is nothing to export. Examples: 0, from no"),
    ],
    ids=["no pair", "two values", "refused", "nothing"],
)
def test_the_command_says_why_it_makes_no_file(working, options, told):
    run = run_export(working, *options)

    assert run.returncode == 1
    assert run.stderr.startswith("linarite: ")
    assert told in run.stderr


def test_a_server_that_is_given_goes_before_the_one_that_the_environment_names(
    working, tmp_path: Path
):
    """None runs there; the other one, which has something to export, is not asked."""
    config = tmp_path / "linarite.toml"
    config.write_text(f'data = "{tmp_path / "data"}"\n')

    by_config = run_export(working, "--config", str(config))
    by_data = run_export(working, "--data", str(tmp_path / "data"))

    assert (by_config.returncode, by_data.returncode) == (1, 1)
    told = f"No server runs on {tmp_path / 'data'}."
    assert told in by_config.stderr
    assert told in by_data.stderr


def test_the_command_needs_a_server(tmp_path: Path):
    run = run_linarite("completions", "export", "--data", tmp_path)
    away = run_linarite(
        "completions",
        "export",
        AZURE_OPENAI_ENDPOINT="http://127.0.0.1:9",
        AZURE_OPENAI_API_KEY="a-key",
    )

    assert (run.returncode, away.returncode) == (1, 1)
    assert f"No server runs on {tmp_path}. Start one: linarite serve" in run.stderr
    assert "The server at http://127.0.0.1:9 does not answer" in away.stderr
