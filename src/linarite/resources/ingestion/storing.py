"""From the texts of chunks to a target that holds them, and nothing else of their documents.

write ahead ▸ embed ▸ upsert ▸ delete what is stale ▸ settle
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from itertools import groupby

import orjson
import structlog

from linarite.indexing.failures import DocumentFailed
from linarite.indexing.targets.target import Chunk
from linarite.resources.ingestion import documents
from linarite.resources.ingestion.culprits import Blame, Choked, ask_beside
from linarite.resources.ingestion.documents import Settled, chunk_id, chunk_ids
from linarite.resources.ingestion.embeddings import Embeddings
from linarite.resources.ingestion.iterating import in_batches
from linarite.resources.ingestion.parts import Parts
from linarite.resources.ingestion.reading import Ready
from linarite.resources.ingestion.records import Run
from linarite.resources.ingestion.service import Ingestion
from linarite.resources.ingestion.tenure import Tenure

_CHUNKS_AT_ONCE = 1_000
"""How many go into the target at once: an index has more work with a write than with a chunk."""
_TEXTS_AT_ONCE = 256
"""How many are embedded before their vectors are kept."""
_IDS_AT_ONCE = 1_000

_Place = tuple[Ready, int]
"""A chunk: its document, and its number there."""

_log = structlog.get_logger("linarite.ingestion")


class Storing:
    """Brings documents into the target, a hand at a time; for one thread.

    Args:
        runs: the operations of ingestion, and the parts that those have.
        run: which run.
        parts: what it works with.
        tenure: the right to.
    """

    def __init__(self, runs: Ingestion, run: Run, parts: Parts, tenure: Tenure) -> None:
        self._runs = runs
        self._run = run
        self._parts = parts
        self._tenure = tenure
        self._embeddings = (
            None
            if parts.embedder is None
            else Embeddings(runs.database, run.job, parts.embedder, tenure.writing)
        )
        self._blame = Blame("stored")

    def store(self, hand: Sequence[Ready | Settled]) -> None:
        """Have the target hold what the documents say now; settle and let go of them.

        Raises:
            IngestionFailed: the target or the embedding refuses or is away.
            HandedBack, RunOver: this worker may not go on.
        """
        ready = [one for one in hand if isinstance(one, Ready)]
        if ready:
            most = [(one.document, len(one.texts)) for one in ready]
            with self._tenure.writing() as tx:
                documents.write_ahead(tx, most)
        refused: dict[str, str] = {}
        for places in in_batches(_places(ready), _CHUNKS_AT_ONCE):
            left = [place for place in places if place[0].document.id not in refused]
            if left:
                self._write(left, refused)
        ended = [
            one if isinstance(one, Settled) else _ended(one, refused.get(one.document.id))
            for one in hand
        ]
        self._delete_stale(ended, {one.document.id: len(one.texts) for one in ready})
        self._settle(ended)

    def _write(self, places: Sequence[_Place], refused: dict[str, str]) -> None:
        """Embed and store; document by document where one is refused, to find which, and why."""
        try:
            self._embed_and_upsert(places)
            self._blame.got_through()
        except DocumentFailed as failure:
            by_document = groupby(places, key=lambda place: place[0].document.id)
            apart = [(document, list(its)) for document, its in by_document]
            if len(apart) > 1:
                for _, its in apart:
                    self._write(its, refused)
                return
            [(document, _)] = apart
            if isinstance(failure, Choked):
                self._blame.put_on(document, failure)
            refused[document] = str(failure)

    def _embed_and_upsert(self, places: Sequence[_Place]) -> None:
        texts = [one.texts[number] for one, number in places]
        vectors: list[Sequence[float] | None] = [None] * len(texts)
        if (embeddings := self._embeddings) is not None:
            vectors.clear()
            for some in in_batches(texts, _TEXTS_AT_ONCE):
                ask = partial(embeddings.embed, some)
                vectors += ask_beside(self._tenure, ask, embeddings.embed_plain, "storing")
        now = datetime.fromtimestamp(self._runs.clock.now(), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        chunks = [
            _chunk(one, number, vector, now, self._run.maker)
            for (one, number), vector in zip(places, vectors, strict=True)
        ]
        upsert = self._parts.target.upsert
        plain = partial(upsert, [_plain(chunks[0])])
        ask_beside(self._tenure, partial(upsert, chunks), plain, "storing")

    def _delete_stale(self, ended: Sequence[Settled], written: dict[str, int]) -> None:
        """Delete what lies in the target beyond a document's chunks."""
        stale = (
            id_
            for one in ended
            for id_ in chunk_ids(
                one.document.id,
                one.chunks,
                max(one.document.chunks_most, written.get(one.document.id, 0)),
            )
        )
        for ids in in_batches(stale, _IDS_AT_ONCE):
            self._tenure.patiently(partial(self._parts.target.delete, ids))

    def _settle(self, ended: Sequence[Settled]) -> None:
        with self._tenure.writing() as tx:
            now = self._runs.clock.now()
            documents.settle(tx, ended, self._parts.fingerprint, self._run.id, now)
            for one in ended:
                key = one.document.key
                if one.error is not None:
                    self._runs.warn(tx, self._run.id, key, f"{key}: {one.error}")
                elif one.document.run == self._run.id:  # it was changed while the run went on
                    self._runs.unwarn(tx, self._run.id, key)


def _places(ready: Sequence[Ready]) -> Iterator[_Place]:
    for one in ready:
        for number in range(len(one.texts)):
            yield one, number


def _ended(one: Ready, refused: str | None) -> Settled:
    if refused is not None:
        return Settled(one.document, 0, None, refused)
    return Settled(one.document, len(one.texts), one.digest)


def _chunk(one: Ready, number: int, vector: Sequence[float] | None, now: str, maker: str) -> Chunk:
    item = one.document.item
    more = {
        "chunk_id": str(number),
        "content_type": item.content_type,
        "bytes": item.size,
        "version": item.version,
        "maker": maker,
    }
    return Chunk(
        id=chunk_id(one.document.id, number),
        parent_id=one.document.id,
        content=one.texts[number],
        title=one.title,
        filepath=item.key,
        url=item.url,
        chunk_id=str(number),
        last_updated=now,
        meta_json_string=orjson.dumps(more).decode(),
        vector=vector,
    )


def _plain(chunk: Chunk) -> Chunk:
    """One that says nothing, in the place of another, which comes over it or is deleted with it."""
    vector = None if chunk.vector is None else [1.0] + [0.0] * (len(chunk.vector) - 1)
    return replace(
        chunk, content="", title="", filepath="", url="", meta_json_string="{}", vector=vector
    )
