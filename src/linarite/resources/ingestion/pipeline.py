"""A run from its first page to its last count: what the coordinator of its lanes does.

    crawl ──▶ list and compare ──▶ lanes work ──▶ remove what vanished ──▶ reconcile ──▶ clean up
    ──▶ the run has ended ──▶ tidy the index up

It may die anywhere and begins anew then: crawling and listing again cost little, and the rows say
what is left to do. What is written holds only while the run goes on and its worker owns the task.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

import structlog

from linarite.indexing.containers.container import Item
from linarite.indexing.failures import IndexMisfit, IngestionFailed
from linarite.resources.ingestion import documents, embeddings
from linarite.resources.ingestion.documents import (
    Counts,
    Document,
    Known,
    State,
    chunk_ids,
    document_id,
)
from linarite.resources.ingestion.embeddings import Embeddings
from linarite.resources.ingestion.iterating import in_batches
from linarite.resources.ingestion.makers import check_maker
from linarite.resources.ingestion.parts import Parts, delete_all
from linarite.resources.ingestion.records import Run, Trigger
from linarite.resources.ingestion.seen import Seen
from linarite.resources.ingestion.service import Ingestion
from linarite.resources.ingestion.stages import Stages
from linarite.resources.ingestion.strays import remove_strays
from linarite.resources.ingestion.tenure import Tenure

if TYPE_CHECKING:  # what it loads an installation may be without
    from linarite.indexing.crawling.crawl import Crawled

LANE = "ingestion.lane"
"""The task of a lane; its subject is the run's id, a slash and the lane's number."""

_LISTED_AT_ONCE = 1_000
_REMOVED_AT_ONCE = 500
_IDS_AT_ONCE = 1_000
_WORTH_A_LANE = 16
"""Documents."""
_VECTORS, _VECTORS_A_CHUNK = 10_000, 4
"""How many vectors are kept from run to run: so many, and so many for each chunk."""
_FIRST_LOOK_SECONDS = 0.05
_LOOK_SECONDS = 1.0
_LATER = 0.03
"""How much later than its lanes a run may end, as a part of the time that they took."""
_ASK_AGAIN_SECONDS = 10.0
_SETTLE_SECONDS = 60.0
"""How long a target may take until it counts what was stored last."""
_LONGEST_RECOUNT_SECONDS = 5.0

_log = structlog.get_logger("linarite.ingestion")


class Coordinator:
    """What brings one run to its end.

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
        self._has_written = run.is_resumed  # by whoever was at it before
        self._is_retry = run.trigger == Trigger.RETRY_FAILED
        self.stages = Stages(runs, run.id, tenure, crawls=parts.pages is not None)

    def work(self) -> None:
        """Do all that there is to do, and end the run.

        Raises:
            IngestionFailed: the run cannot go on.
            HandedBack, RunOver: this worker may not.
        """
        try:
            self._work()
        except IngestionFailed:
            self.stages.write_now()  # where it failed
            raise

    def _work(self) -> None:
        is_whole = self._crawl()
        seen = self._list_all()
        self._have_lanes_work()
        if is_whole and not self._is_retry:
            self._remove_vanished(seen)
        self._reconcile()
        if self._parts.cleans_up:
            self._clean_up()
        else:
            self._forget_idle_vectors()
        self._finish()
        if self._has_written:
            self._parts.tidy()  # all can be found already, soon faster

    def wait_for_earlier_lanes(self) -> None:
        """What an earlier run's lanes still hold, they are about to write into the target."""
        while True:
            with self._runs.database.reading() as connection:
                if not documents.are_held(connection, self._run.job, by_others_than=self._run.id):
                    return
            self._tenure.wait(_LOOK_SECONDS)

    def _crawl(self) -> bool:
        """Fill the container where it is to be; whether it holds all that there is."""
        if (pages := self._parts.pages) is None:
            return True

        def told(crawled: "Crawled") -> None:
            self.stages.crawling.count(crawled.saved + crawled.unchanged, crawled.known)

        def warn(url: str, why: str) -> None:
            with self._tenure.writing() as tx:
                self._runs.warn(tx, self._run.id, url, f"{url}: {why}")

        self.stages.crawling.begin()
        crawled = self._tenure.patiently(lambda: pages.crawl(self._tenure.check, told, warn))
        told(crawled)
        for key in crawled.gone:
            self._tenure.patiently(partial(pages.delete, key))
        self.stages.crawling.end()
        return crawled.is_complete

    def _list_all(self) -> Seen:
        self.stages.preprocessing.begin()
        self.stages.listing.begin()
        seen = self._tenure.patiently(self._list)
        self.stages.listing.end()
        return seen

    def _list(self) -> Seen:
        """Compare what the container holds with what is known, and mark what is to be done."""
        with self._runs.database.reading() as connection:
            seen = Seen(*documents.ends(connection, self._run.job))
        count = 0
        for items in in_batches(self._listed(), _LISTED_AT_ONCE):
            self._compare(items, seen)
            count += len(items)
            self.stages.listing.count(count)
        return seen

    def _listed(self) -> Iterator[Item]:
        """What the container tells of, which may be a caller's own server and lie without end."""
        most = self._runs.settings.ingestion.documents
        for number, item in enumerate(self._parts.container.list()):
            self._tenure.check()
            if number == most:
                raise IngestionFailed(
                    f"The container holds more than {most:,} documents, the most that a job may "
                    "have; its operator can change the setting `ingestion.documents`."
                )
            yield item

    def _compare(self, items: list[Item], seen: Seen) -> None:
        run = self._run
        listed = {document_id(run.resource, run.job_id, item.key): item for item in items}
        with self._runs.database.reading() as connection:
            known = documents.known(connection, run.job, listed)
        seen.add(one.seq for one in known.values())
        new: Mapping[str, Item] = {}
        if not self._is_retry:
            new = {id_: item for id_, item in listed.items() if id_ not in known}
        changed = {
            one.seq: listed[id_] for id_, one in known.items() if self._is_due(one, listed[id_])
        }
        if new or changed:
            with self._tenure.writing() as tx:
                if new:
                    documents.add(tx, run.job, new)
                if changed:
                    documents.change(tx, changed)

    def _is_due(self, known: Known, item: Item) -> bool:
        """Whether a document is to be worked on that was not before."""
        if known.state == State.PENDING:
            return known.version != item.version
        if self._is_retry:
            return known.state == State.FAILED and known.run != self._run.id
        return known.version != item.version or known.fingerprint != self._parts.fingerprint

    def _have_lanes_work(self) -> None:
        """Put lanes down, and wait until no document is left that is to be worked on."""
        self._ensure_target()  # even for nothing: somebody may have deleted it
        counts = self._counts()
        lanes = min(self._parts.parallel, -(-counts.pending // _WORTH_A_LANE))
        asked_at, began = float("-inf"), time.monotonic()
        self.stages.indexing.begin()
        self._has_written |= counts.pending > 0
        while counts.pending:
            if time.monotonic() - asked_at > _ASK_AGAIN_SECONDS:
                self._put_down(lanes)
                asked_at = time.monotonic()
            so_far = time.monotonic() - began
            self._tenure.wait(min(max(_FIRST_LOOK_SECONDS, so_far * _LATER), _LOOK_SECONDS))
            counts = self._counts()
        self.stages.preprocessing.end()

    def _put_down(self, lanes: int) -> None:
        """Have lanes performed; those that wait or run already stay as they are."""
        with self._tenure.writing() as tx:
            for number in range(lanes):
                self._runs.queue.enqueue(
                    tx, LANE, f"{self._run.id}/{number}", resource=self._run.resource
                )

    def _counts(self) -> Counts:
        with self._runs.database.reading() as connection:
            counts = documents.counts(connection, self._run.job)
        self.stages.preprocessing.count(counts.settled, counts.total)
        self.stages.indexing.count(counts.indexed, counts.total)
        return counts

    def _ensure_target(self) -> None:
        dimensions = None
        if self._parts.embedder is not None:
            vectors = Embeddings(
                self._runs.database, self._run.job, self._parts.embedder, self._tenure.writing
            )
            dimensions = self._tenure.patiently(vectors.dimensions)
        target = self._parts.target
        ensure = partial(target.ensure, dimensions)
        try:
            self._tenure.patiently(ensure)
        except IndexMisfit:
            with self._runs.database.reading() as connection:
                if not (self._parts.is_own or documents.chunks(connection, self._run.job)):
                    raise  # it was not this job that filled it
            self._check_maker()
            self._tenure.patiently(target.drop)  # its vectors are another model's
            with self._tenure.writing() as tx:
                documents.redo(tx, self._run.job)
            self._tenure.patiently(ensure)
        self._check_maker()

    def _check_maker(self) -> None:
        """Raise IngestionFailed where the target is filled by a job of the same names."""
        self._tenure.patiently(partial(check_maker, self._parts, self._run.maker))

    def _remove_vanished(self, seen: Seen) -> None:
        """Take out of the target what the container does not hold any more."""
        job, last, removed = self._run.job, 0, 0
        with self._runs.database.reading() as connection:
            if seen.are_all(documents.count_up_to(connection, job, seen.newest)):
                return
        self.stages.removing.begin()
        while True:
            with self._runs.database.reading() as connection:
                page = documents.walk(connection, job, last, _REMOVED_AT_ONCE)
            if not page:
                break
            last = page[-1].seq
            removed += self._remove([one for one in page if one.seq not in seen])
            self.stages.removing.count(removed)
        self.stages.removing.end()

    def _remove(self, gone: Sequence[Document]) -> int:
        ids = (id_ for one in gone for id_ in chunk_ids(one.id, 0, one.chunks_most))
        for some in in_batches(ids, _IDS_AT_ONCE):
            self._tenure.patiently(partial(self._parts.target.delete, some))
        if gone:
            self._has_written = True
            with self._tenure.writing() as tx:
                documents.remove(tx, [one.seq for one in gone])
        return len(gone)

    def _reconcile(self) -> None:
        """See to it that the target holds as many chunks as were stored there.

        Where it lacks some, all are stored anew, once; where it has too many, the job's own that
        nothing is known of are removed.
        """
        self.stages.reconciling.begin()
        stored, there = self._recount()
        if there < stored:
            _log.warning("chunks are missing", run=self._run.id, stored=stored, there=there)
            with self._tenure.writing() as tx:
                documents.redo(tx, self._run.job)
            self.stages.preprocessing.begin()
            self._have_lanes_work()
            stored, there = self._recount()
        if there > stored:
            _log.warning("chunks are too many", run=self._run.id, stored=stored, there=there)
            removed = remove_strays(self._runs.database, self._run, self._parts, self._tenure)
            self._has_written |= removed > 0
            stored, there = self._recount()
        if there != stored:
            whose = "is not this job's, and stays" if there > stored else "did not stay there"
            raise IngestionFailed(
                f"The index ({self._parts.place}) holds {there} chunks, and {stored} of this job "
                f"were stored there; the difference {whose}: something else writes into it. Remove "
                "what does not belong there, name another index, or delete the job and put it "
                "again."
            )
        self._counts()
        self.stages.reconciling.end()
        self.stages.indexing.end()

    def _recount(self) -> tuple[int, int]:
        """How many chunks were stored and how many are there, once the target has settled."""
        with self._runs.database.reading() as connection:
            stored = documents.chunks(connection, self._run.job)
        may_be_late = self._has_written and not self._parts.is_own
        until, pause = time.monotonic() + _SETTLE_SECONDS, _FIRST_LOOK_SECONDS
        while True:
            there = self._tenure.patiently(self._parts.target.count)
            if there == stored or not may_be_late or time.monotonic() > until:
                return stored, there
            self.stages.write_now()  # that it is at this, which may last
            self._tenure.wait(pause)
            pause = min(pause * 2, _LONGEST_RECOUNT_SECONDS)

    def _clean_up(self) -> None:
        """Remove what was only made on the way."""
        embeddings.forget(self._run.job, self._tenure.writing)
        if self._parts.pages is not None:
            self._tenure.patiently(partial(delete_all, self._parts.pages, self._tenure.check))

    def _forget_idle_vectors(self) -> None:
        """Forget the vectors once most of them must be of texts that are no more."""
        job = self._run.job
        with self._runs.database.reading() as connection:
            kept = embeddings.count(connection, job)
            most = _VECTORS + _VECTORS_A_CHUNK * documents.chunks(connection, job)
        if kept > most:
            embeddings.forget(job, self._tenure.writing)

    def _finish(self) -> None:
        with self._tenure.writing() as tx:
            left_out = documents.count_left_out(tx, self._run.job, self._run.id)
            if left_out:
                text = (
                    f"{left_out} documents that could not be ingested earlier are as they were "
                    "and were not tried again; `retry-failed` tries them."
                )
                self._runs.warn(tx, self._run.id, "", text)
            self.stages.write(tx)
            self._runs.finish(tx, self._run.id)
