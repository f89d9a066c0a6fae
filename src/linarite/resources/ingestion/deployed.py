"""Embeddings by a deployment of this server, asked as batches ask: chats and searches go first."""

import asyncio
import base64
from array import array
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import orjson
import uvloop

from linarite.engines.client import Engines
from linarite.engines.refusals import EngineFailure, ModelMissing
from linarite.errors import InferenceRefused
from linarite.indexing.failures import DocumentFailed, IngestionFailed, TryLater
from linarite.resources.deployments.records import Target
from linarite.resources.inference.service import EMBEDDINGS, Inference

_INPUTS = 32
_TOKENS = 8_192
_IN_FLIGHT = 4
_BYTES_PER_TOKEN = 4
_TRIES = 3
_REST_SECONDS = 0.5
_LONGEST_REST_SECONDS = 5.0
_MAY_PASS = frozenset({408, 409, 429, 500, 502, 503, 504})
_TOO_MUCH = frozenset({400, 413})


class DeployedEmbedder:
    """The embedding model behind a deployment; close it at the end. For one thread.

    Args:
        inference: knows how engines are asked.
        target: the deployment and its model.
        host_socket: where this machine's engine host listens.
    """

    def __init__(self, inference: Inference, target: Target, host_socket: Path) -> None:
        self._inference = inference
        self._target = target
        self._runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
        self._engines = Engines(host_socket)
        self._tokenizer = _tokenizer(inference, target)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._runner.run(self._engines.close())
        self._runner.close()

    @property
    def name(self) -> str:
        """The id of the model, whatever deployment leads to it."""
        return self._target.model.id

    @property
    def tokenizer(self) -> str | None:
        """The model's own as JSON, where it is here."""
        return self._tokenizer

    @property
    def max_tokens(self) -> int | None:
        """The longest input."""
        return self._target.model.context_tokens

    def embed(self, texts: Sequence[str]) -> list[Sequence[float]]:
        """As `Embedder.embed`: texts of about one length go together, for less is padded so."""
        return self._runner.run(self._embed(texts))

    async def _embed(self, texts: Sequence[str]) -> list[Sequence[float]]:
        vectors: list[Sequence[float]] = [[]] * len(texts)
        free = asyncio.Semaphore(_IN_FLIGHT)

        async def ask(places: Sequence[int]) -> None:
            async with free:
                made = await self._ask([texts[place] for place in places])
            for place, vector in zip(places, made, strict=True):
                vectors[place] = vector

        try:
            async with asyncio.TaskGroup() as group:
                for places in self._batches(texts):
                    group.create_task(ask(places))
        except* (DocumentFailed, IngestionFailed) as failures:
            raise failures.exceptions[0] from failures
        return vectors

    def _batches(self, texts: Sequence[str]) -> Iterator[list[int]]:
        """The places of texts that are asked for together, by count and about so many tokens.

        Their length tells: to count tokens would take longer than an engine that is asked far away.
        """
        tokens = [len(text.encode("utf-8", "replace")) // _BYTES_PER_TOKEN + 1 for text in texts]
        batch: list[int] = []
        total = 0
        for place in sorted(range(len(texts)), key=tokens.__getitem__):
            if batch and (len(batch) == _INPUTS or total + tokens[place] > _TOKENS):
                yield batch
                batch, total = [], 0
            batch.append(place)
            total += tokens[place]
        if batch:
            yield batch

    async def _ask(self, texts: Sequence[str]) -> list[Sequence[float]]:
        """The vectors of one request; of two where the engine takes fewer texts at once."""
        try:
            return await self._insist(texts)
        except InferenceRefused as refused:
            if refused.status not in _TOO_MUCH:
                raise IngestionFailed(self._told(refused.message)) from refused
            if len(texts) == 1:
                raise DocumentFailed(self._told(refused.message)) from refused
        half = len(texts) // 2
        return await self._ask(texts[:half]) + await self._ask(texts[half:])

    async def _insist(self, texts: Sequence[str]) -> list[Sequence[float]]:
        """Ask, and soon again where the engine is busy; raises InferenceRefused for good."""
        body: dict[str, Any] = {"input": list(texts), "encoding_format": "base64"}
        for tries in range(1, _TRIES + 1):
            try:
                return self._vectors(await self._post(body), len(texts))
            except (EngineFailure, InferenceRefused) as failure:
                if isinstance(failure, InferenceRefused) and failure.status not in _MAY_PASS:
                    raise
                asked = _asked_seconds(failure.headers)
                if tries == _TRIES:
                    is_limit = isinstance(failure, InferenceRefused) and failure.status == 429
                    told = self._told(failure.message)
                    raise TryLater(told, asked, is_limit=is_limit) from failure
                rest = asked or _REST_SECONDS * 2**tries
                await asyncio.sleep(min(rest, _LONGEST_REST_SECONDS))
            except ModelMissing as missing:
                raise IngestionFailed(self._told(missing.message)) from missing
        raise AssertionError  # the last try returns or raises

    def _vectors(self, answer: bytes, count: int) -> list[Sequence[float]]:
        try:
            said = sorted(orjson.loads(answer)["data"], key=lambda one: one.get("index", 0))
            vectors = [array("f", base64.b64decode(one["embedding"])) for one in said]
        except (ValueError, KeyError, TypeError, AttributeError):
            vectors = []
        if len(vectors) != count or not all(vectors):
            raise TryLater(self._told("it has no vector for each of the texts."))
        return [*vectors]

    async def _post(self, body: dict[str, Any]) -> bytes:
        prepared = self._inference.prepare(EMBEDDINGS, self._target, body)
        engine = await self._inference.engine(self._engines, self._target)
        reply = await engine.post(EMBEDDINGS, prepared, batch=True)
        return self._inference.finish(EMBEDDINGS, self._target, body, reply).body

    def _told(self, said: str) -> str:
        return f"The embedding deployment {self._target.deployment.id!r} did not answer: {said}"


def _tokenizer(inference: Inference, target: Target) -> str | None:
    folder = inference.place_of(target.model).tokenizer_folder()
    if folder is None or not (file := folder / "tokenizer.json").is_file():
        return None
    return file.read_text("utf-8")


def _asked_seconds(headers: Mapping[str, str]) -> float | None:
    try:
        return float(headers["retry-after"])
    except (KeyError, ValueError):
        return None
