"""Asking by words and by vectors together finds no less than either alone; see README.md."""

import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
from azure.core.credentials import AzureKeyCredential
from azure.search.documents import SearchClient
from azure.search.documents.models import VectorizedQuery
from tests.support.embedded import EMBEDDING
from tests.support.sdk_variants import sdk_client
from tests.support.serving import Serving

pytestmark = [pytest.mark.slow, pytest.mark.model, pytest.mark.timeout(300)]

HERE = Path(__file__).parent
FIRST = 5
NEIGHBOURS = 50
"""How many the service's documentation counsels to ask for where words are asked for, too."""


@dataclass(frozen=True)
class Question:
    asked: str
    evidence: str
    vector: Sequence[float]


@pytest.fixture(scope="module")
def index(server: Serving, messages: str) -> Iterator[SearchClient]:
    key = AzureKeyCredential(server.ready["api_key"])
    with SearchClient(server.endpoint, messages, key) as found:
        yield found


@pytest.fixture(scope="module")
def questions(server: Serving) -> list[Question]:
    kept = json.loads((HERE / "questions.json").read_text())
    asked = [each["question"] for each in kept]
    with sdk_client("azure", server.ready) as client:
        made = client.embeddings.create(model=EMBEDDING, input=asked).data
    return [
        Question(each["question"], each["evidence"], vector.embedding)
        for each, vector in zip(kept, made, strict=True)
    ]


def hits(index: SearchClient, questions: Sequence[Question], *, words: bool, vectors: bool) -> int:
    """Of how many questions a chunk among the first five holds the evidence."""

    def is_hit(one: Question) -> bool:
        near = VectorizedQuery(
            vector=one.vector, k_nearest_neighbors=NEIGHBOURS, fields="contentVector"
        )
        found = index.search(
            one.asked if words else None,
            vector_queries=[near] if vectors else None,
            select=["content"],
            top=FIRST,
        )
        return any(one.evidence in " ".join(chunk["content"].split()) for chunk in found)

    with ThreadPoolExecutor(4) as threads:
        return sum(threads.map(is_hit, questions))


def test_words_and_vectors_together_find_no_less_than_either(index, questions):
    assert len(questions) >= 200
    assert index.get_document_count() >= 1_000

    by_words = hits(index, questions, words=True, vectors=False)
    by_vectors = hits(index, questions, words=False, vectors=True)
    by_both = hits(index, questions, words=True, vectors=True)

    told = ((by_words, "words"), (by_vectors, "vectors"), (by_both, "both"))
    shares = ", ".join(f"by {how} {count / len(questions):.3f}" for count, how in told)
    print(f"hit@{FIRST} {shares}")  # noqa: T201 - what this test has to tell
    assert by_words < 0.9 * len(questions)
    assert by_both >= by_words
    assert by_both >= by_vectors
