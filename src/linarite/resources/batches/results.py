"""The two files of a batch that has ended: every request in the order of the input, once."""

from collections.abc import Callable, Iterable, Iterator

from linarite.resources.batches import repository
from linarite.resources.batches.answers import never_run
from linarite.resources.batches.lines import BadLine, InputLine, input_lines, read_request
from linarite.resources.batches.records import BatchRecord
from linarite.storage.blobs import BlobStore
from linarite.storage.database import Database
from linarite.storage.objects import Extent, Stored

_PIECE_BYTES = 256 << 10


class Results:
    """Writes the files of one batch.

    Args:
        database: where its answers are.
        blobs: where its input is and its files go.
        record: the batch; nobody adds answers to it any more.
        extents: its input.
        longest_line: bytes of the longest line of the input.
        check: called now and then; may raise to end the work.
    """

    def __init__(
        self,
        database: Database,
        blobs: BlobStore,
        record: BatchRecord,
        extents: Iterable[Extent],
        longest_line: int,
        check: Callable[[], None],
    ) -> None:
        self._database = database
        self._blobs = blobs
        self._record = record
        self._extents = tuple(extents)
        self._longest_line = longest_line
        self._check = check

    def write_output(self) -> Stored:
        """Store the output file: the requests that were answered with success."""
        answers = repository.answers_in_order(self._database, self._record.seq, failed=False)
        return self._blobs.write_all(self._pieces(line for _, line in answers))

    def write_errors(self, reason: tuple[str, str]) -> Stored:
        """Store the error file: the requests that failed, and those that never ran.

        Args:
            reason: code and message of those that never ran.
        """
        answers = repository.answers_in_order(self._database, self._record.seq, failed=True)
        if self._record.answered >= self._record.total:
            return self._blobs.write_all(self._pieces(line for _, line in answers))
        return self._blobs.write_all(self._pieces(self._with_never_run(answers, reason)))

    def _with_never_run(
        self, failures: Iterator[tuple[int, bytes]], reason: tuple[str, str]
    ) -> Iterator[bytes]:
        with self._database.reading() as connection:
            numbers = repository.answered_numbers(connection, self._record.seq)
            is_answered = bytearray(self._record.total)
            for number, _ in numbers:
                is_answered[number] = 1
        failure = next(failures, None)
        for line in input_lines(self._blobs.read(self._extents), self._longest_line):
            if failure is not None and failure[0] == line.number:
                yield failure[1]
                failure = next(failures, None)
            elif line.number < len(is_answered) and not is_answered[line.number]:
                yield never_run(self._custom_id(line), reason)

    def _custom_id(self, line: InputLine) -> str:
        try:
            return read_request(line, self._longest_line).custom_id
        except BadLine:  # the input was valid; its bytes went bad afterwards
            return f"line-{line.line}"

    def _pieces(self, lines: Iterable[bytes]) -> Iterator[bytes]:
        """Lines, joined to pieces that are worth passing on."""
        held: list[bytes] = []
        size = 0
        for line in lines:
            held += (line, b"\n")
            size += len(line) + 1
            if size >= _PIECE_BYTES:
                self._check()
                yield b"".join(held)
                held, size = [], 0
        if held:
            yield b"".join(held)
