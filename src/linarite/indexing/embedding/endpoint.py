"""Vectors from an embeddings endpoint elsewhere: Azure OpenAI's, or any in OpenAI's form.

Callers name such endpoints, so every request passes the guarded transport, and no redirect is
followed: the key would go along.
"""

import math
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import httpx
import orjson
from azure.core.credentials import TokenCredential
from azure.core.exceptions import ClientAuthenticationError

from linarite.indexing.failures import DocumentFailed, IngestionFailed, TryLater
from linarite.outbound import GuardedTransport, OutboundFailed, OutboundTooSlow
from linarite.settings import MB, OutboundSettings

_AZURE_VERSION = "2024-10-21"
_SCOPE = "https://cognitiveservices.azure.com/.default"
_BATCH_TEXTS, _BATCH_TOKENS = 64, 100_000
_BYTES_PER_TOKEN = 3
"""Fewer than texts have on the whole, so that a batch is rather too small."""
_OPENAI_MODELS = re.compile(r"text-embedding-(ada-002|3-small|3-large)")
_OPENAI_MAX_TOKENS = 8191
_REQUEST_SECONDS = 300.0
_ANSWER_BYTES = 64 * MB
_BUSY = frozenset({408, 409, 429, 500, 502, 503, 504})
_REFUSED = frozenset({400, 413, 422})
_PLAIN = "plain"
"""A text that every model takes: where this one is refused, it is not for the text."""
_TRIES = 6
_LONGEST_WAIT_SECONDS = 60.0
_LONGEST_MESSAGE = 300


Credential = str | TokenCredential
"""A key, or what gives tokens of this server's own identity."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where embeddings are asked for.

    Args:
        url: what is posted to.
        credential: how it is entered.
        key_header: the header that a key goes into; None: it goes as a bearer token.
        model: sent along.
        dimensions: asked of models that can shorten their vectors.

    Raises:
        IngestionFailed: a token would go over http.
    """

    url: str
    credential: Credential = field(repr=False)
    key_header: str | None = None
    model: str | None = None
    dimensions: int | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.credential, str) and not self.url.startswith("https://"):
            raise IngestionFailed(
                f"The embedding endpoint {self.url} is not an https one, and this server's "
                "identity goes over https only."
            )

    def secret(self) -> str:
        """The key, or a token that holds now."""
        if isinstance(self.credential, str):
            return self.credential
        return self.credential.get_token(_SCOPE).token

    def headers(self, secret: str) -> dict[str, str]:
        """What a request carries `secret` in."""
        if self.key_header is not None and isinstance(self.credential, str):
            return {self.key_header: secret}
        return {"authorization": f"Bearer {secret}"}


def azure_deployment(
    endpoint: str, credential: Credential, deployment: str, model: str | None = None
) -> Endpoint:
    """A deployment of an Azure OpenAI resource, or of a server that speaks like one.

    Args:
        endpoint: the resource's address, ``https://NAME.openai.azure.com``.
        credential: how it is entered.
        deployment: name of the embedding model's deployment.
        model: what is deployed, where that is known; it is sent along.
    """
    path = f"/openai/deployments/{quote(deployment, safe='')}/embeddings"
    return azure_url(endpoint.rstrip("/") + path, credential, model=model)


def azure_url(
    url: str,
    credential: Credential,
    model: str | None = None,
    dimensions: int | None = None,
    key_header: str | None = "api-key",
) -> Endpoint:
    """The same by its whole address, ``…/openai/deployments/NAME/embeddings``, without version."""
    versioned = f"{url}?api-version={_AZURE_VERSION}"
    return Endpoint(versioned, credential, key_header, model, dimensions)


def openai_model(base_url: str, credential: Credential, model: str) -> Endpoint:
    """A model of a server in OpenAI's form.

    Args:
        base_url: up to and with ``/v1``.
        credential: sent as a bearer token.
        model: sent along.
    """
    return Endpoint(base_url.rstrip("/") + "/embeddings", credential, model=model)


@contextmanager
def endpoint_embedder(
    endpoint: Endpoint,
    settings: OutboundSettings,
    backoff_seconds: float = 1.0,
    tries: int = _TRIES,
) -> Iterator["EndpointEmbedder"]:
    """An embedder whose connections are open until the block ends.

    Args:
        endpoint: what is asked.
        settings: the ``[outbound]`` section.
        backoff_seconds: how long the first wait for a busy endpoint is; it doubles with each.
        tries: how often one that is away or busy is asked.
    """
    transport = GuardedTransport(settings)
    timeout = httpx.Timeout(settings.read_seconds, connect=settings.connect_seconds)
    headers = {"user-agent": "linarite", "accept-encoding": "identity"}
    with httpx.Client(
        transport=transport, trust_env=False, timeout=timeout, headers=headers
    ) as client:
        seconds = min(_REQUEST_SECONDS, settings.total_seconds)
        yield EndpointEmbedder(endpoint, client, transport, backoff_seconds, tries, seconds)


class EndpointEmbedder:
    """Asks an endpoint; see `endpoint_embedder`."""

    def __init__(
        self,
        endpoint: Endpoint,
        client: httpx.Client,
        transport: GuardedTransport,
        backoff_seconds: float,
        tries: int,
        seconds: float,
    ) -> None:
        self._endpoint, self._client, self._transport = endpoint, client, transport
        self._backoff_seconds, self._tries, self._seconds = backoff_seconds, tries, seconds
        self._most_texts = _BATCH_TEXTS
        self._dimensions = endpoint.dimensions
        self._has_answered = False
        self._secret = ""
        self._told = f"The embedding endpoint {endpoint.url.partition('?')[0]}"

    @property
    def name(self) -> str:
        parts = (self._endpoint.url, self._endpoint.model, self._endpoint.dimensions)
        return "#".join(str(part) for part in parts if part is not None)

    @property
    def tokenizer(self) -> str | None:
        return None

    @property
    def max_tokens(self) -> int | None:
        """Of OpenAI's own models, by their name; others do not tell."""
        return _OPENAI_MAX_TOKENS if _OPENAI_MODELS.search(self.name) else None

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        vectors: list[list[float]] = []
        while len(vectors) < len(texts):
            vectors += self._embedded(self._next_batch(texts[len(vectors) :]))
        return vectors

    def _embedded(self, batch: Sequence[str]) -> list[list[float]]:
        """The vectors of a batch; of its halves where it is refused, for its size or for a text."""
        answer = self._asked(batch) if len(batch) <= self._most_texts else None
        if answer is None:
            half = len(batch) // 2
            vectors = self._embedded(batch[:half]) + self._embedded(batch[half:])
            self._most_texts = min(self._most_texts, len(batch) - half)  # it was for its size
            return vectors
        vectors = self._checked(answer, len(batch))
        self._has_answered = True
        return vectors

    def _next_batch(self, texts: Sequence[str]) -> Sequence[str]:
        size_tokens = 0
        for count, text in enumerate(texts[: self._most_texts]):
            size_tokens += len(text.encode()) // _BYTES_PER_TOKEN + 1
            if count and size_tokens > _BATCH_TOKENS:
                return texts[:count]
        return texts[: self._most_texts]

    def _asked(self, batch: Sequence[str]) -> bytes | None:
        """The answer to a batch; None where the endpoint takes no batch as large.

        Raises:
            DocumentFailed: it takes not even one of these texts.
            IngestionFailed: it refuses, or stays away or busy (TryLater).
        """
        status, answer = self._posted(batch)
        if status == 200:
            return answer
        if status in _REFUSED and len(batch) > 1:
            return None
        if status in _REFUSED and (self._has_answered or self._posted([_PLAIN])[0] == 200):
            raise DocumentFailed(f"{self._told} refused a text ({status}): {self._message(answer)}")
        raise IngestionFailed(self._refusal(status, answer))

    def _posted(self, batch: Sequence[str]) -> tuple[int, bytes]:
        """Post until the endpoint is neither away nor busy, within bounds."""
        asked: dict[str, Any] = {"input": list(batch), "encoding_format": "float"}
        if self._endpoint.model is not None:
            asked["model"] = self._endpoint.model
        if self._endpoint.dimensions is not None:
            asked["dimensions"] = self._endpoint.dimensions
        body = orjson.dumps(asked)
        wait_seconds, failure = 0.0, TryLater(self._told)
        for attempt in range(self._tries):
            time.sleep(wait_seconds)
            wait_seconds = self._backoff_seconds * 2**attempt
            try:
                status, headers, answer = self._once(body)
            except httpx.TransportError as error:
                failure = TryLater(f"{self._told} could not be reached ({type(error).__name__}).")
                continue
            if status not in _BUSY:
                return status, answer
            told = _retry_after(headers)
            message = f"{self._told} is busy ({status}): {self._message(answer)}"
            failure = TryLater(message, told, is_limit=status == 429)
            if told is not None and told > _LONGEST_WAIT_SECONDS:
                break
            wait_seconds = max(wait_seconds, told or 0)
        raise failure

    def _once(self, body: bytes) -> tuple[int, httpx.Headers, bytes]:
        self._transport.begin(self._seconds)
        try:
            self._secret = self._endpoint.secret()
            headers = {"content-type": "application/json", **self._endpoint.headers(self._secret)}
            with self._client.stream(
                "POST", self._endpoint.url, content=body, headers=headers
            ) as answer:
                return answer.status_code, answer.headers, self._read(answer)
        except ClientAuthenticationError as error:
            raise IngestionFailed(f"{self._told}: this server has no identity there.") from error
        except OutboundTooSlow as error:
            raise TryLater(f"{self._told}: {error}") from error
        except (OutboundFailed, httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
            raise IngestionFailed(f"{self._told}: {error}") from error

    def _read(self, answer: httpx.Response) -> bytes:
        whole = bytearray()
        for piece in answer.iter_raw():
            whole += piece
            if len(whole) > _ANSWER_BYTES:
                raise IngestionFailed(f"{self._told} answered with more than 64 MiB.")
        return bytes(whole)

    def _checked(self, answer: bytes, count: int) -> list[list[float]]:
        """The vectors of an answer, in the order of the texts.

        Raises:
            IngestionFailed: they are of another length than before.
            TryLater: some are missing, or hold what is no number.
        """
        try:
            data = orjson.loads(answer)["data"]
            by_place = {item["index"]: item["embedding"] for item in data}
            vectors = [[float(number) for number in by_place[place]] for place in range(count)]
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError) as error:
            raise TryLater(
                f"{self._told} did not answer with one vector of numbers for each text."
            ) from error
        for vector in vectors:
            self._dimensions = self._dimensions or len(vector)
            if len(vector) != self._dimensions or not vector:
                raise IngestionFailed(
                    f"{self._told} answered with a vector of {len(vector)} dimensions where "
                    f"{self._dimensions} are expected."
                )
            if not all(map(math.isfinite, vector)):
                raise TryLater(f"{self._told} answered with a vector that is no number.")
        return vectors

    def _refusal(self, status: int, answer: bytes) -> str:
        if status in {401, 403}:
            return f"{self._told} refused the key ({status})."
        if 300 <= status < 400:
            return f"{self._told} redirects elsewhere ({status}), which is not followed."
        return f"{self._told} answered {status}: {self._message(answer)}"

    def _message(self, answer: bytes) -> str:
        """What an error says, in OpenAI's form or as it is; without the key if it repeats it."""
        try:
            told = orjson.loads(answer)["error"]
            text = str(told["message"] if isinstance(told, dict) else told)
        except (orjson.JSONDecodeError, KeyError, TypeError):
            text = answer.decode(errors="replace")
        if self._secret:
            text = text.replace(self._secret, "***")
        return " ".join(text.split())[:_LONGEST_MESSAGE]


def _retry_after(headers: httpx.Headers) -> float | None:
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        told = headers.get(name, "")
        if told.isdecimal() and len(told) < 10:
            return int(told) * unit
    return None
