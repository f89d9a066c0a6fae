"""When an index is tended, and by whom."""

import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from azure.core.credentials import AzureKeyCredential
from azure.search.documents import SearchClient
from tests.support.search_indexes import BOOKS, clients

from linarite.indexing.search import tending
from linarite.indexing.search.in_process import ENDPOINT, in_process_transport
from linarite.indexing.search.rules import parsed
from linarite.indexing.search.store import Store
from linarite.indexing.search.tending import Tail

DEFINITION = parsed(BOOKS)


def unindexed(store: Store) -> int:
    table: Any = store.table("default", store.get("default", "books"))
    return max(each.num_unindexed_rows or 0 for each in table.list_indices())


def upload(store: Store, first: int, count: int) -> None:
    documents = clients(store, "books")[1]
    documents.upload_documents(
        [{"id": str(first + k), "content": f"word{first + k}"} for k in range(count)]
    )


def test_an_index_is_tended_once_many_documents_came(store: Store):
    store.create("default", DEFINITION, "")

    upload(store, 0, 1000)
    assert unindexed(store) == 1000
    upload(store, 1000, 1000)
    assert unindexed(store) == 2000
    upload(store, 2000, 300)
    assert unindexed(store) == 0


def test_while_a_job_fills_an_index_more_is_left(store: Store):
    transport = in_process_transport(store, "default", "job")
    client = SearchClient(ENDPOINT, "books", AzureKeyCredential("none"), transport=transport)
    store.create("default", DEFINITION, "job")

    for first in range(0, 9000, 1000):
        rows = [{"id": str(first + k), "content": "word"} for k in range(1000)]
        client.upload_documents(rows)
        if first == 7000:
            assert unindexed(store) == 8000

    assert unindexed(store) == 0


def test_after_it_was_tended_it_rests_for_longer_than_that_took(tmp_path: Path):
    store = Store(tmp_path / "indexes", 20, 0, rest=1000)
    store.create("default", DEFINITION, "")
    for first in (0, 1000, 2000):
        upload(store, first, 1000)
    assert unindexed(store) == 0

    for first in (3000, 4000, 5000):
        upload(store, first, 1000)

    assert unindexed(store) == 3000
    store.tend("default", "books", Tail.AT_LEISURE)
    assert unindexed(store) == 0


def test_at_leisure_less_is_left_undone_but_not_nothing(store: Store):
    store.create("default", DEFINITION, "")
    upload(store, 0, 400)

    store.tend("default", "books", Tail.AT_LEISURE)
    assert unindexed(store) == 400
    upload(store, 400, 200)
    store.tend("default", "books", Tail.AT_LEISURE)
    assert unindexed(store) == 0


class Elsewhere(Store):
    """What tends nothing in this process."""

    def tend_here(self, resource: str, name: str, tail: Tail) -> None:
        pytest.fail("it was tended here")


def test_a_large_index_is_tended_by_a_process_of_its_own(tmp_path: Path):
    store = Elsewhere(tmp_path / "indexes", 20, 0, large_rows=500)
    store.create("default", DEFINITION, "")
    upload(store, 0, 600)

    store.tend("default", "books", Tail.AT_LEISURE)

    assert unindexed(store) == 0
    documents = clients(store, "books")[1]
    assert [one["id"] for one in documents.search("word599")] == ["599"]


class Counting(Store):
    """What takes its time to tend, and then cannot."""

    begun = 0

    def tend_here(self, resource: str, name: str, tail: Tail) -> None:
        self.begun += 1
        time.sleep(0.2)
        raise tending.TendingFailed("no luck")


def test_what_could_not_be_tended_rests_as_well(tmp_path: Path):
    store = Counting(tmp_path / "indexes", 20, 0, rest=1000)
    store.create("default", DEFINITION, "")

    for first in (0, 1000, 2000, 3000):
        upload(store, first, 1000)

    assert store.begun == 1


def test_of_many_that_write_at_once_one_tends(tmp_path: Path):
    store = Counting(tmp_path / "indexes", 20, 0)
    store.create("default", DEFINITION, "")
    upload(store, 0, 600)

    def tend() -> None:
        with suppress(tending.TendingFailed):
            store.tend("default", "books", Tail.AT_LEISURE)

    with ThreadPoolExecutor(4) as threads:
        for _ in range(4):
            threads.submit(tend)

    assert store.begun == 1


def test_a_process_that_cannot_tend_tells_why(tmp_path: Path):
    with pytest.raises(tending.TendingFailed, match="not found"):
        tending.tend_apart(tmp_path, "default", "books", Tail.AT_LEISURE, 1)


def test_writing_goes_on_after_it_was_tended_elsewhere(store: Store, tmp_path: Path):
    store.create("default", DEFINITION, "")
    upload(store, 0, 600)

    root = tmp_path / "indexes"
    tending.tend_apart(root, "default", "books", Tail.AT_LEISURE, 0.0)
    time.sleep(0.01)
    upload(store, 300, 600)

    assert clients(store, "books")[1].get_document_count() == 900


_TEND = """
import sys
from pathlib import Path
from linarite.indexing.search.tending import Tail, tend_apart
tend_apart(Path(sys.argv[1]), "default", "books", Tail.AT_LEISURE, 0.0)
"""


def test_a_process_that_tends_ends_with_the_one_that_started_it(store: Store, tmp_path: Path):
    store.create("default", DEFINITION, "")
    upload(store, 0, 600)

    with store.writing("default", "books"):  # which it waits for
        parent = psutil.Popen([sys.executable, "-c", _TEND, str(tmp_path / "indexes")])
        until = time.monotonic() + 20
        while not (tending_ones := parent.children()) and time.monotonic() < until:
            time.sleep(0.02)
        parent.kill()
        parent.wait()
        _, left = psutil.wait_procs(tending_ones, timeout=20)

    assert tending_ones
    assert left == []
