"""Does the worker's memory grow with the number of documents that a job brings into an index?"""

import argparse
import shutil
from pathlib import Path

from bench import documents, script
from bench.ingesting import ZERO_COST, Ingesting, config, embedding_engine
from bench.measure import Finding, Limit, quantity
from bench.processes import child_named, peak_memory_mb
from bench.servers import linarite

_GROWTH = Limit(at_most=1.5)


def measure(options: argparse.Namespace, folder: Path) -> list[Finding]:
    """The most memory that a worker had over few documents and over many, a server for each."""
    with embedding_engine(folder) as engine:
        few = _peak_mb(folder, engine, 1_000)
        return [
            quantity(
                f"most memory of the worker, {count:,} documents over 1,000",
                [(peak := _peak_mb(folder, engine, count)) / few],
                unit="x",
                limit=_GROWTH,
                note=f"{peak:,.0f} MB; {few:,.0f} MB",
            )
            for count in ([10_000, 100_000] if options.full else [10_000])
        ]


def _peak_mb(folder: Path, engine: str, count: int) -> float:
    source = folder / f"documents-{count}"
    documents.write(source, range(count), documents.PLAIN)
    with linarite(folder / f"server-{count}", config(engine, documents=source)) as server:
        done = Ingesting(server, engine).run("memory", source, ZERO_COST, dataset="documents")
        peak = peak_memory_mb(child_named(server.process, "linarite-worker"))
    shutil.rmtree(source)
    print(f"{count:,} documents, {done.texts:,} chunks: {done.seconds:.0f} s, {peak:,.0f} MB")
    return peak


if __name__ == "__main__":
    parser = script.parser(__doc__ or "", pairs=1)
    parser.add_argument("--full", action="store_true", help="100,000 documents, too")
    script.run("ingestion_memory", parser.parse_args(), measure)
