"""Does the worker's memory grow with the number of documents that a job brings into an index?"""

import argparse
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench import documents, script
from bench.ingesting import ZERO_COST, Ingesting, config, embedding_engine
from bench.measure import Finding, Limit, quantity
from bench.processes import PeakOfChildren, child_named, peak_memory_mb
from bench.servers import linarite

_GROWTH = Limit(at_most=1.5)
_TENDING = "linarite.indexing.search.tending"
_TIDY_SECONDS = 300


@dataclass(frozen=True)
class _Peaks:
    """In MB."""

    worker: float
    tending: float


def measure(options: argparse.Namespace, folder: Path) -> list[Finding]:
    """The most memory that a worker had over few documents and over many, a server for each."""
    counts = [10_000, 100_000] if options.full else [10_000]
    with embedding_engine(folder) as engine:
        few = _peaks(folder, engine, 1_000)
        many = {count: _peaks(folder, engine, count) for count in counts}
    return [
        finding for count, peaks in many.items() for finding in _compared(count, peaks, few.worker)
    ]


def _compared(count: int, peaks: _Peaks, few: float) -> Iterator[Finding]:
    yield quantity(
        f"most memory of the worker, {count:,} documents over 1,000",
        [peaks.worker / few],
        unit="x",
        limit=_GROWTH,
        note=f"{peaks.worker:,.0f} MB; {few:,.0f} MB",
    )
    yield quantity(
        f"most memory of the process that tends the index now and then, {count:,} documents",
        [peaks.tending],
        unit="MB",
        limit=None,
    )


def _peaks(folder: Path, engine: str, count: int) -> _Peaks:
    source = folder / f"documents-{count}"
    documents.write(source, range(count), documents.PLAIN)
    with (
        linarite(folder / f"server-{count}", config(engine, documents=source)) as server,
        PeakOfChildren(server.process, _TENDING) as tending,
    ):
        done = Ingesting(server, engine).run("memory", source, ZERO_COST, dataset="documents")
        until = time.monotonic() + _TIDY_SECONDS
        while tending.are_there() and time.monotonic() < until:  # it is tidied up after the run
            time.sleep(0.5)
        peak = peak_memory_mb(child_named(server.process, "linarite-worker"))
    shutil.rmtree(source)
    print(
        f"{count:,} documents, {done.texts:,} different chunks: {done.seconds:.0f} s, "
        f"worker {peak:,.0f} MB, tending {tending.megabytes:,.0f} MB"
    )
    return _Peaks(peak, tending.megabytes)


if __name__ == "__main__":
    parser = script.parser(__doc__ or "", pairs=1)
    parser.add_argument("--full", action="store_true", help="100,000 documents, too")
    script.run("ingestion_memory", parser.parse_args(), measure)
