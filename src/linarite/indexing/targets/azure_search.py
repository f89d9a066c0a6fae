"""Chunks in Azure AI Search, by its official client.

The embedded index speaks the same dialect, so this is its target too: the transport decides which
of the two is meant. Knows no job.
"""

import dataclasses
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import orjson
from azure.core.credentials import AzureKeyCredential, TokenCredential
from azure.core.exceptions import ResourceExistsError, ResourceNotFoundError
from azure.core.pipeline.transport import HttpTransport
from azure.core.rest import HttpRequest
from azure.search.documents import SearchClient
from azure.search.documents.indexes import SearchIndexClient
from azure.search.documents.indexes.models import SearchIndex

from linarite.indexing.failures import DocumentFailed, IndexMisfit, IngestionFailed, TryLater
from linarite.indexing.targets.search_calls import BoundedRetries, search_failures
from linarite.indexing.targets.search_fields import VECTOR_FIELD, index_definition, misfit
from linarite.indexing.targets.target import OF_A_JOB, Chunk, Stored
from linarite.settings import MB

_API_VERSION = "2026-04-01"
_BATCH_CHUNKS, _BATCH_BYTES = 1000, 12 * MB
"""The service takes 1,000 documents and 16 MB in a request."""
_BUSY_DOCUMENT = frozenset({409, 422, 429, 503})
"""Statuses of one document in a batch that ask for another try."""
_TRIES = 5
_MOST_SKIPPED = 100_000
"""So many results of a search can be paged through."""
_CHUNK_ID = re.compile(r"[0-9a-f]{32}-\d+")

_STORED = tuple(field.name for field in dataclasses.fields(Stored))
_TEXTS = tuple(field.name for field in dataclasses.fields(Chunk) if field.name != "vector")

Action = tuple[str, bytes]
"""What is to be done to a document: its key, and the action as it goes on the wire."""


class AzureSearchTarget:
    """An index in Azure AI Search, or in the embedded one.

    Args:
        endpoint: the service's address, ``https://NAME.search.windows.net``.
        credential: its key, or a token credential, which the client sends over https only.
        transport: carries every request, and decides which addresses are reached.
        index_name: of the index, which is this job's alone.
        made_by: kept as the index's description; an index that tells another is not deleted, and
            one of another job is left alone.
        backoff_seconds: how long the first wait for a busy service is; it doubles with each.
    """

    def __init__(
        self,
        endpoint: str,
        credential: AzureKeyCredential | TokenCredential,
        transport: HttpTransport[Any, Any],
        index_name: str,
        made_by: str,
        backoff_seconds: float = 0.8,
    ) -> None:
        options: dict[str, Any] = {
            "transport": transport,
            "retry_policy": BoundedRetries(backoff_seconds),
            "permit_redirects": False,
            "api_version": _API_VERSION,
        }
        self._indexes = SearchIndexClient(endpoint, credential, **options)
        self._documents = SearchClient(endpoint, index_name, credential, **options)
        self._endpoint, self._name, self._made_by = endpoint, index_name, made_by
        self._backoff_seconds = backoff_seconds

    def ensure(self, dimensions: int | None) -> None:
        wanted = index_definition(self._name, self._made_by, dimensions)
        with search_failures(f"The index {self._name} in {self._endpoint} couldn't be created."):
            found = self._found() or self._created(wanted)
        if self._is_another_jobs(found):
            raise IngestionFailed(
                f"The index {self._name} in {self._endpoint} is another ingestion job's "
                f"(described as {str(found.description)[:200]!r}): use another job id, or delete "
                "that job."
            )
        reason = misfit(found, dimensions)
        if reason is not None:
            raise IndexMisfit(
                f"The index {self._name} in {self._endpoint} is there already and does not fit: "
                f"{reason} Delete it, or use another job id."
            )

    def upsert(self, chunks: Sequence[Chunk]) -> None:
        for batch in _batches(map(_upload, chunks)):
            self._settle(batch)

    def delete(self, ids: Sequence[str]) -> None:
        for start in range(0, len(ids), _BATCH_CHUNKS):
            self._settle([_deletion(id_) for id_ in ids[start : start + _BATCH_CHUNKS]])

    def count(self) -> int:
        """How many documents the index has; Azure's count follows what was stored by seconds."""
        with search_failures(f"The chunks in the index {self._name} couldn't be counted."):
            return int(self._documents.get_document_count())

    def stored(self, most: int | None = None) -> Iterator[Stored]:
        with search_failures(f"The chunks in the index {self._name} couldn't be listed."):
            try:
                yield from self._stored("", most)
            except ResourceNotFoundError:
                return

    def _stored(self, prefix: str, most: int | None) -> Iterator[Stored]:
        """Those whose documents' ids begin so: in parts where a search does not show all."""
        found = self._documents.search(
            "*",
            filter=f"parent_id ge '{prefix}' and parent_id lt '{prefix}g'" if prefix else None,
            select=list(_STORED),
            top=most or _MOST_SKIPPED,
            include_total_count=most is None,
        )
        if most is None and (found.get_count() or 0) > _MOST_SKIPPED:
            for digit in "0123456789abcdef":
                yield from self._stored(prefix + digit, most)
            return
        for document in found:
            yield Stored(*(str(document[name] or "") for name in _STORED))

    def drop(self) -> None:
        """Delete the index where the job made it, else the job's chunks that are in it."""
        with search_failures(f"The index {self._name} couldn't be deleted."):
            found = self._found()
            if found is None or self._is_another_jobs(found):
                return
            if found.description == self._made_by:
                self._indexes.delete_index(self._name)
                return
            ids = [str(document["id"]) for document in self._documents.search("*", select=["id"])]
        self.delete([id_ for id_ in ids if _CHUNK_ID.fullmatch(id_)])

    def _is_another_jobs(self, found: SearchIndex) -> bool:
        told = found.description or ""
        return told.startswith(OF_A_JOB) and told != self._made_by

    def _found(self) -> SearchIndex | None:
        try:
            return self._indexes.get_index(self._name)
        except ResourceNotFoundError:
            return None

    def _created(self, wanted: SearchIndex) -> SearchIndex:
        try:
            return self._indexes.create_index(wanted)
        except ResourceExistsError:  # another worker came first
            return self._indexes.get_index(self._name)

    def _settle(self, batch: Sequence[Action]) -> None:
        """Send a batch, and what of it the service was too busy for again.

        Raises:
            DocumentFailed: it refused a document.
            TryLater: it stayed too busy.
        """
        left = dict(batch)
        for wait in range(_TRIES):
            with search_failures(f"The index {self._name} took no documents."):
                results = self._sent(left.values())
            left = {id_: left[id_] for id_ in left if not _is_done(id_, results)}
            if not left:
                return
            time.sleep(self._backoff_seconds * 2**wait)
        raise TryLater(
            f"The index {self._name} in {self._endpoint} is too busy: {len(left)} documents were "
            f"not taken after {_TRIES} tries."
        )

    def _sent(self, actions: Iterable[bytes]) -> Mapping[str, Any]:
        """What became of each document, by its key.

        The client's own models would look at every number of a vector several times, which takes
        ten times as long as all else that is done for a chunk.
        """
        request = HttpRequest(
            "POST",
            f"{self._endpoint}/indexes('{self._name}')/docs/search.index",
            params={"api-version": _API_VERSION},
            headers={"accept": "application/json", "content-type": "application/json"},
            content=b'{"value":[%s]}' % b",".join(actions),
        )
        response = self._documents.send_request(request)
        response.raise_for_status()
        try:
            return {result["key"]: result for result in response.json()["value"]}
        except (
            ValueError,
            KeyError,
            TypeError,
        ) as error:  # such as a redirection, or a proxy's page
            raise IngestionFailed(
                f"The index {self._name} in {self._endpoint} answered {response.status_code} and "
                "did not tell what became of the documents."
            ) from error


def _is_done(id_: str, results: Mapping[str, Any]) -> bool:
    """Whether the service took the document, or told nothing against it but being busy.

    Raises:
        DocumentFailed: it refused the document for good.
    """
    result = results.get(id_)
    if result is None or result["statusCode"] in _BUSY_DOCUMENT:
        return False
    if result["status"] or result["statusCode"] == 404:  # of a deletion: it is gone already
        return True
    raise DocumentFailed(
        f"The index refused the chunk {id_} ({result['statusCode']}): {result.get('errorMessage')}"
    )


def _upload(chunk: Chunk) -> Action:
    document: dict[str, Any] = {name: getattr(chunk, name) for name in _TEXTS}
    if chunk.vector is not None:  # numbers of 32 bits are written shorter, and no list is made
        document[VECTOR_FIELD] = np.asarray(chunk.vector, np.float32)
    return chunk.id, _action("upload", document)


def _deletion(id_: str) -> Action:
    return id_, _action("delete", {"id": id_})


def _action(kind: str, document: Mapping[str, Any]) -> bytes:
    return orjson.dumps({"@search.action": kind, **document}, option=orjson.OPT_SERIALIZE_NUMPY)


def _batches(actions: Iterable[Action]) -> Iterator[list[Action]]:
    """The actions in batches that the service takes; one too long for it alone stays alone."""
    batch: list[Action] = []
    size_bytes = 0
    for action in actions:
        longer = len(action[1]) + 1
        if batch and (len(batch) == _BATCH_CHUNKS or size_bytes + longer > _BATCH_BYTES):
            yield batch
            batch, size_bytes = [], 0
        batch.append(action)
        size_bytes += longer
    if batch:
        yield batch
