"""Tables to text whose every line can be understood alone.

A table is cut into chunks somewhere, and a row without its header is a riddle to whoever finds it.
So each row becomes one line that names its columns: `Name: Quartz; Hardness: 7`.
"""

import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence

from linarite.indexing.failures import DocumentFailed

csv.field_size_limit(2**31 - 1)  # a cell may hold a whole article
_NUMBER = re.compile(r"[-+(]?[\d.,\s]*\d[\d.,\s]*[%)]?")
_SAMPLE_LINES = 20
_TABLE = re.compile(r"(^\|[^\n]*\n\|(?: *:?-+:? *\|)+ *\n)((?:\|[^\n]*(?:\n|\Z))+)", re.MULTILINE)
_TABLE_ROWS = 20
"""Of a Markdown table that is not cut: they fit, with the header, into most chunks."""


def csv_lines(text: str) -> Iterator[str]:
    """The rows of a CSV text, each as a line.

    Raises:
        DocumentFailed: the library finds that it is none.
    """
    lines = io.StringIO(text.replace("\r\n", "\n").replace("\r", "\n"))
    try:
        yield from record_lines(csv.reader(lines, delimiter=_delimiter(text)))
    except csv.Error as error:
        raise DocumentFailed(f"The file is not CSV: {error}.") from error


def record_lines(rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """Each row with a value as a line: with the names of its columns where the first names them.

    Cells without a value are left out; a table without a header has its cells joined by bars.
    """
    filled = (row for row in ([_one_line(cell) for cell in row] for row in rows) if any(row))
    first = next(filled, None)
    if first is None:
        return
    second = next(filled, None)
    if second is None or not _is_header(first, second):
        first, head = [], first
        yield _joined(head)
    if second is not None:
        yield _record(first, second)
    for row in filled:
        yield _record(first, row)


def with_headers_repeated(markdown: str) -> str:
    """The same with its long tables cut into shorter ones, each of which has the header."""
    return _TABLE.sub(_in_short_tables, markdown)


def _in_short_tables(table: re.Match[str]) -> str:
    header, rows = table[1], table[2].splitlines(keepends=True)
    if len(rows) <= _TABLE_ROWS:
        return table[0]
    cuts = range(0, len(rows), _TABLE_ROWS)
    return "\n".join(header + "".join(rows[cut : cut + _TABLE_ROWS]) for cut in cuts)


def _record(header: Sequence[str], row: Sequence[str]) -> str:
    if not header:
        return _joined(row)
    named = (
        f"{header[n]}: {cell}" if n < len(header) and header[n] else cell
        for n, cell in enumerate(row)
        if cell
    )
    return "; ".join(named)


def _joined(row: Sequence[str]) -> str:
    return " | ".join(cell for cell in row if cell)


def _is_header(first: Sequence[str], second: Sequence[str]) -> bool:
    """Names: several, none a number, no two alike, and short beside what they name."""
    names = [cell for cell in first if cell]
    return (
        len(names) > 1
        and len(names) >= sum(map(bool, second)) - 1
        and len(set(names)) == len(names)
        and max(map(len, names)) <= 100
        and not any(_NUMBER.fullmatch(name) for name in names)
    )


def _one_line(cell: str) -> str:
    return " ".join(cell.split())


def _delimiter(text: str) -> str:
    """The one that cuts the first lines into the most fields, all alike."""
    sample = text[:65536].splitlines()[:_SAMPLE_LINES]

    def fields(delimiter: str) -> int:
        counts = {len(row) for row in csv.reader(sample, delimiter=delimiter) if row}
        return min(counts) if len(counts) == 1 or min(counts, default=0) > 1 else 1

    return max(",;\t|", key=fields)
