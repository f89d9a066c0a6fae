"""`linarite demo --ingest`: what it shows, and that what it prints to go on with works."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.embedded import CHAT, EMBEDDING, models_folder, pulled
from tests.support.serving import run_linarite

from linarite.cli.demo_ingestion import QUESTIONS, SEARCH
from linarite.resources.inference.cited import NOT_AVAILABLE


def demo(data: Path, *options: str) -> "subprocess.CompletedProcess[str]":
    given = ("demo", "--ingest", "--data", data, "--port", "0", *options)
    models = {"LINARITE_MODELS_DIR": str(models_folder())}
    return run_linarite(*given, cwd=data.parent, within_seconds=120, **models)


def sections(shown: str) -> tuple[str, str, str]:
    """What is shown of the folder, of the site and of the questions."""
    folder, site, questions = re.split(r"^(?:Site|Questions)\b", shown, flags=re.MULTILINE)
    return folder, site, questions


@pytest.fixture
def kept() -> Iterator[list[int]]:
    """Servers that a test had left up; they end with it."""
    pids: list[int] = []
    yield pids
    for pid in pids:
        os.kill(pid, signal.SIGTERM)


@pytest.mark.model
@pytest.mark.timeout(240)
@pytest.mark.xdist_group("the port of the demo's site")
def test_documents_and_pages_are_ingested_once_and_asked(tmp_path: Path, kept: list[int]):
    pulled(CHAT)
    pulled(EMBEDDING)
    data = tmp_path / "data"

    first = demo(data, "--keep")
    kept.extend(map(int, re.findall(r"kill (\d+)", first.stdout)))
    second = demo(data)

    assert (first.returncode, second.returncode) == (0, 0), first.stdout + second.stdout
    folder, site, questions = sections(first.stdout)
    assert "9 documents, 87 chunks in" in folder
    assert "5 documents, 14 chunks in" in site
    assert questions.count("Asked ") == len(QUESTIONS)
    for cited in ("opening-hours.txt", "prices.xlsx", "minerals.csv", "/legend.html", "/cafe.html"):
        assert cited in questions
    unanswered = " ".join(questions.split()).partition(QUESTIONS[-1][1])[2]
    assert unanswered.startswith(f" Answered {NOT_AVAILABLE} Cites none")
    assert "which was up already" in second.stdout
    for part in sections(second.stdout)[:2]:
        assert "all unchanged, nothing embedded" in part
    found = searched(data)
    assert "fluorescence-talk.pptx" in found


def searched(data: Path) -> str:
    """What the program prints that the demo shows at its end."""
    told = run_linarite("env", "--data", data).stdout
    environment = dict(re.findall(r"^export (\w+)=(\S+);$", told, re.MULTILINE))
    program = "\n".join(line[4:] for line in SEARCH.splitlines())
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_demo_of_ingestion_takes_no_options_of_the_others(tmp_path: Path):
    shown = demo(tmp_path / "data", "--dpo")

    assert shown.returncode == 2
    assert "--ingest runs no batch and tunes nothing" in " ".join(shown.stderr.split())
