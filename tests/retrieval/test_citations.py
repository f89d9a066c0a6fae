"""Whether answers cite the document that has the answer, and none where no document has it."""

import json

import openai
import pytest
from tests.retrieval.conftest import MUSEUM, citations

pytestmark = [pytest.mark.slow, pytest.mark.model, pytest.mark.timeout(300)]

QUESTIONS = json.loads((MUSEUM / "ingest_questions.json").read_text())


def cited(client: openai.OpenAI, museum: str, question: str) -> list[str]:
    """The documents that the answer to a question cites, the best first."""
    return [citation["filepath"] for citation in citations(client, museum, question)]


def test_answers_cite_the_document_that_has_the_answer(client, museum):
    asked = QUESTIONS["documents"]
    assert len(asked) == 20

    found = [(each["document"], cited(client, museum, each["question"])) for each in asked]

    right = sum(document in documents for document, documents in found)
    first = sum(documents[:1] == [document] for document, documents in found)
    print(f"{right} of 20 cite the document, {first} before all others")  # noqa: T201
    assert right >= 16, found


@pytest.mark.parametrize("question", QUESTIONS["unanswered"])
def test_what_no_document_answers_cites_none(question, client, museum):
    assert cited(client, museum, question) == []
