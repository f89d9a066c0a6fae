"""What CI users rely on: the pytest plugin and the example workflow."""

import os
import subprocess
import sys
from pathlib import Path

import yaml

_ROOT = Path(__file__).parents[3]
_TEST = """
import openai

def test_the_fixture_gives_a_client(linarite):
    client = linarite.client()
    assert isinstance(client, openai.AzureOpenAI)
    assert client.files.list().data == []

def test_it_is_one_server_a_session(linarite):
    assert linarite.environment["AZURE_OPENAI_ENDPOINT"] == linarite.endpoint
"""


def test_the_plugin_gives_a_server_that_ends_with_the_session(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(_TEST)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)]

    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=90)

    assert "2 passed" in done.stdout, done.stdout + done.stderr


def test_the_example_workflows_server_step_runs(tmp_path: Path) -> None:
    workflow = yaml.safe_load((_ROOT / "docs/examples/github-actions.yml").read_text())
    scripts = [step["run"] for step in workflow["jobs"]["test"]["steps"] if "run" in step]
    script = next(script for script in scripts if "linarite serve" in script)
    tests = tmp_path / "run-my-tests.sh"
    tests.write_text('#!/bin/sh\necho "tested $AZURE_OPENAI_ENDPOINT $OPENAI_API_VERSION"\n')
    tests.chmod(0o755)
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"

    done = subprocess.run(
        ["bash", "-ec", script],
        cwd=tmp_path,
        env={"PATH": path, "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=90,
    )

    assert "tested http://127.0.0.1:" in done.stdout, done.stdout + done.stderr
    assert "2025-02-01-preview" in done.stdout
