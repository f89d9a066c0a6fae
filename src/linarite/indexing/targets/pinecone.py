"""Chunks in Pinecone, by its official client: each job in a namespace of an index.

The client has sockets of its own, so it is given only what the operator named, never a caller's
address.
"""

import dataclasses
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any

from pinecone import Pinecone, RetryConfig
from pinecone.errors import (
    ConflictError,
    ForbiddenError,
    NotFoundError,
    PineconeConnectionError,
    PineconeError,
    PineconeTimeoutError,
    RateLimitError,
    ServiceError,
    UnauthorizedError,
)
from pinecone.index import Index

from linarite.indexing.failures import DocumentFailed, IngestionFailed, TryLater
from linarite.indexing.targets.target import Chunk, Stored

_BATCH_CHUNKS, _BATCH_BYTES = 1000, 2_000_000
_METADATA_BYTES = 40_000
_LISTED_AT_ONCE = 100
_VECTOR_NUMBER_BYTES = 25
"""The longest that a number of a vector gets in JSON, with its comma."""
_READY_SECONDS = 120
_LONGEST_MESSAGE = 500

Vector = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Serverless:
    """Where an index that is not there yet is made.

    Args:
        cloud: ``aws``, ``azure`` or ``gcp``.
        region: of that cloud, ``us-east-1``.
    """

    cloud: str
    region: str


@contextmanager
def pinecone_target(
    api_key: str,
    namespace: str,
    *,
    host: str | None = None,
    index: str | None = None,
    create: Serverless | None = None,
    controller: str | None = None,
    backoff_seconds: float = 0.5,
) -> Iterator["PineconeTarget"]:
    """A namespace as a target, its connections open until the block ends.

    Args:
        api_key: of the project.
        namespace: the job's own.
        host: the index's address, as Pinecone tells it; then `index` is not looked up.
        index: its name.
        create: where an index of that name is made if there is none.
        controller: instead of Pinecone's own address for looking up and making indexes.
        backoff_seconds: how long a wait for a busy service is at least.
    """
    # The client tells every call at INFO.
    logging.getLogger("pinecone").setLevel(logging.WARNING)
    retries = RetryConfig(max_retries=4, backoff_factor=backoff_seconds, max_wait=30)
    with Pinecone(api_key, host=controller, retry_config=retries) as client, ExitStack() as stack:
        yield PineconeTarget(client, stack, namespace, host, index, create)


class PineconeTarget:
    """A job's namespace in an index; see `pinecone_target`."""

    def __init__(
        self,
        client: Pinecone,
        stack: ExitStack,
        namespace: str,
        host: str | None,
        index: str | None,
        create: Serverless | None,
    ) -> None:
        self._client, self._stack, self._namespace = client, stack, namespace
        self._host, self._name, self._create = host, index, create
        self._opened: Index | None = None
        self._told = f"The Pinecone index {index or host}"

    def ensure(self, dimensions: int | None) -> None:
        if dimensions is None:
            raise IngestionFailed("Pinecone keeps vectors only, and the job has no embeddings.")
        if self._host is None:
            self._look_up(dimensions)
        with self._failures("couldn't be looked at"):
            there = self._index().describe_index_stats().dimension
        if there != dimensions:
            raise IngestionFailed(
                f"{self._told} has {there or 'no'} dimensions, and the embeddings have "
                f"{dimensions}. Name another index."
            )

    def upsert(self, chunks: Sequence[Chunk]) -> None:
        """Store chunks.

        Raises:
            DocumentFailed: Pinecone keeps at most 40,000 bytes beside a vector; nothing is stored.
        """
        vectors = [_vector(chunk) for chunk in chunks]
        for batch in _batches(vectors):
            with self._failures("took no chunks"):
                self._index().upsert(vectors=batch, namespace=self._namespace)

    def delete(self, ids: Sequence[str]) -> None:
        for start in range(0, len(ids), _BATCH_CHUNKS):
            gone = list(ids[start : start + _BATCH_CHUNKS])
            with self._failures("deleted no chunks"), _missing_is_fine():
                self._index().delete(ids=gone, namespace=self._namespace)

    def count(self) -> int:
        """How many vectors the namespace has; Pinecone's count follows by seconds."""
        with self._failures("couldn't be counted"):
            namespaces = self._index().describe_index_stats().namespaces
        return namespaces[self._namespace].vector_count if self._namespace in namespaces else 0

    def stored(self, most: int | None = None) -> Iterator[Stored]:
        return islice(self._stored(min(most or _LISTED_AT_ONCE, _LISTED_AT_ONCE)), most)

    def _stored(self, at_once: int) -> Iterator[Stored]:
        with self._failures("couldn't be listed"), _missing_is_fine():
            for page in self._index().list(namespace=self._namespace, limit=at_once):
                ids = [str(one.id) for one in page.vectors]
                found = self._index().fetch(ids=ids, namespace=self._namespace).vectors
                for id_, vector in found.items():
                    known = vector.metadata or {}
                    told = known.get("filepath", ""), known.get("meta_json_string", "")
                    yield Stored(id_, *map(str, told))

    def drop(self) -> None:
        """Empty the namespace, whereupon it is gone; the index, which others may use, stays."""
        with self._failures("couldn't be emptied"), _missing_is_fine():
            self._index().delete(delete_all=True, namespace=self._namespace)

    def _index(self) -> Index:
        if self._opened is None:
            if self._host is not None:
                opened = self._client.index(host=self._host)
            else:
                opened = self._client.index(self._name or "")
            self._opened = self._stack.enter_context(opened)
        return self._opened

    def _look_up(self, dimensions: int) -> None:
        """See that there is an index of the name, or make it."""
        name = self._name or ""
        with self._failures("couldn't be created"):
            try:
                self._client.indexes.describe(name)
            except NotFoundError as error:
                if self._create is None:
                    raise IngestionFailed(
                        f"{self._told} is not there; make it with {dimensions} dimensions, or let "
                        "the connection say where it is to be made (`create`)."
                    ) from error
                self._make(name, dimensions, self._create)

    def _make(self, name: str, dimensions: int, place: Serverless) -> None:
        values = {"type": "dense_vector", "dimension": dimensions, "metric": "cosine"}
        try:
            self._client.indexes.create(
                name=name,
                schema={"fields": {"_values": values}},
                deployment={
                    "deployment_type": "managed",
                    "cloud": place.cloud,
                    "region": place.region,
                },
                timeout=_READY_SECONDS,
            )
        except ConflictError:  # another worker came first
            return

    @contextmanager
    def _failures(self, what: str) -> Iterator[None]:
        """Raise IngestionFailed or TryLater for the client's errors; none tells the key."""
        try:
            yield
        except (PineconeConnectionError, PineconeTimeoutError) as error:
            raise TryLater(f"{self._told} {what}: it could not be reached.") from error
        except RateLimitError as error:
            told = f"{self._told} {what}: it is busy (429)."
            raise TryLater(told, error.retry_after, is_limit=True) from error
        except ServiceError as error:
            raise TryLater(f"{self._told} {what}: it answered {error.status_code}.") from error
        except (UnauthorizedError, ForbiddenError) as error:
            raise IngestionFailed(f"{self._told} {what}: Pinecone refused the key.") from error
        except PineconeError as error:
            told = " ".join(error.message.split())[:_LONGEST_MESSAGE]
            raise IngestionFailed(f"{self._told} {what}: {told}") from error


@contextmanager
def _missing_is_fine() -> Iterator[None]:
    """A namespace that was never written to is a 404."""
    try:
        yield
    except NotFoundError:
        return


def _vector(chunk: Chunk) -> Vector:
    fields = {field.name: getattr(chunk, field.name) for field in dataclasses.fields(chunk)}
    id_, values = fields.pop("id"), fields.pop("vector")
    size_bytes = _json_bytes(fields)
    if size_bytes > _METADATA_BYTES:
        raise DocumentFailed(
            f"The chunk {chunk.chunk_id} has {size_bytes} bytes with its title and address, and "
            f"Pinecone keeps at most {_METADATA_BYTES} beside a vector: choose smaller chunks."
        )
    return {"id": id_, "values": list(values or ()), "metadata": fields}


def _batches(vectors: Sequence[Vector]) -> Iterator[list[Vector]]:
    """The vectors in batches that Pinecone takes."""
    batch: list[Vector] = []
    size_bytes = 0
    for vector in vectors:
        longer = _json_bytes(vector["metadata"]) + _VECTOR_NUMBER_BYTES * len(vector["values"])
        if batch and (len(batch) == _BATCH_CHUNKS or size_bytes + longer > _BATCH_BYTES):
            yield batch
            batch, size_bytes = [], 0
        batch.append(vector)
        size_bytes += longer
    if batch:
        yield batch


def _json_bytes(metadata: Mapping[str, Any]) -> int:
    return len(json.dumps(metadata, ensure_ascii=False).encode())
