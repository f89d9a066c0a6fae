"""What embeds the question of a chat with a data source, and what was found for it."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import orjson
from starlette.concurrency import run_in_threadpool

from linarite.engines.client import Engine, Engines
from linarite.engines.tokens import Tokens
from linarite.indexing.failures import IngestionFailed
from linarite.resources.deployments.records import Target
from linarite.resources.inference.answers import failure
from linarite.resources.inference.callers import Callers
from linarite.resources.inference.documents import Room
from linarite.resources.inference.refusals import refusals
from linarite.resources.inference.service import EMBEDDINGS, Inference
from linarite.settings import OutboundSettings
from linarite.wire.data_sources import (
    EmbeddingDependency,
    OnYourDataApiKeyAuthenticationOptions,
    OnYourDataDeploymentNameVectorizationSource,
    OnYourDataEndpointVectorizationSource,
)

if TYPE_CHECKING:
    from linarite.indexing.embedding.endpoint import Endpoint

_TEXTS_AT_ONCE = 32
"""What the more modest of embedding servers take."""
Vectors = list[list[float]]


@dataclass(frozen=True)
class Embedding:
    """A model that makes vectors.

    Args:
        name: tells it from others, and from the same one as another resource asks it: what is
            remembered of a caller's texts is not to be noticed by others.
        embed: gives the vectors of texts.
    """

    name: str
    embed: Callable[[Sequence[str]], Awaitable[Vectors]]


@dataclass(frozen=True)
class Embedders:
    """Finds what a data source names as its `embedding_dependency`.

    Args:
        inference: asks deployments of this server.
        tokens: counts what a model can read.
        callers: threads in which others' servers are called.
    """

    inference: Inference
    tokens: Tokens
    callers: Callers

    async def of(
        self,
        engines: Engines,
        resource: str,
        dependency: EmbeddingDependency,
        reach: OutboundSettings,
    ) -> Embedding:
        """What embeds.

        Args:
            engines: the connections of this event loop.
            resource: whose the chat is.
            dependency: what the source names.
            reach: how an endpoint elsewhere is reached.

        Raises:
            DeploymentNotFound: there is no such deployment.
        """
        if isinstance(dependency, OnYourDataDeploymentNameVectorizationSource):
            target = await self.inference.target(resource, dependency.deployment_name)
            embed = partial(self._embedded, engines, target, dependency.dimensions)
            named = target.model.id
            return Embedding(f"{resource}#{named}#{dependency.dimensions}", embed)
        elsewhere = partial(self._embedded_elsewhere, resource, dependency, reach)
        named = dependency.endpoint
        return Embedding(f"{resource}#{named}#{dependency.dimensions}", elsewhere)

    async def _embedded(
        self, engines: Engines, target: Target, dimensions: int | None, texts: Sequence[str]
    ) -> Vectors:
        texts = await run_in_threadpool(self._cut, target, texts)
        engine = await self.inference.engine(engines, target)
        made: Vectors = []
        for at in range(0, len(texts), _TEXTS_AT_ONCE):
            made += await self._asked(engine, target, dimensions, texts[at : at + _TEXTS_AT_ONCE])
        return made

    async def _asked(
        self, engine: Engine, target: Target, dimensions: int | None, texts: Sequence[str]
    ) -> Vectors:
        body: dict[str, object] = {"input": list(texts), "encoding_format": "float"}
        if dimensions is not None:
            body["dimensions"] = dimensions
        prepared = self.inference.prepare(EMBEDDINGS, target, body)
        reply = await engine.post(EMBEDDINGS, prepared)
        answer = self.inference.finish(EMBEDDINGS, target, body, reply)
        return _by_place(orjson.loads(answer.body), target, len(texts))

    async def _embedded_elsewhere(
        self,
        resource: str,
        dependency: OnYourDataEndpointVectorizationSource,
        reach: OutboundSettings,
        texts: Sequence[str],
    ) -> Vectors:
        def embedded() -> Vectors:
            from linarite.indexing.embedding.endpoint import endpoint_embedder

            with (
                refusals(),
                endpoint_embedder(_endpoint(dependency), reach, tries=1) as embedder,
            ):
                return embedder.embed(texts)

        return await asyncio.get_running_loop().run_in_executor(self.callers.of(resource), embedded)

    def _cut(self, target: Target, texts: Sequence[str]) -> list[str]:
        """The texts, as much of each as the model reads."""
        window = target.model.context_tokens
        if window is None:
            return list(texts)
        room = Room(self.tokens, self.inference.place_of(target.model), window)
        return [room.cut(text, window - 2) for text in texts]


def _by_place(answer: Mapping[str, Any], target: Target, count: int) -> Vectors:
    """The vectors of an answer, in the order of the texts.

    Raises:
        InferenceRefused: some are missing, or of another length than the rest.
    """
    try:
        made = {item["index"]: item["embedding"] for item in answer["data"]}
        vectors = [made[place] for place in range(count)]
    except (KeyError, TypeError):
        vectors = []
    if len({len(vector) for vector in vectors}) != 1:
        raise failure(
            f"The model {target.model.id} did not answer with one vector for each text, all of "
            "one length.",
            502,
        )
    return vectors


def _endpoint(dependency: OnYourDataEndpointVectorizationSource) -> "Endpoint":
    """The endpoint, entered by the caller's own credential.

    Raises:
        IngestionFailed: a token would go over http.
    """
    from linarite.indexing.embedding.endpoint import azure_url

    url, given, dimensions = dependency.endpoint, dependency.authentication, dependency.dimensions
    if isinstance(given, OnYourDataApiKeyAuthenticationOptions):
        return azure_url(url, given.key, dimensions=dimensions)
    if not url.startswith("https://"):
        raise IngestionFailed(f"{url} is not reached by https, and a token is not sent.")
    return azure_url(url, given.access_token, dimensions=dimensions, key_header=None)
