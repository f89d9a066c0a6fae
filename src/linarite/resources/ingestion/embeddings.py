"""Vectors kept by what they are of, so that no text of a job is embedded twice."""

import hashlib
from array import array
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

import sqlalchemy as sa

from linarite.storage.database import Database, Transaction
from linarite.storage.tables import ingestion_embeddings as embeddings

if TYPE_CHECKING:  # what it loads an installation may be without
    from linarite.indexing.embedding.embedder import Embedder

Vector = Sequence[float]
Writing = Callable[[], AbstractContextManager[Transaction]]
"""A transaction that may write, as whoever embeds may just now."""

_PROBE = "How many numbers has a vector of this model?"
_DELETED_AT_ONCE = 2_000
_INSERT = sa.text(  # the same words in both databases
    "INSERT INTO ingestion_embeddings (job, digest, vector) VALUES (:job, :digest, :vector)"
    " ON CONFLICT DO NOTHING"
)


class Embeddings:
    """An embedding model that a job asks for each text once.

    Vectors have floats of 4 bytes, whether they come from the model or from the rows.

    Args:
        database: where the rows are.
        job: the `seq` of the job that they belong to.
        embedder: the model.
        writing: opens the transactions that write them.
    """

    def __init__(
        self, database: Database, job: int, embedder: "Embedder", writing: Writing
    ) -> None:
        self._database = database
        self._job = job
        self._embedder = embedder
        self._writing = writing

    def dimensions(self) -> int:
        """How long the model's vectors are; raises IngestionFailed."""
        [vector] = self.embed([_PROBE])
        return len(vector)

    def embed_plain(self) -> None:
        """Have the model embed what any model can; raises IngestionFailed."""
        self._embedder.embed([_PROBE])

    def embed(self, texts: Sequence[str]) -> list[Vector]:
        """The vectors of `texts`, in their order; raises IngestionFailed."""
        digests = [_digest(self._embedder.name, text) for text in texts]
        with self._database.reading() as connection:
            vectors = _find(connection, self._job, set(digests))
        lacking = {
            digest: text
            for digest, text in zip(digests, texts, strict=True)
            if digest not in vectors
        }
        if lacking:
            made = self._embedder.embed(list(lacking.values()))
            fresh = {
                digest: array("f", vector) for digest, vector in zip(lacking, made, strict=True)
            }
            rows = [
                {"job": self._job, "digest": digest, "vector": vector.tobytes()}
                for digest, vector in fresh.items()
            ]
            with self._writing() as tx:
                tx.execute(_INSERT, rows)
            vectors |= fresh
        return [vectors[digest] for digest in digests]


def forget(job: int, writing: Writing) -> None:
    """Remove a job's vectors, in slices, so that nobody waits long."""
    some = sa.select(embeddings.c.seq).where(embeddings.c.job == job).limit(_DELETED_AT_ONCE)
    is_some = embeddings.c.seq.in_(some.scalar_subquery())
    while True:
        with writing() as tx:
            if tx.execute(sa.delete(embeddings).where(is_some)).rowcount < _DELETED_AT_ONCE:
                return


def count(connection: sa.Connection, job: int) -> int:
    """How many vectors of a job are kept."""
    query = sa.select(sa.func.count()).where(embeddings.c.job == job)
    return connection.execute(query).scalar_one()


def _find(connection: sa.Connection, job: int, digests: set[bytes]) -> dict[bytes, Vector]:
    query = sa.select(embeddings.c.digest, embeddings.c.vector).where(
        embeddings.c.job == job, embeddings.c.digest.in_(digests)
    )
    return {bytes(digest): _unpacked(vector) for digest, vector in connection.execute(query)}


def _digest(model: str, text: str) -> bytes:
    return hashlib.sha256(f"{model}\0{text}".encode()).digest()


def _unpacked(stored: bytes) -> "array[float]":
    vector = array("f")
    vector.frombytes(stored)
    return vector
