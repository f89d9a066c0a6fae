"""How soon does `linarite serve` answer?

From starting the command until ``/readyz`` says 200, on a new data folder and again on the same.
"""

import argparse
import time
import urllib.request
from pathlib import Path

from bench import script
from bench.measure import Finding, Limit, quantity
from bench.servers import linarite


def measure(options: argparse.Namespace, folder: Path) -> list[Finding]:
    """As many new folders as pairs, each started twice."""
    first, again = [], []
    for number in range(options.pairs):
        first.append(_start_seconds(folder / str(number)))
        again.append(_start_seconds(folder / str(number)))
    return [
        quantity("first start, new data folder", first, unit="s", limit=Limit(at_most=6)),
        quantity("later start", again, unit="s", limit=Limit(at_most=4)),
    ]


def _start_seconds(folder: Path) -> float:
    began = time.monotonic()
    with linarite(folder) as server, urllib.request.urlopen(f"{server.endpoint}/readyz"):
        return time.monotonic() - began


if __name__ == "__main__":
    script.run("start", script.parser(__doc__).parse_args(), measure)
