"""Chunks in Azure Cosmos DB for MongoDB vCore, by pymongo.

pymongo has sockets of its own, so it is given only what the operator named, never a caller's
string. Several jobs may share a collection; each document says whose it is.
"""

import dataclasses
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal

from pymongo import DeleteMany, MongoClient, ReplaceOne
from pymongo.collection import Collection
from pymongo.errors import (
    BulkWriteError,
    ConnectionFailure,
    InvalidName,
    OperationFailure,
    PyMongoError,
)

from linarite.indexing.failures import DocumentFailed, IngestionFailed, TryLater
from linarite.indexing.targets.target import Chunk, Stored

VECTOR_FIELD = "contentVector"
VECTOR_INDEX = "contentVector_cosmosSearch"
JOB_FIELD = "ingestion_job"
_MOST_DIMENSIONS = 2000
_BATCH_CHUNKS = 1000
_PATIENCE: dict[str, Any] = {
    "serverSelectionTimeoutMS": 10_000,
    "connectTimeoutMS": 10_000,
    "socketTimeoutMS": 60_000,
}
"""Where the address does not say otherwise."""
_TRIES = 6
_BUSY = frozenset({16500, 50, 91, 189, 10107, 11600, 11602, 13435, 13436})
"""Codes that ask for another try: over the request units, out of time, no primary just now."""
_REFUSED = frozenset({13, 18})
_ALREADY = frozenset({48, 68, 85, 86})
"""Another worker made the collection or the index in between."""
_LONGEST_MESSAGE = 500

IndexKind = Literal["vector-ivf", "vector-hnsw"]
Document = dict[str, Any]
_INDEX_OPTIONS: Mapping[IndexKind, Mapping[str, int]] = {
    "vector-ivf": {"numLists": 100},
    "vector-hnsw": {"m": 16, "efConstruction": 64},
}


@contextmanager
def cosmos_target(
    url: str,
    database: str,
    collection: str,
    job: str,
    index_kind: IndexKind = "vector-ivf",
    backoff_seconds: float = 0.5,
) -> Iterator["CosmosTarget"]:
    """A collection as a target, its connections open until the block ends.

    Args:
        url: ``mongodb+srv://…``, as the operator wrote it.
        database: made when something is stored.
        collection: the same.
        job: tells the job's documents from those of others; the same for all its runs.
        index_kind: of the vector index where the job makes it; HNSW wants the larger clusters.
        backoff_seconds: how long the first wait for a busy cluster is; it doubles with each.

    Raises:
        IngestionFailed: the address or a name cannot be read.
    """
    try:
        client: MongoClient[Document] = MongoClient(
            url,
            connect=False,
            appname="linarite",
            **{name: ms for name, ms in _PATIENCE.items() if name.lower() not in url.lower()},
        )
    except (PyMongoError, ValueError) as error:  # its words may repeat the address
        raise IngestionFailed(
            "The Cosmos DB connection's address cannot be read; it looks like "
            "mongodb+srv://USER:PASSWORD@NAME.mongocluster.cosmos.azure.com/…"
        ) from error
    with client:
        try:
            found = client[database][collection]
        except InvalidName as error:
            raise IngestionFailed(f"{database}.{collection}: {error}") from error
        yield CosmosTarget(found, job, index_kind, backoff_seconds)


class CosmosTarget:
    """The documents of one job in a collection; see `cosmos_target`."""

    def __init__(
        self,
        collection: Collection[Document],
        job: str,
        index_kind: IndexKind,
        backoff_seconds: float,
    ) -> None:
        self._collection, self._job = collection, job
        self._index_kind, self._backoff_seconds = index_kind, backoff_seconds
        self._name = collection.full_name

    def ensure(self, dimensions: int | None) -> None:
        if dimensions is not None and dimensions > _MOST_DIMENSIONS:
            raise IngestionFailed(
                f"Cosmos DB indexes vectors of at most {_MOST_DIMENSIONS} dimensions, and the "
                f"embeddings have {dimensions}."
            )
        with self._failures("couldn't be prepared"):
            found = self._dimensions()
            if found is None:
                self._make_indexes(dimensions)
                found = self._dimensions()
        if found != dimensions:
            raise IngestionFailed(
                f"The collection {self._name} has vectors of {found or 'no'} dimensions, and the "
                f"embeddings have {dimensions or 'none'}. Delete it, or name another collection."
            )

    def upsert(self, chunks: Sequence[Chunk]) -> None:
        for start in range(0, len(chunks), _BATCH_CHUNKS):
            documents = [self._document(chunk) for chunk in chunks[start : start + _BATCH_CHUNKS]]
            self._write([ReplaceOne({"_id": it["_id"]}, it, upsert=True) for it in documents])

    def delete(self, ids: Sequence[str]) -> None:
        for start in range(0, len(ids), _BATCH_CHUNKS):
            gone = list(ids[start : start + _BATCH_CHUNKS])
            self._write([DeleteMany({"_id": {"$in": gone}, JOB_FIELD: self._job})])

    def count(self) -> int:
        with self._failures("couldn't be counted"):
            return self._collection.count_documents({JOB_FIELD: self._job})

    def stored(self, most: int | None = None) -> Iterator[Stored]:
        wanted = {"filepath": 1, "meta_json_string": 1}
        with self._failures("couldn't be listed"):
            for found in self._collection.find({JOB_FIELD: self._job}, wanted).limit(most or 0):
                yield Stored(found["_id"], found["filepath"], found["meta_json_string"])

    def drop(self) -> None:
        """Delete the job's documents, and the collection once a job indexed it and none is left."""
        self._write([DeleteMany({JOB_FIELD: self._job})])
        with self._failures("couldn't be deleted"):
            made_here = self._dimensions() is not None
            if made_here and self._collection.find_one({}, {"_id": 1}) is None:
                self._collection.drop()

    def _dimensions(self) -> int | None:
        """Of the vector index that is there, whoever made it."""
        for index in self._collection.list_indexes():
            if VECTOR_FIELD in index["key"] and "cosmosSearchOptions" in index:
                return int(index["cosmosSearchOptions"]["dimensions"])
        return None

    def _make_indexes(self, dimensions: int | None) -> None:
        indexes: list[Document] = [{"name": f"{JOB_FIELD}_1", "key": {JOB_FIELD: 1}}]
        if dimensions is not None:
            options = {
                "kind": self._index_kind,
                **_INDEX_OPTIONS[self._index_kind],
                "similarity": "COS",
                "dimensions": dimensions,
            }
            key = {VECTOR_FIELD: "cosmosSearch"}
            indexes.append({"name": VECTOR_INDEX, "key": key, "cosmosSearchOptions": options})
        try:
            self._collection.database.command(
                {"createIndexes": self._collection.name, "indexes": indexes}
            )
        except OperationFailure as error:
            if error.code not in _ALREADY:
                raise

    def _write(self, requests: list[Any]) -> None:
        """Do what is asked, and what the cluster was too busy for again.

        Raises:
            DocumentFailed: it refused a document.
            TryLater: it stayed too busy.
        """
        left = requests
        for wait in range(_TRIES):
            with self._failures("couldn't be written"):
                left = self._unwritten(left)
            if not left:
                return
            time.sleep(self._backoff_seconds * 2**wait)
        raise TryLater(
            f"The collection {self._name} is too busy: {len(left)} writes were not taken after "
            f"{_TRIES} tries.",
            is_limit=True,  # of request units, but for seldom reasons
        )

    def _unwritten(self, requests: list[Any]) -> list[Any]:
        try:
            self._collection.bulk_write(requests, ordered=False)
        except BulkWriteError as error:
            failed = error.details["writeErrors"]
            for one in failed:
                if one["code"] not in _BUSY:
                    raise DocumentFailed(
                        f"The collection {self._name} refused a chunk: {_brief(one['errmsg'])}"
                    ) from error
            if not failed:  # a write concern that was not met: nothing says what is written
                return requests
            return [requests[one["index"]] for one in failed]
        return []

    def _document(self, chunk: Chunk) -> Document:
        fields = {field.name: getattr(chunk, field.name) for field in dataclasses.fields(chunk)}
        vector = fields.pop("vector")
        document = {"_id": fields.pop("id"), JOB_FIELD: self._job, **fields}
        return document if vector is None else document | {VECTOR_FIELD: list(vector)}

    @contextmanager
    def _failures(self, what: str) -> Iterator[None]:
        """Raise IngestionFailed or TryLater for pymongo's errors; none tells the address."""
        try:
            yield
        except ConnectionFailure as error:
            raise TryLater(
                f"The collection {self._name} {what}: its cluster could not be reached."
            ) from error
        except OperationFailure as error:
            errmsg = (error.details or {}).get("errmsg", "")
            told = f"The collection {self._name} {what}: {_brief(errmsg)} (code {error.code})"
            if error.code in _BUSY:
                raise TryLater(told) from error
            if error.code in _REFUSED:
                told = f"The collection {self._name} {what}: the cluster refused the credentials."
            raise IngestionFailed(told) from error
        except PyMongoError as error:
            raise IngestionFailed(
                f"The collection {self._name} {what}: {_brief(str(error))}"
            ) from error


def _brief(text: str) -> str:
    return " ".join(text.split())[:_LONGEST_MESSAGE]
