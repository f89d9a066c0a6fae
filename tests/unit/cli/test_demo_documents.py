"""The documents, pages and questions that the demo of ingestion ships."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

import linarite.cli
from linarite.indexing.cracking.cracked import File
from linarite.indexing.cracking.cracker import Cracker

DATA = Path(linarite.cli.__file__).parent / "demo_data"
QUESTIONS = json.loads((DATA / "ingest_questions.json").read_text())
ANSWERED = [
    *(("ingest", each) for each in QUESTIONS["documents"]),
    *(("site", each) for each in QUESTIONS["site"]),
]


@pytest.fixture(scope="module")
def texts() -> Iterator[dict[str, str]]:
    with Cracker() as cracker:
        yield {
            f"{folder}/{path.name}": cracker.crack([File(path, path.name)])[0].text
            for folder in ("ingest", "site")
            for path in sorted((DATA / folder).iterdir())
        }


def test_there_is_a_document_of_each_format():
    suffixes = sorted(path.suffix for path in (DATA / "ingest").iterdir())

    assert suffixes == sorted(
        [".txt", ".md", ".html", ".pdf", ".docx", ".pptx", ".xlsx", ".csv", ".json"]
    )
    assert len(QUESTIONS["documents"]) == 20


@pytest.mark.parametrize(
    ("folder", "asked"), ANSWERED, ids=[asked["answer"] for _, asked in ANSWERED]
)
def test_the_document_that_is_named_answers_the_question(texts, folder, asked):
    assert asked["answer"] in texts[f"{folder}/{asked['document']}"]


def test_every_document_answers_a_question(texts):
    named = {f"{folder}/{asked['document']}" for folder, asked in ANSWERED}

    assert set(texts) - named == {"site/index.html"}
