"""Clients of the search services that callers name, and of this server's own indexes.

Loaded when the first chat asks for an index: Azure's packages are not part of every installation.
"""

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from azure.core.credentials import AccessToken, AzureKeyCredential, TokenCredential
from azure.core.pipeline.transport import HttpTransport
from azure.search.documents import SearchClient
from azure.search.documents.indexes import SearchIndexClient
from azure.search.documents.indexes.models import SearchIndex

from linarite.indexing.azure_transport import guarded_transport
from linarite.indexing.failures import IngestionFailed, TryLater
from linarite.indexing.retrieval import Fields, Passage, Question, find
from linarite.indexing.search.in_process import ENDPOINT
from linarite.indexing.targets.search_calls import BoundedRetries, search_failures
from linarite.settings import OutboundSettings
from linarite.wire.data_sources import (
    AzureSearchChatExtensionParameters,
    AzureSearchIndexFieldMappingOptions,
    OnYourDataAccessTokenAuthenticationOptions,
    OnYourDataApiKeyAuthenticationOptions,
)

_VECTORS = "Collection(Edm.Single)"
_LIKEST = 3
"""So many are fetched for a vector that has nothing to do with the question."""
_TOKEN_SECONDS = 300
_BACKOFF_SECONDS, _RETRIES = 0.2, 0
"""A chat is waited for: whoever asks it tries again."""


class _CallersToken:
    """A token that the caller brought, for as long as one chat takes."""

    def __init__(self, token: str) -> None:
        self._token = token

    def get_token(self, *scopes: str, **_options: Any) -> AccessToken:
        """The token, whatever it is for."""
        return AccessToken(self._token, int(time.time()) + _TOKEN_SECONDS)


def find_in_own(
    transport: HttpTransport[Any, Any],
    source: AzureSearchChatExtensionParameters,
    questions: Iterable[Question],
) -> list[list[Passage]]:
    """What an index of this server has for each question.

    Args:
        transport: of the caller's resource; it is closed at the end.
        source: which index, and how it is searched.
        questions: what is looked for; nothing here ranks anew by meaning.

    Raises:
        IngestionFailed: there is no such index, or it refuses a search.
    """
    how: dict[str, Any] = {"transport": transport}
    credential = AzureKeyCredential("none is asked for")
    with (
        SearchIndexClient(ENDPOINT, credential, **how) as indexes,
        SearchClient(ENDPOINT, source.index_name, credential, **how) as documents,
    ):
        with search_failures("The data source could not be searched."):
            index = indexes.get_index(source.index_name)
        select = [it.name for it in index.fields if it.retrievable and it.type != _VECTORS]
        fields, found = _fields(source.fields_mapping), []
        for question in questions:
            _check_semantics(index, question.semantic_configuration)
            plain = replace(question, semantic_configuration=None)
            found.append(find(documents, plain, fields, select))
        return found


def find_elsewhere(
    outbound: OutboundSettings,
    source: AzureSearchChatExtensionParameters,
    questions: Iterable[Question],
) -> list[list[Passage]]:
    """What an index of a search service has for each question, by the caller's own credentials.

    Args:
        outbound: the ``[outbound]`` section.
        source: which service and index, and how it is searched.
        questions: what is looked for.

    Raises:
        IngestionFailed: the service refuses, or is away (TryLater).
    """
    endpoint = source.endpoint or ""
    credential = _credential(endpoint, source)
    with SearchClient(
        endpoint,
        source.index_name,
        credential,
        transport=guarded_transport(outbound),
        retry_policy=BoundedRetries(_BACKOFF_SECONDS, _RETRIES),
        permit_redirects=False,
    ) as documents:
        fields = _fields(source.fields_mapping)
        return [find(documents, question, fields) for question in questions]


def for_anything(others: Iterable[Sequence[float]], seconds: float) -> Iterator[Question]:
    """What an index is asked for vectors that have nothing to do with any question.

    Args:
        others: the vectors.
        seconds: how long is searched.

    Raises:
        TryLater: they are over.
    """
    until = time.monotonic() + seconds
    for other in others:
        if time.monotonic() >= until:
            raise TryLater("Searching for anything takes too long.")
        yield Question("", asks_words=False, vector=other, documents=1, least=_LIKEST)


def _credential(
    endpoint: str, source: AzureSearchChatExtensionParameters
) -> AzureKeyCredential | TokenCredential:
    match source.authentication:
        case OnYourDataApiKeyAuthenticationOptions(key=key):
            return AzureKeyCredential(key)
        case OnYourDataAccessTokenAuthenticationOptions(access_token=token):
            if not endpoint.startswith("https://"):
                raise IngestionFailed(
                    f"{endpoint} is not reached by https, and a token is not sent."
                )
            return _CallersToken(token)
        case None:
            raise IngestionFailed(
                f"`authentication` is required for the search service {endpoint}."
            )
    raise IngestionFailed(
        "This server's own identity is not lent to chats; give a key or a token of the search "
        "service in `authentication`."
    )


def _check_semantics(index: SearchIndex, named: str | None) -> None:
    there = index.semantic_search.configurations if index.semantic_search else None
    if named is not None and named not in {each.name for each in there or ()}:
        raise IngestionFailed(f"The index {index.name} has no semantic configuration '{named}'.")


def _fields(mapping: AzureSearchIndexFieldMappingOptions | None) -> Fields:
    if mapping is None:
        return Fields()
    usual = Fields()
    separator = mapping.content_fields_separator
    return Fields(
        content=mapping.content_fields or usual.content,
        separator=usual.separator if separator is None else separator,
        title=mapping.title_field or usual.title,
        url=mapping.url_field or usual.url,
        filepath=mapping.filepath_field or usual.filepath,
        vectors=mapping.vector_fields or usual.vectors,
    )
