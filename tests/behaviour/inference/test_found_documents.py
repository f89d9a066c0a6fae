"""What the embedded model finds for questions, and that it finds nothing for others."""

from collections.abc import Iterator
from typing import Any

import pytest
from azure.core.credentials import AzureKeyCredential
from tests.support.chunks import a_chunk
from tests.support.embedded import EMBEDDING, engine_host, models_folder, pulled
from tests.support.running_engine import RunningEngine
from tests.support.server import Server, running_server

from linarite.indexing.search.in_process import ENDPOINT
from linarite.indexing.targets.azure_search import AzureSearchTarget
from linarite.resources.indexes.service import Indexes

pytestmark = [pytest.mark.model]

DOCUMENTS = {
    "returns": "Goods may be returned within 30 days of delivery. The customer pays the postage "
    "unless the goods were damaged. Refunds are made to the card within five working days.",
    "holiday": "Every employee has 27 days of paid holiday a year. Up to five days may be carried "
    "into the next year until the end of March.",
    "kiln": "Heat the kiln to 1240 degrees over nine hours, hold for twenty minutes, and let it "
    "cool with the vents closed. Never open the door above 90 degrees.",
    "parking": "The garage opens at six in the morning. Visitors use level two and take a ticket; "
    "staff use their badge. Electric cars may charge on level one for four hours.",
    "expenses": "Hotel rooms up to 140 euros a night are refunded. Keep every receipt and hand the "
    "form in within a month. Taxis need the approval of a manager.",
    "backups": "Databases are copied every night to the second data centre, and copies are kept "
    "for 35 days. A restore is tried on the first Monday of each month.",
    "glazes": "The celadon glaze holds iron oxide of two percent. Sieve it twice, and dip bisque "
    "ware for three seconds.",
}
ANSWERED = [
    ("When will I get my money back after a return?", "returns"),
    ("How much holiday do employees get?", "holiday"),
    ("Can I carry over leave to next year?", "holiday"),
    ("How hot does the kiln get?", "kiln"),
    ("When does the garage open?", "parking"),
    ("What is the limit for a hotel room?", "expenses"),
    ("How long are database copies kept?", "backups"),
    ("How much iron oxide is in celadon?", "glazes"),
]
UNANSWERED = [
    "Who won the football world cup in 1998?",
    "What is the capital of Australia?",
    "How do I bake sourdough bread?",
    "What is the dosage of ibuprofen for children?",
    "How tall is Mount Everest?",
    "How do I change the oil of my car?",
    "What is the share price of the company?",
    "Who wrote Pride and Prejudice?",
]


@pytest.fixture(scope="module")
def filled(engine: RunningEngine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose `handbook-index` has the documents; nobody real answers from it."""
    pulled(EMBEDDING)
    folder = tmp_path_factory.mktemp("found")
    models = [{"id": "chat", "upstream": {"base_url": engine.base_url}}]
    with (
        engine_host(folder),
        running_server(folder, models_dir=models_folder(), models=models) as server,
    ):
        fill(server)
        yield server


def fill(server: Server) -> None:
    texts = list(DOCUMENTS.values())
    answer = server.sdk().embeddings.create(model=EMBEDDING, input=texts)
    transport = server.built.parts[Indexes].transport("default", "the test")
    target = AzureSearchTarget(
        ENDPOINT, AzureKeyCredential("x"), transport, "handbook-index", "the test"
    )
    target.ensure(len(answer.data[0].embedding))
    target.upsert(
        [
            a_chunk(place, content=text, title=name, filepath=name, vector=found.embedding)
            for place, ((name, text), found) in enumerate(
                zip(DOCUMENTS.items(), answer.data, strict=True)
            )
        ]
    )


def cited(server: Server, question: str) -> list[str]:
    parameters: dict[str, Any] = {
        "index_name": "handbook-index",
        "query_type": "vector_simple_hybrid",
        "embedding_dependency": {"type": "deployment_name", "deployment_name": EMBEDDING},
    }
    sources = [{"type": "azure_search", "parameters": parameters}]
    answer = server.sdk().chat.completions.create(
        model="chat",
        messages=[{"role": "user", "content": question}],
        extra_body={"data_sources": sources},
    )
    context: Any = getattr(answer.choices[0].message, "context")  # noqa: B009 - not OpenAI's own
    return [citation["filepath"] for citation in context["citations"]]


def test_questions_on_the_documents_cite_the_right_one(filled: Server):
    right = [cited(filled, question)[:1] == [document] for question, document in ANSWERED]

    assert sum(right) >= 7


def test_questions_on_other_matters_cite_none(filled: Server):
    assert [cited(filled, question) for question in UNANSWERED] == [[]] * len(UNANSWERED)
