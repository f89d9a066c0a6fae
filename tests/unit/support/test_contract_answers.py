"""Answers are held against the contract in every test, and what a run saw is put together."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.support.contract_answers import ContractAnswers
from tests.support.recording import Answer

ROOT = Path(__file__).parents[3]
JSON = {"content-type": "application/json"}
NOT_FOUND = b'{"error":{"code":"notFound","message":"There is no such file."}}'
DELETED = b'{"object":"file","id":"file-1","deleted":true}'

PLUGIN = 'pytest_plugins = ["tests.support.contract_plugin"]\n'
TESTS = """
import pytest
from tests.support.contract_answers import ANSWERS
from tests.support.recording import Answer

JSON = {"content-type": "application/json"}

@pytest.mark.parametrize("turn", range(4))
def test_good(turn):
    body = b'{"error":{"code":"notFound","message":"There is no such file."}}'
    ANSWERS.note(Answer("GET", "/openai/files/x", 404, JSON, bytearray(body), True))

def test_bad():
    ANSWERS.note(Answer("GET", "/openai/files/x", 200, JSON, bytearray(b"{}"), True))
"""


def answer(method: str, path: str, status: int, body: bytes) -> Answer:
    return Answer(method, path, status, JSON, bytearray(body), True)


def test_a_good_answer_has_no_fault_and_its_values_are_seen():
    answers = ContractAnswers()

    answers.note(answer("GET", "/openai/files/file-1", 404, NOT_FOUND))
    answers.note(answer("DELETE", "/openai/v1/files/file-1", 200, DELETED))

    assert answers.take_faults() == []
    assert answers.seen >= {
        ("ErrorCode", "notFound", "GET"),
        ("operation", "Files_Delete", "DELETE"),
    }


def test_a_fault_names_the_request_and_is_told_once():
    answers = ContractAnswers()

    answers.note(answer("GET", "/openai/files/file-1", 200, DELETED))

    faults = answers.take_faults()
    assert faults
    assert all(fault.startswith("GET /openai/files/file-1 → 200: ") for fault in faults)
    assert answers.take_faults() == []


@pytest.mark.parametrize(
    ("path", "is_good"),
    [
        ("/openai/deployments/chat/chat/completions", True),
        ("/openai/v1/embeddings", True),
        ("/openai/nowhere", False),
    ],
)
def test_only_inference_may_refuse_in_the_form_of_openai(path, is_good):
    answers = ContractAnswers()

    answers.note(
        answer("POST", path, 400, b'{"error":{"message":"m","type":"t","param":null,"code":null}}')
    )

    assert (answers.take_faults() == []) is is_good


def test_what_nobody_saw_is_named():
    answers = ContractAnswers()

    answers.note(answer("GET", "/openai/files/file-1", 404, NOT_FOUND))

    assert "ErrorCode notFound" not in answers.unseen()
    assert {"ErrorCode quotaExceeded", "FileState running over GET"} <= set(answers.unseen())


def run_tests(folder: Path, content: str, *options: str) -> "subprocess.CompletedProcess[str]":
    (folder / "conftest.py").write_text(PLUGIN)
    (folder / "test_answers.py").write_text(content)
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *options, folder],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_test_that_ends_its_worker_is_named(tmp_path):
    dies = "import os\n\ndef test_that_dies():\n    os._exit(1)\n\ndef test_good():\n    pass\n"

    run = run_tests(tmp_path, dies, "-n", "1")

    assert "1 failed, 1 passed" in run.stdout
    assert "crashed while running 'test_answers.py::test_that_dies'" in run.stdout


@pytest.mark.parametrize("processes", ["0", "2"])
def test_a_run_fails_for_a_faulty_answer_and_for_what_it_did_not_see(tmp_path, processes):
    run = run_tests(tmp_path, TESTS, "--whole-contract", "-n", processes)

    assert run.returncode == 1
    assert "1 failed, 4 passed" in run.stdout
    assert "Answers that break the contract:" in run.stdout
    assert "FileState running over GET" in run.stdout
    assert "ErrorCode notFound" not in run.stdout
