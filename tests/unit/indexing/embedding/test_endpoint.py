"""Vectors from an endpoint elsewhere, scripted on loopback."""

from collections.abc import Iterator
from typing import Any

import pytest
from azure.core.credentials import AccessToken
from tests.support.embeddings_service import (
    EmbeddingsService,
    embeddings_service,
    refusal,
    vectors,
)

from linarite.indexing.embedding.endpoint import (
    Endpoint,
    EndpointEmbedder,
    azure_deployment,
    azure_url,
    endpoint_embedder,
    openai_model,
)
from linarite.indexing.failures import DocumentFailed, IngestionFailed, TryLater
from linarite.settings import OutboundSettings

KEY = "the-key-of-the-endpoint"
OPEN = OutboundSettings(allow=("127.0.0.1",))


@pytest.fixture
def service() -> Iterator[EmbeddingsService]:
    with embeddings_service() as running:
        yield running


@pytest.fixture
def embedder(service: EmbeddingsService) -> Iterator[EndpointEmbedder]:
    with opened(azure_deployment(service.url, KEY, "ada")) as embedder:
        yield embedder


def opened(endpoint: Endpoint, settings: OutboundSettings = OPEN) -> Any:
    return endpoint_embedder(endpoint, settings, backoff_seconds=0.001)


def test_vectors_come_in_the_order_of_the_texts(embedder: EndpointEmbedder):
    assert embedder.embed(["a", "bbb", "cc"]) == [[1.0, 1.0, 0.5], [3.0, 1.0, 0.5], [2.0, 1.0, 0.5]]


def test_a_deployment_is_asked_as_azure_wants_it(
    embedder: EndpointEmbedder, service: EmbeddingsService
):
    embedder.embed(["a"])

    path, headers, body = service.seen[0]
    assert path == "/openai/deployments/ada/embeddings?api-version=2024-10-21"
    assert headers["api-key"] == KEY
    assert body == {"input": ["a"], "encoding_format": "float"}


def test_a_model_is_asked_as_openai_wants_it(service: EmbeddingsService):
    with opened(openai_model(f"{service.url}/v1/", KEY, "text-embedding-3-small")) as embedder:
        embedder.embed(["a"])

        path, headers, body = service.seen[0]
        assert path == "/v1/embeddings"
        assert headers["authorization"] == f"Bearer {KEY}"
        assert body["model"] == "text-embedding-3-small"
        assert embedder.max_tokens == 8191


def test_a_whole_address_is_asked_for_shortened_vectors(service: EmbeddingsService):
    url = f"{service.url}/openai/deployments/ada/embeddings"
    with opened(azure_url(url, KEY, dimensions=3)) as embedder:
        embedder.embed(["a"])

    assert service.seen[0][2]["dimensions"] == 3


def test_a_whole_address_is_entered_by_a_token_where_it_has_no_header_for_keys(
    service: EmbeddingsService,
):
    url = f"{service.url}/openai/deployments/ada/embeddings"
    with opened(azure_url(url, "a-token", key_header=None)) as embedder:
        embedder.embed(["a"])

    headers = service.seen[0][1]
    assert headers["authorization"] == "Bearer a-token"
    assert "api-key" not in headers


def test_models_are_told_apart_by_their_names(service: EmbeddingsService):
    endpoints = [
        azure_deployment(service.url, KEY, "ada"),
        azure_deployment(service.url, KEY, "small"),
        openai_model(service.url, KEY, "small"),
        openai_model(service.url, KEY, "large"),
        azure_url(service.url, KEY, dimensions=3),
        azure_url(service.url, KEY, dimensions=4),
    ]
    names = []
    for endpoint in endpoints:
        with opened(endpoint) as embedder:
            names.append(embedder.name)

    assert len(set(names)) == len(names)
    assert KEY not in "".join(names) + repr(endpoints)


@pytest.mark.parametrize(
    ("deployment", "model", "most"),
    [
        ("ada", None, None),
        ("ada", "text-embedding-ada-002", 8191),
        ("text-embedding-3-large", None, 8191),
        ("embed", "minilm", None),
    ],
)
def test_how_long_an_input_may_be_is_known_of_openais_models(
    deployment: str, model: str | None, most: int | None
):
    with opened(azure_deployment("https://x.example", KEY, deployment, model)) as embedder:
        assert embedder.max_tokens == most
        assert embedder.tokenizer is None


def test_texts_go_in_batches_by_count_and_size(
    embedder: EndpointEmbedder, service: EmbeddingsService
):
    embedder.embed(["a"] * 100 + ["b" * 30_000] * 15)

    assert service.batches == [64, 36 + 9, 6]  # 100,000 tokens are not exceeded


def test_a_batch_is_halved_until_the_endpoint_takes_it(
    embedder: EndpointEmbedder, service: EmbeddingsService
):
    service.most_texts = 16

    assert len(embedder.embed(["a"] * 40)) == 40
    assert service.batches == [40, 20, 10, 10, 10, 10]


def test_a_text_that_is_too_long_fails_alone_once_others_were_taken(
    embedder: EndpointEmbedder, service: EmbeddingsService
):
    embedder.embed(["a"])

    with pytest.raises(DocumentFailed, match="maximum context length is 8192"):
        embedder.embed(["b", "c" * 40_000])


def test_the_first_text_may_be_the_one_that_is_too_long(embedder: EndpointEmbedder):
    """As in a run whose other texts were embedded by one before it."""
    with pytest.raises(DocumentFailed, match="maximum context length is 8192"):
        embedder.embed(["c" * 40_000])


def test_a_refused_text_leaves_batches_as_large_as_they_were(
    embedder: EndpointEmbedder, service: EmbeddingsService
):
    with pytest.raises(DocumentFailed):
        embedder.embed(["a"] * 63 + ["c" * 40_000])

    embedder.embed(["a"] * 64)

    assert service.batches[-1] == 64


def test_an_endpoint_that_never_took_a_text_fails_the_run(
    embedder: EndpointEmbedder, service: EmbeddingsService
):
    service.most_characters = 0

    with pytest.raises(IngestionFailed, match="answered 400"):
        embedder.embed(["b"])


def test_a_busy_endpoint_is_waited_for(embedder: EndpointEmbedder, service: EmbeddingsService):
    service.answers += [refusal(429, retry_after="0"), refusal(503), refusal(500)]

    assert len(embedder.embed(["a"])) == 1
    assert len(service.seen) == 4


def test_an_endpoint_that_stays_busy_asks_for_another_time(
    embedder: EndpointEmbedder, service: EmbeddingsService
):
    service.answers += [refusal(503)] * 6

    with pytest.raises(TryLater, match=r"/ada/embeddings is busy \(503\)"):
        embedder.embed(["a"])


def test_a_long_rest_is_left_to_the_caller(embedder: EndpointEmbedder, service: EmbeddingsService):
    service.answers.append(refusal(429, retry_after="3600"))

    with pytest.raises(TryLater) as raised:
        embedder.embed(["a"])
    assert raised.value.after_seconds == 3600
    assert len(service.seen) == 1


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (refusal(401, f"Incorrect API key provided: {KEY}"), r"refused the key \(401\)"),
        (refusal(404, "The API deployment ada does not exist"), "404: The API deployment ada"),
        (refusal(418, f"odd: {KEY}"), r"418: odd: \*\*\*"),
        (refusal(302, location="http://169.254.169.254/"), "redirects elsewhere"),
        ((200, {}, b"<html>"), "one vector of numbers for each text"),
        ((200, {}, {"data": []}), "one vector of numbers for each text"),
        ((200, {}, vectors([[]])), "a vector of 0 dimensions"),
        ((200, {}, b'{"data":[{"index":0,"embedding":[NaN]}]}'), "one vector of numbers"),
        ((200, {}, b'{"data":[{"index":0,"embedding":[null]}]}'), "one vector of numbers"),
        ((200, {}, b'{"data":[{"index":0,"embedding":["nan"]}]}'), "a vector that is no number"),
    ],
)
def test_an_answer_that_cannot_be_used_fails_without_the_key(
    embedder: EndpointEmbedder, service: EmbeddingsService, answer: Any, told: str
):
    service.answers.append(answer)

    with pytest.raises(IngestionFailed, match=told) as raised:
        embedder.embed(["a"])
    assert KEY not in str(raised.value)


def test_a_token_goes_over_https_only(service: EmbeddingsService):
    class Identity:
        def get_token(self, *scopes: str, **_options: Any) -> AccessToken:
            return AccessToken(f"a token for {scopes}", 0)

    with pytest.raises(IngestionFailed, match="over https only"):
        azure_deployment(service.url, Identity(), "ada")

    endpoint = azure_deployment("https://x.openai.azure.com", Identity(), "ada")
    assert endpoint.headers(endpoint.secret()) == {
        "authorization": "Bearer a token for ('https://cognitiveservices.azure.com/.default',)"
    }


def test_vectors_of_changing_length_are_refused(
    embedder: EndpointEmbedder, service: EmbeddingsService
):
    embedder.embed(["a"])
    service.answers.append((200, {}, vectors([[0.1, 0.2]])))

    with pytest.raises(IngestionFailed, match="a vector of 2 dimensions where 3 are expected"):
        embedder.embed(["a"])


def test_an_inner_address_is_refused(service: EmbeddingsService):
    with (
        opened(azure_deployment(service.url, KEY, "ada"), OutboundSettings()) as embedder,
        pytest.raises(IngestionFailed, match="is a loopback address"),
    ):
        embedder.embed(["a"])
    assert service.seen == []


@pytest.mark.parametrize("url", ["ftp://example.org", "example.org", "http://[::"])
def test_an_address_of_another_kind_is_refused(url: str):
    with opened(openai_model(url, KEY, "m")) as embedder, pytest.raises(IngestionFailed):
        embedder.embed(["a"])


def test_an_endpoint_that_is_away_asks_for_another_time():
    with (
        opened(azure_deployment("http://127.0.0.1:9", KEY, "ada")) as embedder,
        pytest.raises(TryLater, match="could not be reached"),
    ):
        embedder.embed(["a"])
