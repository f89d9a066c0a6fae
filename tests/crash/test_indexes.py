"""An embedded index whose writers are killed: it opens, and holds what was told to be stored."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.support.search_indexes import BOOKS, clients, store

from linarite.indexing.search.rules import parsed

pytestmark = pytest.mark.crash

ROOT = Path(__file__).parents[2]
KILLS, AT_ONCE = 9, 3
WRITER = """
import sys
from pathlib import Path
from tests.support.search_indexes import clients, store
folder, run = Path(sys.argv[1]), sys.argv[2]
documents = clients(store(folder), "books")[1]
print("ready", flush=True)
for number in range(1000):
    keys = [f"{run}-{number}-{k}" for k in range(8)]
    made = [{"id": key, "content": f"written by {run}", "near": [number, 1, 2]} for key in keys]
    assert all(one.succeeded for one in documents.upload_documents(made))
    assert all(one.succeeded for one in documents.delete_documents([{"id": keys[-1]}]))
    print(number, flush=True)
"""


def test_an_index_outlives_its_writers(tmp_path: Path):
    """Of each run all batches are there that it told of, whole, and at most the one beyond."""
    store(tmp_path).create("default", parsed(BOOKS), "")
    seed = int(os.environ.get("LINARITE_CRASH_SEED", "11"))
    moments = random.Random(seed)
    told: dict[str, int] = {}
    for first in range(0, KILLS, AT_ONCE):
        runs = [f"r{number}" for number in range(first, first + AT_ONCE)]
        command = [sys.executable, "-c", WRITER, str(tmp_path)]
        writers = [
            subprocess.Popen([*command, run], cwd=ROOT, stdout=subprocess.PIPE, text=True)
            for run in runs
        ]
        for run, writer in zip(runs, writers, strict=True):
            with writer:
                assert writer.stdout is not None
                assert writer.stdout.readline() == "ready\n"
                time.sleep(moments.uniform(0.02, 0.7))
                os.kill(writer.pid, signal.SIGKILL)
                told[run] = len(writer.stdout.read().splitlines())

    documents = clients(store(tmp_path), "books")[1]
    found = [one["id"] for one in documents.search("*", select=["id"], top=100_000)]
    by_words = [one["id"] for one in documents.search("written", select=["id"], top=100_000)]

    assert sum(told.values()) > KILLS
    assert len(found) == len(set(found)) == documents.get_document_count()
    assert sorted(by_words) == sorted(found)
    for run, batches in told.items():
        of_run = [key for key in found if key.startswith(f"{run}-")]
        whole = {f"{run}-{number}-{k}" for number in range(batches) for k in range(7)}
        assert whole <= set(of_run)
        assert len(of_run) - len(whole) in {0, 7, 8}
    documents.upload_documents([{"id": "after", "content": "goes on"}])
    assert [one["id"] for one in documents.search("goes")] == ["after"]
