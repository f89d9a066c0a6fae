"""How a deployment is asked for vectors; a scripted engine answers."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.support.embeddings_service import embeddings_service
from tests.support.running_engine import RunningEngine, scripted_engine

from linarite.engines.place import ModelPlace
from linarite.indexing.failures import DocumentFailed, TryLater
from linarite.resources.deployments.records import DeploymentRecord, Target
from linarite.resources.inference.service import Inference
from linarite.resources.ingestion.deployed import DeployedEmbedder
from linarite.resources.models.records import ModelRecord
from linarite.settings import Upstream


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningEngine]:
    with scripted_engine(tmp_path_factory.mktemp("engine")) as running:
        yield running


@pytest.fixture
def embedder(engine: RunningEngine, tmp_path: Path) -> Iterator[DeployedEmbedder]:
    engine.forget()
    with deployed(engine.base_url, tmp_path) as one:
        yield one


@contextmanager
def deployed(base_url: str, folder: Path) -> Iterator[DeployedEmbedder]:
    """A deployment of the model at that address."""
    upstream = Upstream(base_url=base_url)
    model = ModelRecord("tiny", "embedding", upstream=upstream)
    deployments: Any = None  # which are looked up by name, and this one is known
    inference = Inference(deployments, lambda one: ModelPlace(one.id, upstream=one.upstream))
    target = Target(DeploymentRecord("embed", "*", "tiny", 1000, 0, 0), model)
    with DeployedEmbedder(inference, target, folder / "no.sock") as one:
        yield one


def test_vectors_come_in_the_order_of_their_texts_whatever_their_lengths(embedder, engine):
    texts = [f"{number} " * (number * 7 % 90 + 1) for number in range(70)]

    vectors = embedder.embed(texts)

    assert vectors == [embedder.embed([text])[0] for text in texts]
    assert [len(one["body"]["input"]) for one in engine.logged()[:3]] == [32, 32, 6]


def test_vectors_are_their_texts_own_in_whatever_order_an_answer_has_them(tmp_path):
    with embeddings_service() as service, deployed(f"{service.url}/v1", tmp_path) as one:
        vectors = one.embed(["a", "bbb", "cc"])

    assert [vector[0] for vector in vectors] == [1, 3, 2]


def test_long_texts_share_no_request(embedder, engine):
    before = len(engine.logged())

    embedder.embed(["a" * 30_000, "b" * 30_000, "short"])

    assert sorted(len(one["body"]["input"]) for one in engine.logged()[before:]) == [1, 2]


def test_a_busy_engine_is_asked_again(embedder):
    assert len(embedder.embed(["hello [[fail 503 x1]]"])) == 1


def test_an_engine_that_stays_busy_is_left_alone_for_a_while(embedder):
    with pytest.raises(TryLater, match="embed"):
        embedder.embed(["hello [[fail 429]] [[retry-after 0.01]]"])


def test_a_text_that_is_refused_ends_its_document(embedder):
    with pytest.raises(DocumentFailed):
        embedder.embed(["one", "two [[fail 400]]", "three"])


@pytest.mark.parametrize(
    "data",
    [
        [{"index": 0, "embedding": [1.0]}],
        [{"index": 0, "embedding": [1.0]}, {"index": 1}],
        [{"index": 0, "embedding": [1.0]}, {"index": 1, "embedding": "?"}],
        [],
    ],
    ids=["too few", "no numbers", "no base64", "none"],
)
def test_an_answer_without_a_vector_for_each_text_tells_so(tmp_path, data):
    with embeddings_service() as service, deployed(f"{service.url}/v1", tmp_path) as one:
        service.answers = [(200, {}, {"object": "list", "model": "m", "data": data})] * 9

        with pytest.raises(TryLater, match=r"no vector for each|is no answer"):
            one.embed(["a", "bbb"])
