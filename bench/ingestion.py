"""How quickly do documents come into an index, against LlamaIndex's IngestionPipeline?

The same folder through both: with the embedded embedding model behind both, and with an embedding
model that costs nothing; documents of text, and of office formats. Then what an unchanged folder
costs, and one of which a document in a hundred was changed.
"""

import argparse
import json
import shutil
import subprocess
import time
from functools import partial
from pathlib import Path

from bench import documents, peers, script
from bench.ingesting import (
    CHUNK_TOKENS,
    EMBEDDED,
    ZERO_COST,
    Ingested,
    Ingesting,
    config,
    embedding_engine,
)
from bench.measure import Finding, Limit, compared, in_turn, quantity
from bench.results import ROOT
from bench.servers import linarite

_PEER = "LlamaIndex 0.14.25"
_PEER_TEXTS = 100
_REST_SECONDS = 3
_CHANGED = 100
"""One document of so many is changed."""


def measure(options: argparse.Namespace, folder: Path) -> list[Finding]:
    """Against the peer, then the same folder again."""
    first, few = folder / "first", folder / "few"
    texts, office = folder / "texts", folder / "office"
    documents.write(first, range(8), documents.PLAIN + documents.OFFICE)
    documents.write(few, range(options.embedded), documents.PLAIN)
    documents.write(texts, range(options.documents), documents.PLAIN)
    documents.write(office, range(options.office), documents.OFFICE)
    with embedding_engine(folder) as engine:
        settings = config(engine, first=first, few=few, texts=texts, office=office)
        with linarite(folder / "server", settings) as server:
            ours = Ingesting(server, engine)
            for model in (EMBEDDED, ZERO_COST):  # what is loaded once, is loaded
                ours.run(f"first-{model}", first, model)
            return [
                *_against_peer(ours, folder, few, EMBEDDED, options.pairs, Limit(at_least=1)),
                *_against_peer(ours, folder, texts, ZERO_COST, options.pairs, Limit(at_least=2)),
                *_against_peer(ours, folder, office, ZERO_COST, options.pairs, None),
                *_again(ours, texts, options.pairs),
            ]


def _against_peer(
    ours: Ingesting, folder: Path, source: Path, model: str, pairs: int, limit: Limit | None
) -> list[Finding]:
    """Against the peer as it ships, which the limit is for, and without its cache."""
    count = _count(source)
    chunks: dict[str, int] = {}

    def our_rate() -> float:
        done = ours.run(f"{source.name}-{time.monotonic_ns()}", source, model)
        chunks["Linarite"] = done.texts
        return count / done.seconds

    def peer_rate(*, is_as_shipped: bool) -> float:
        done = _peer_run(ours, folder, source, model, is_as_shipped=is_as_shipped)
        chunks[_PEER] = done.texts
        return count / done.seconds

    rates = []
    for turn in range(pairs):
        shipped = partial(peer_rate, is_as_shipped=True)
        mine, theirs = in_turn(our_rate, shipped, turn)
        rates.append((mine, theirs, peer_rate(is_as_shipped=False)))
    made = "the embedded model" if model == EMBEDDED else "a zero-cost embedding model"
    kinds = "/".join(sorted({path.suffix[1:] for path in source.rglob("*.*")}))
    names = [f"{name} ({chunks[name]:,} chunks)" for name in ("Linarite", _PEER)]
    return [
        compared(
            f"{count:,} documents ({kinds}) with {made} against {_PEER}{how}",
            [(rate[0], rate[side]) for rate in rates],
            limit=bound,
            unit="documents/s",
            names=(names[0], names[1]),
        )
        for side, how, bound in ((1, "", limit), (2, " without its cache", None))
    ]


def _again(ours: Ingesting, source: Path, pairs: int) -> list[Finding]:
    """A folder that nobody touched, and one of which some documents were changed."""
    count = _count(source)
    unchanged, changed, embedded = [], [], []
    for turn in range(pairs):
        job = f"again-{turn}"
        first = ours.run(job, source, ZERO_COST)
        time.sleep(_REST_SECONDS)  # the index is tidied up after a run
        unchanged.append(100 * ours.run(job, source, ZERO_COST).seconds / first.seconds)
        some = range(0, count, _CHANGED)
        documents.write(source, some, documents.PLAIN, edition=turn + 1)
        second = ours.run(job, source, ZERO_COST)
        changed.append(100 * second.seconds / first.seconds)
        embedded.append(100 * second.texts / first.texts)
    return [
        quantity("second, unchanged run", unchanged, unit="% of the first", limit=Limit(at_most=5)),
        quantity("1 % changed: chunks embedded", embedded, unit="% of all", limit=Limit(at_most=2)),
        quantity("1 % changed: time", changed, unit="% of the first", limit=None),
    ]


def _peer_run(
    ours: Ingesting, folder: Path, source: Path, model: str, *, is_as_shipped: bool
) -> Ingested:
    """One run of the peer in a process of its own, asking the same embedding model."""
    out = folder / "peer"
    base_url = f"{ours.server.endpoint}/openai/v1" if model == EMBEDDED else f"{ours.engine}/v1"
    options = {
        "folder": str(source),
        "out": str(out),
        "model": model,
        "base_url": base_url,
        "api_key": ours.server.api_key,
        "texts": _PEER_TEXTS,
        "chunk_tokens": CHUNK_TOKENS,
        "overlap_tokens": CHUNK_TOKENS // 4,
        "is_as_shipped": is_as_shipped,
    }
    command = [peers.llamaindex(), ROOT / "bench" / "llamaindex_peer.py", json.dumps(options)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    shutil.rmtree(out, ignore_errors=True)
    if done.returncode != 0:
        raise RuntimeError(f"{_PEER} failed:\n{done.stderr[-2000:]}")
    said = json.loads(done.stdout.splitlines()[-1])
    return Ingested(said["seconds"], said["chunks"])


def _count(folder: Path) -> int:
    return sum(path.is_file() for path in folder.rglob("*"))


if __name__ == "__main__":
    parser = script.parser(__doc__ or "", pairs=3, documents=2_000, embedded=200, office=200)
    script.run("ingestion", parser.parse_args(), measure)
