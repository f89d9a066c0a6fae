import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from tests.support import search_indexes
from tests.support.search_indexes import BOOKS, clients

from linarite.indexing.search.calls import SearchCall
from linarite.indexing.search.dialect import answer
from linarite.indexing.search.refusals import NotThere, QuotaReached
from linarite.indexing.search.rules import parsed
from linarite.indexing.search.store import Store
from linarite.indexing.search.tending import Tail

DEFINITION = parsed(BOOKS)


def test_a_resource_has_so_many_indexes_and_no_more(tmp_path: Path):
    store = Store(tmp_path, 2, 0)
    for name in ("a", "b"):
        store.create("default", DEFINITION.model_copy(update={"name": name}), "")

    with pytest.raises(QuotaReached, match="2 indexes, and the quota is 2"):
        store.create("default", DEFINITION, "")
    store.create("other", DEFINITION, "")


def test_nothing_is_written_to_a_full_disk(tmp_path: Path):
    store = Store(tmp_path / "none yet", 2, 1 << 60)

    with pytest.raises(QuotaReached, match="the disk is full"):
        store.create("default", DEFINITION, "")


def test_another_process_sees_what_this_one_wrote_and_this_one_what_it_wrote(
    store: Store, tmp_path: Path
):
    store.create("default", DEFINITION, "")
    other = search_indexes.store(tmp_path)
    mine, theirs = clients(store, "books")[1], clients(other, "books")[1]

    for number in range(3):
        mine.upload_documents([{"id": f"m{number}"}])
        theirs.upload_documents([{"id": f"t{number}"}])
        assert mine.get_document_count() == theirs.get_document_count() == 2 * number + 2
    clients(other, "books")[0].delete_index("books")

    with pytest.raises(NotThere):
        store.get("default", "books")
    store.create("default", DEFINITION, "")
    assert mine.get_document_count() == 0


WRITER = """
import sys
from pathlib import Path
from tests.support.search_indexes import clients, store
folder, name = Path(sys.argv[1]), sys.argv[2]
documents = clients(store(folder), "books")[1]
for number in range(12):
    of_its_own = {"id": f"{name}-{number}", "title": name, "near": [number, 1, 1]}
    for_all = [{"id": f"shared-{k}", "year": number, "tags": [name]} for k in range(5)]
    assert all(one.succeeded for one in documents.merge_or_upload_documents([of_its_own, *for_all]))
"""


def test_processes_that_write_at_once_lose_and_double_nothing(store: Store, tmp_path: Path):
    store.create("default", DEFINITION, "")
    command = [sys.executable, "-c", WRITER, str(tmp_path)]
    writers = [subprocess.Popen([*command, name], cwd=Path(__file__).parents[4]) for name in "ab"]

    assert [writer.wait(60) for writer in writers] == [0, 0]

    documents = clients(store, "books")[1]
    found = [one["id"] for one in documents.search("*", select=["id"], top=100)]
    assert sorted(found) == sorted(
        [*(f"{name}-{n}" for name in "ab" for n in range(12)), *(f"shared-{k}" for k in range(5))]
    )
    assert documents.get_document("shared-0")["year"] == 11


def test_many_small_writes_are_joined_and_old_versions_let_go(store: Store):
    record = store.create("default", DEFINITION, "")
    documents = clients(store, "books")[1]

    for number in range(70):
        documents.upload_documents([{"id": str(number % 40), "content": f"word{number}"}])

    table: Any = store.table("default", record)
    assert table.stats()["fragment_stats"]["num_fragments"] < 40
    assert documents.get_document_count() == 40
    assert [one["id"] for one in documents.search("word69")] == ["29"]
    assert list(documents.search("word5")) == []


def test_deletions_alone_leave_no_versions_behind_either(tmp_path: Path):
    store = Store(tmp_path / "indexes", 20, 0, old_seconds=0.05)
    store.create("default", DEFINITION, "")
    documents = clients(store, "books")[1]
    documents.upload_documents([{"id": str(number)} for number in range(150)])

    for number in range(150):
        documents.delete_documents([{"id": str(number)}])

    versions = tmp_path / "indexes" / "default" / "books" / "documents.lance" / "_versions"
    assert len(list(versions.iterdir())) < 120
    assert documents.get_document_count() == 0


def test_what_killed_processes_left_is_swept(store: Store, tmp_path: Path):
    folder = tmp_path / "indexes" / "default"
    store.create("default", DEFINITION, "")
    for left, age in ((".going-1", 0), (".making-1", 7200), (".making-2", 0)):
        (folder / left).mkdir()
        (folder / left / "file").touch()
        then = time.time() - age
        os.utime(folder / left, (then, then))

    store.create("default", DEFINITION.model_copy(update={"name": "other"}), "")

    assert sorted(path.name for path in folder.iterdir()) == [".making-2", "books", "other"]


def test_a_field_that_was_half_added_is_added_anew(store: Store, tmp_path: Path):
    """A process was killed between adding the column and keeping the definition."""
    record = store.create("default", DEFINITION, "")
    wider = {**BOOKS, "fields": [*BOOKS["fields"], {"name": "note", "type": "Edm.String"}]}
    new = parsed(wider)
    store.change("default", record.changed(new), [new.by_name["note"]])
    kept = tmp_path / "indexes" / "default" / "books" / "index.json"
    before = json.loads(kept.read_bytes())
    before["definition"]["fields"].pop()
    kept.write_text(json.dumps(before))

    store.change("default", record.changed(new), [new.by_name["note"]])

    documents = clients(store, "books")[1]
    documents.upload_documents([{"id": "a", "note": "written"}])
    assert [one["id"] for one in documents.search("written")] == ["a"]


def test_who_waited_long_for_another_writer_is_told_to_come_again(store: Store, tmp_path: Path):
    store.create("default", DEFINITION, "")
    hasty = Store(tmp_path / "indexes", 20, 0, lock_seconds=0.1)
    body = json.dumps({"value": [{"id": "a"}]}).encode()
    path, version = "/indexes/books/docs/index", {"api-version": "2024-07-01"}
    call = SearchCall("default", "", "POST", path, version, {}, body, "http://here")

    with store.writing("default", "books"):
        refused = answer(hasty, call)

    assert (refused.status, refused.headers["retry-after"]) == (503, "2")
    assert answer(hasty, call).status == 200


class Failing(Store):
    """What fails at all that comes after a write, as long as `is_away`."""

    is_away = True

    def tend(self, resource: str, name: str, tail: Tail = Tail.WRITING) -> None:
        if self.is_away:
            raise RuntimeError("lance error: no space left on device")
        super().tend(resource, name, tail)


def test_a_write_is_answered_though_the_index_cannot_be_tended_just_then(tmp_path: Path):
    store = Failing(tmp_path / "indexes", 20, 0)
    table: Any = store.table("default", store.create("default", DEFINITION, ""))
    books = clients(store, "books")[1]

    for number in range(40):
        books.upload_documents([{"id": str(number)}])

    assert books.get_document_count() == 40
    assert table.stats()["fragment_stats"]["num_fragments"] == 40
    store.is_away = False
    books.upload_documents([{"id": "40"}])
    assert books.get_document_count() == 41
    assert table.stats()["fragment_stats"]["num_fragments"] == 1
