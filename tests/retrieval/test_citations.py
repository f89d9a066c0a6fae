"""Whether answers cite the document that has the answer, and none where no document has it."""

import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from tests.retrieval.conftest import CHAT, MUSEUM, ingest
from tests.support.embedded import EMBEDDING
from tests.support.sdk_variants import sdk_client
from tests.support.serving import Serving

pytestmark = [pytest.mark.slow, pytest.mark.model, pytest.mark.timeout(300)]

QUESTIONS = json.loads((MUSEUM / "ingest_questions.json").read_text())


@pytest.fixture(scope="module")
def museum(server: Serving) -> Serving:
    """The server, once it has ingested the documents that the demo ships."""
    ingest(server, "museum", tokens=256)
    return server


@pytest.fixture(scope="module")
def client(museum: Serving) -> Iterator[openai.OpenAI]:
    with sdk_client("azure", museum.ready) as one:
        yield one


def cited(client: openai.OpenAI, server: Serving, question: str) -> list[str]:
    """The documents that the answer to a question cites, the best first."""
    source = {
        "type": "azure_search",
        "parameters": {
            "endpoint": server.endpoint,
            "index_name": "museum-index",
            "query_type": "vector_simple_hybrid",
            "authentication": {"type": "api_key", "key": server.ready["api_key"]},
            "embedding_dependency": {"type": "deployment_name", "deployment_name": EMBEDDING},
        },
    }
    answer = client.chat.completions.create(
        model=CHAT,
        messages=[{"role": "user", "content": question}],
        extra_body={"data_sources": [source]},
    )
    context: Any = answer.choices[0].message.model_extra
    return [one["filepath"] for one in context["context"]["citations"]]


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
