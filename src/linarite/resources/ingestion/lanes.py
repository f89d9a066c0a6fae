"""One lane of a run: takes documents, a few at a time, and brings them into the target.

    claim ▸ read ──▶ store ▸ settle
    └ a thread that is one hand ahead

A lane that dies is performed again, and begins with what it held, one hand after the other.
Everything it does to a target is by ids that depend on the document alone, so that doing it twice
changes nothing.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from linarite import memory
from linarite.resources.ingestion import documents
from linarite.resources.ingestion.documents import Document, Settled
from linarite.resources.ingestion.iterating import in_batches
from linarite.resources.ingestion.parts import Parts
from linarite.resources.ingestion.reading import Reading, Ready
from linarite.resources.ingestion.records import Run
from linarite.resources.ingestion.scratch import scratch_folder
from linarite.resources.ingestion.service import Ingestion
from linarite.resources.ingestion.storing import Storing
from linarite.resources.ingestion.tenure import RunOver, Tenure

_HAND = 128
"""How many documents a lane takes at once, at most: a write to an index costs more than a chunk."""
_FIRST_HAND = 32
"""Each is twice the one before: there is something to store soon, and so for both threads to do."""
_HAND_CHARACTERS = 4_000_000
"""What is read of a hand beyond which the rest of it is left to another: files may be packed."""
_HAND_BYTES = 1 << 20
"""How long they are together, but for one that is longer: it is told of them when all are done."""
_READ_TOGETHER = 16
"""How many of a hand the cracker is asked for at once."""
_TOGETHER = 1
"""How often a document may have been left by dead workers and still share a hand with others."""


class Lane:
    """One lane of a run.

    Args:
        runs: the operations of ingestion, and the parts that those have.
        run: which run.
        name: the lane's own, by which it holds documents.
        parts: what it works with.
        tenure: the right to.
    """

    def __init__(self, runs: Ingestion, run: Run, name: str, parts: Parts, tenure: Tenure) -> None:
        self._database = runs.database
        self._run = run
        self._name = name
        self._parts = parts
        self._tenure = tenure
        self._storing = Storing(runs, run, parts, tenure)
        self._is_ending = False
        self._hand = _FIRST_HAND

    def work(self) -> None:
        """Work until no document is left that nobody works on.

        Raises:
            IngestionFailed: the container, the target or the embedding refuses or is away.
            HandedBack, RunOver: this worker may not go on.
        """
        with (
            scratch_folder() as folder,
            ThreadPoolExecutor(1, "reading") as thread,
        ):
            files = [folder / str(number) for number in range(_READ_TOGETHER)]
            reading = Reading(self._parts, self._tenure, files, self._check)
            try:
                for seqs in self._left_behind():
                    hand = thread.submit(self._read, reading, partial(self._take_up, seqs))
                    self._store(hand.result())
                ahead = thread.submit(self._read, reading, self._claim)
                while read := ahead.result():
                    ahead = thread.submit(self._read, reading, self._claim)
                    self._store(read)
            finally:
                self._is_ending = True

    def _read(self, reading: Reading, take: Callable[[], list[Document]]) -> list[Ready | Settled]:
        """The documents that there are to take, read; as many as memory has room for."""
        hand: list[Ready | Settled] = []
        taken, characters = take(), 0
        for some in in_batches(taken, _READ_TOGETHER):
            self._check()
            if characters < _HAND_CHARACTERS:
                read = reading.read(some)
                characters += sum(one.characters for one in read)
                hand += read
        done = {one.document.seq for one in hand}
        if left := [one.seq for one in taken if one.seq not in done]:
            with self._tenure.writing() as tx:
                documents.give_back(tx, self._name, left)
        return hand

    def _store(self, hand: Sequence[Ready | Settled]) -> None:
        self._storing.store(hand)
        memory.give_back()  # a hand is megabytes in small pieces

    def _check(self) -> None:
        """Raise HandedBack or RunOver where nothing more is to be read."""
        self._tenure.check()
        if self._is_ending:  # nobody waits for what would come of it
            raise RunOver

    def _claim(self) -> list[Document]:
        most, self._hand = self._hand, min(2 * self._hand, _HAND)
        with self._tenure.writing() as tx:
            return documents.claim(self._database, tx, self._run.job, self._name, most, _HAND_BYTES)

    def _take_up(self, seqs: Sequence[int]) -> list[Document]:
        with self._tenure.writing() as tx:
            return documents.take_up(tx, seqs)

    def _left_behind(self) -> Iterator[list[int]]:
        """What a dead worker held; alone what several did, so that the culprit is found."""
        with self._database.reading() as connection:
            left = documents.left_by(connection, self._name)
        yield from in_batches((seq for seq, attempts in left if attempts < _TOGETHER), _HAND)
        yield from ([seq] for seq, attempts in left if attempts >= _TOGETHER)
