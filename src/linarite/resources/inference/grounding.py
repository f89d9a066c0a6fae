"""Chats that answer from an index: the question is looked for, and the model shown what is found.

Indexes of this server are searched in this process, for the caller's own resource; all others by
the caller's own credentials, through the guarded transport.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

import orjson
import structlog
from starlette.concurrency import run_in_threadpool

from linarite.engines.client import Engines, Reply, StreamReply
from linarite.engines.tokens import Tokens
from linarite.errors import InferenceRefused, LinariteError, Unauthorized
from linarite.http.auth import Keys
from linarite.indexing import extra
from linarite.resources.deployments.records import Target
from linarite.resources.indexes.service import Indexes
from linarite.resources.inference import cited
from linarite.resources.inference.answers import failure
from linarite.resources.inference.callers import Callers
from linarite.resources.inference.data_sources import NAME
from linarite.resources.inference.documents import Room, question_of, with_documents
from linarite.resources.inference.embedding import Embedders, Embedding
from linarite.resources.inference.refusals import refusals
from linarite.resources.inference.service import Inference
from linarite.resources.inference.weighing import Vector, Weighing
from linarite.settings import OutboundSettings
from linarite.wire.data_sources import (
    AzureSearchChatExtensionParameters,
    OnYourDataAccessTokenAuthenticationOptions,
    OnYourDataApiKeyAuthenticationOptions,
)

if TYPE_CHECKING:
    from linarite.indexing.retrieval import Passage, Question

_AT = f"{NAME}[0].parameters"
_DEFAULT_STRICTNESS, _DEFAULT_DOCUMENTS = 3, 5
_DEFAULT_CONTEXTS = ("citations", "intent")
_LONGEST_QUESTION = 8_000
_SEARCHES = 16
"""So many are done at once here, and beside them so many calls of others' servers a resource: those
that do not answer hold up nothing else."""
_SEARCH_SECONDS, _SILENCE_SECONDS = 30.0, 15.0

_WEIGHING_SECONDS = 20.0
"""So long a chat waits for what only weighs what is found."""

Find = Callable[["Iterable[Question]"], Awaitable["list[list[Passage]]"]]
"""Gives what an index has for each question."""
log = structlog.get_logger()


class Answering(Protocol):
    """What answers a chat: an engine, or `cited.Unasked`."""

    async def post(self, path: str, body: bytes) -> Reply:
        """The whole answer."""

    def stream(self, path: str, body: bytes) -> Any:
        """The answer as it comes."""


@dataclass(frozen=True)
class Grounded:
    """A chat with what was found for it.

    Args:
        body: what the model is asked.
        context: what the answer tells of where it comes from.
        unasked: answers in the model's place where nothing was found; None: the model is asked.
    """

    body: dict[str, Any]
    context: Mapping[str, Any]
    unasked: cited.Unasked | None

    def whole(self, answer: Reply) -> Reply:
        """A whole answer as callers get it."""
        return cited.cited_answer(answer, self.context)

    def around(
        self, events: Callable[[StreamReply], AsyncIterator[bytes]]
    ) -> Callable[[StreamReply], AsyncIterator[bytes]]:
        """What makes the events that callers get of an answer's."""
        return lambda reply: cited.cited_events(events(reply), self.context)


@dataclass(frozen=True)
class Grounding:
    """Looks for what chats ask.

    Args:
        inference: embeds questions.
        tokens: counts what a model can read.
        keys: tell whose a key of this server is.
        indexes: this server's own.
        outbound: how other search services and endpoints are reached.
        addresses: this server's own addresses, beside those that callers are seen to use.
    """

    inference: Inference
    tokens: Tokens
    keys: Keys
    indexes: Indexes
    outbound: OutboundSettings
    addresses: Sequence[str]
    _searchers: ThreadPoolExecutor = field(
        default_factory=partial(ThreadPoolExecutor, _SEARCHES, "searcher"), repr=False
    )
    _callers: Callers = field(default_factory=partial(Callers, _SEARCHES), repr=False)

    @cached_property
    def _embedders(self) -> Embedders:
        return Embedders(self.inference, self.tokens, self._callers)

    @cached_property
    def _weighing(self) -> Weighing:
        return Weighing(self.inference.deployments.clock.now)

    async def ground(
        self,
        engines: Engines,
        resource: str,
        target: Target,
        source: AzureSearchChatExtensionParameters,
        asked: dict[str, Any],
        address: str | None = None,
    ) -> Grounded:
        """The chat as the model is to be asked it.

        Args:
            engines: the connections of this event loop.
            resource: whose the chat is.
            target: who answers.
            source: where to look.
            asked: the chat without its source, which was found valid.
            address: of this server, as this caller uses it.

        Raises:
            InferenceRefused: the index or the embedding refuses, or is away.
            DeploymentNotFound: there is no such embedding deployment.
        """
        if not extra.is_installed():
            raise failure(extra.MESSAGE)
        is_own = self._is_own(source.endpoint, address)
        if is_own:
            await self._check_key(resource, source)
        text = question_of(asked)[:_LONGEST_QUESTION]
        embedding = None
        if (named := source.embedding_dependency) is not None:
            embedding = await self._embedders.of(engines, resource, named, self._reach)
        threads = self._searchers if is_own else self._callers.of(resource)
        owner = resource if is_own else None
        find = partial(_apart, threads, partial(self._find, owner, source))
        index = partial(self._index, resource, owner, source)
        found = await self._found(find, index, source, text, embedding)
        return await run_in_threadpool(self._shown, target, source, asked, text, found)

    def _is_own(self, endpoint: str | None, address: str | None) -> bool:
        if endpoint is None:
            return True
        own = {_origin(one) for one in (*self.addresses, address) if one}
        return _origin(endpoint) in own

    @property
    def _reach(self) -> OutboundSettings:
        """How others' servers are reached while a chat waits: without much patience."""
        given = self.outbound
        return given.model_copy(
            update={
                "total_seconds": min(given.total_seconds, _SEARCH_SECONDS),
                "read_seconds": min(given.read_seconds, _SILENCE_SECONDS),
            }
        )

    async def _check_key(self, resource: str, source: AzureSearchChatExtensionParameters) -> None:
        """Of an index of this server; whose it is the chat's own key has told."""
        given = source.authentication
        at = f"{_AT}.authentication"
        if isinstance(given, OnYourDataAccessTokenAuthenticationOptions):
            raise InferenceRefused(
                "This server's own indexes are opened by its keys; use the type `api_key`, or "
                "`system_assigned_managed_identity` to go by the key of the request.",
                param=at,
            )
        if isinstance(given, OnYourDataApiKeyAuthenticationOptions):
            try:
                owner = await self.keys.resource_of(given.key)
            except Unauthorized:
                owner = None
            if owner != resource:
                raise InferenceRefused(
                    "The key of the data source does not open the resource of this request.",
                    param=at,
                )

    async def _found(
        self,
        find: "Find",
        index: Callable[[], Awaitable[Sequence[str]]],
        source: AzureSearchChatExtensionParameters,
        text: str,
        embedding: Embedding | None,
    ) -> "list[Passage]":
        """What the index has, best first. What is not to be shown tells why."""
        from linarite.indexing.retrieval import judged

        vector, others = await self._vectors(source, text, embedding)
        question = _question(source, text, vector)
        [found] = await find([question])
        if vector and embedding and any(it.similarity is not None for it in found):
            until = asyncio.get_running_loop().time() + _WEIGHING_SECONDS
            known = (*await index(), embedding.name)
            background = self._weighing.background(known)
            if background is None:
                async with self._weighing.turn(known, until):
                    background = self._weighing.background(known)  # somebody may have been at it
                    if background is None:
                        likest = await _for_anything(find, others, until)
                        background = await self._weighing.measure(
                            embedding, vector, others, likest, known, until
                        )
            await self._weighing.weigh(
                embedding, vector, found, question.documents, background, until
            )
        return judged(found, question)

    async def _vectors(
        self, source: AzureSearchChatExtensionParameters, text: str, embedding: Embedding | None
    ) -> tuple[Vector | None, Sequence[Vector]]:
        """The question's vector, and those of what has nothing to do with any question.

        There is none where words alone are asked, or will do.
        """
        if embedding is None:
            return None, ()
        try:
            return await self._weighing.vectors(embedding, text)
        except LinariteError as error:
            if not (source.allow_partial_result and source.asks_words):
                raise
            log.warning("question_not_embedded", error=str(error))
            return None, ()

    async def _index(
        self, resource: str, owner: str | None, source: AzureSearchChatExtensionParameters
    ) -> list[str]:
        """What tells an index that was searched from others, and what is read of it."""
        made = None
        if owner is not None:
            generation = partial(self.indexes.generation, owner, source.index_name)
            made = await run_in_threadpool(generation)
        endpoint = "" if owner is not None else source.endpoint or ""
        mapping = source.fields_mapping
        fields = mapping.model_dump_json() if mapping is not None else ""
        return [resource, endpoint, source.index_name, made or "", fields]

    def _find(
        self,
        owner: str | None,
        source: AzureSearchChatExtensionParameters,
        questions: "Iterable[Question]",
    ) -> "list[list[Passage]]":
        """What the index has, in the resource `owner` where it is one of this server's."""
        from linarite.resources.inference import search_clients

        with refusals():
            if owner is not None:
                transport = self.indexes.transport(owner, "")
                return search_clients.find_in_own(transport, source, questions)
            return search_clients.find_elsewhere(self._reach, source, questions)

    def _shown(
        self,
        target: Target,
        source: AzureSearchChatExtensionParameters,
        asked: dict[str, Any],
        text: str,
        found: "list[Passage]",
    ) -> Grounded:
        in_scope = source.in_scope is not False
        relevant = [passage for passage in found if passage.filter_reason is None]
        if not relevant and in_scope:
            now = self.inference.deployments.clock.now()
            unasked = cited.Unasked(target.model.id, now, asked)
            return Grounded(asked, _context(source, text, [], found), unasked)
        room = Room(self.tokens, self.inference.place_of(target.model), target.model.context_tokens)
        body, count = with_documents(
            asked,
            [(passage.title, passage.content) for passage in relevant],
            room,
            role_information=source.role_information,
            in_scope=in_scope,
        )
        return Grounded(body, _context(source, text, relevant[:count], found), None)


def _context(
    source: AzureSearchChatExtensionParameters,
    text: str,
    shown: "Sequence[Passage]",
    found: "Sequence[Passage]",
) -> dict[str, Any]:
    intent = orjson.dumps([text]).decode()
    parts: dict[str, Any] = {
        "citations": [_citation(passage) for passage in shown],
        "intent": intent,
        "all_retrieved_documents": [_retrieved(passage, text) for passage in found],
    }
    wanted = source.include_contexts
    return {name: parts[name] for name in (_DEFAULT_CONTEXTS if wanted is None else wanted)}


def _citation(passage: "Passage") -> dict[str, Any]:
    told = {
        "content": passage.content,
        "title": passage.title,
        "url": passage.url,
        "filepath": passage.filepath,
        "chunk_id": passage.chunk_id,
    }
    return told if passage.reranked is None else {**told, "rerank_score": passage.reranked}


def _retrieved(passage: "Passage", text: str) -> dict[str, Any]:
    told = {
        **_citation(passage),
        "search_queries": [text],
        "data_source_index": 0,
        "original_search_score": passage.score,
    }
    if passage.filter_reason is not None:
        told["filter_reason"] = passage.filter_reason
    return told


async def _apart(
    threads: ThreadPoolExecutor,
    find: "Callable[[Iterable[Question]], list[list[Passage]]]",
    questions: "Iterable[Question]",
) -> "list[list[Passage]]":
    """What is found, in one of `threads`."""
    return await asyncio.get_running_loop().run_in_executor(threads, find, questions)


async def _for_anything(
    find: "Find", others: Sequence[Sequence[float]], until: float
) -> "list[list[Passage]]":
    """What is most like each of `others`; nothing where that fails or takes longer."""
    from linarite.resources.inference.search_clients import for_anything

    try:
        async with asyncio.timeout_at(until):
            return await find(for_anything(others, _WEIGHING_SECONDS))
    except (LinariteError, TimeoutError) as error:
        log.warning("background_not_found", error=str(error))
        return []


def _question(
    source: AzureSearchChatExtensionParameters, text: str, vector: Sequence[float] | None
) -> "Question":
    from linarite.indexing.retrieval import Question

    return Question(
        text,
        asks_words=source.asks_words,
        vector=vector,
        semantic_configuration=source.semantic_configuration if source.asks_semantics else None,
        filter=source.filter,
        strictness=source.strictness or _DEFAULT_STRICTNESS,
        documents=source.top_n_documents or _DEFAULT_DOCUMENTS,
        allow_partial=bool(source.allow_partial_result),
    )


def _origin(address: str) -> tuple[str, str | None, int | None]:
    try:
        parts = urlsplit(address)
        port = parts.port
    except ValueError:
        return (address, None, None)
    return (parts.scheme, parts.hostname, port or {"http": 80, "https": 443}.get(parts.scheme))
