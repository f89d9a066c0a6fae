"""Workers die in every phase of ingestion: what is in the index is what it is where none dies.

Two jobs have 300 documents between them, of a folder and of a site, and run time and again
while documents change, come and go, and while the index itself loses some. Workers are killed where
an outsider sees what they are at; `test_ingestion_statements` has the moments that nobody sees.
"""

import hashlib
import json
import time
import tomllib
from collections import Counter
from collections.abc import Iterator, Sequence, Set
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from azure.core.credentials import AzureKeyCredential
from azure.search.documents import SearchClient
from tests.support.changing_world import HANDBOOK, World, a_world
from tests.support.crashing import nobody_writes
from tests.support.files import until
from tests.support.forked_workers import Workers, forked_workers
from tests.support.ingestion_phases import JOBS, SEARCH, Phase, Watch
from tests.support.ingestion_runs import ended
from tests.support.server import Server, running_server

from linarite.indexing.search.in_process import ENDPOINT
from linarite.indexing.targets.target import OF_A_JOB
from linarite.resources.indexes.service import Indexes

pytestmark = [pytest.mark.crash, pytest.mark.timeout(600)]

KILLS = 20
AT_THE_ROWS = {Phase.STORED, Phase.TRIMMED, Phase.REMOVED}


@contextmanager
def a_server(world: World, name: str) -> Iterator[Server]:
    settings = tomllib.loads(world.config.read_text())
    with running_server(world.folder / name, **settings) as server:
        yield server


@dataclass
class Disturbed:
    """A server whose workers are killed, and in which phases they were."""

    world: World
    server: Server
    workers: Workers
    client: httpx.Client
    fell: Counter[Phase] = field(default_factory=Counter)

    def watch(self, job: str, folder: Path | None) -> Watch:
        world, data = self.world, self.server.settings.data
        return Watch(
            self.client, data, job, folder, world.fetching.is_used, world.embedding.is_used
        )

    def go_through(
        self, watch: Watch, job: dict[str, Any], *phases: Phase, loses_at: Phase | None = None
    ) -> None:
        """A run to its end, whose workers die in these phases, or in most of them.

        Args:
            watch: looks at it.
            job: the definition.
            phases: where to kill, once in each.
            loses_at: in which of them the index loses some chunks, too.
        """
        wanted, began = set(phases), time.monotonic()
        watch.put(job)
        while not watch.has_ended():
            assert time.monotonic() - began < 120, watch.now()
            if (phase := self._strike_soon(watch, wanted)) is None:
                continue
            print(f"{time.monotonic() - began:6.2f} {watch.job}: {phase}")  # noqa: T201
            wanted.remove(phase)
            self.fell[phase] += 1
            if phase is loses_at:
                self._lose_some(watch)
            watch.begin_anew()
            self.workers.begin()
        print(f"{time.monotonic() - began:6.2f} {watch.job}: over, but for {[*wanted]}")  # noqa: T201
        assert watch.now()["status"] == "succeeded", watch.now()

    def _strike_soon(self, watch: Watch, wanted: Set[Phase]) -> Phase | None:
        """Kill the worker where it is in one of these phases; which it was.

        What comes between the index and the rows is over at once, unless nobody can write rows.
        """
        before = {Phase.STORING, Phase.REMOVING}
        if wanted & AT_THE_ROWS and watch.phase(before, is_still=False) is not None:
            with nobody_writes(self.server.settings.data):
                end = time.monotonic() + 0.5
                while time.monotonic() < end:
                    if (phase := self._strike(watch, wanted)) is not None:
                        return phase
        return self._strike(watch, wanted)

    def _strike(self, watch: Watch, wanted: Set[Phase]) -> Phase | None:
        if watch.phase(wanted, is_still=False) is not None:
            with self.workers.stopped():
                if (phase := watch.phase(wanted, is_still=True)) is not None:
                    self.workers.kill()
                    return phase
        time.sleep(0.003)
        return None

    def _lose_some(self, watch: Watch) -> None:
        """Have the index lose chunks of documents that are done."""
        done = [row["id"] for row in watch.documents() if row["state"] == "indexed"]
        indexes: Indexes = self.server.built.parts[Indexes]
        with (
            indexes.transport("default", f"{OF_A_JOB}{watch.job}") as transport,
            SearchClient(
                ENDPOINT, f"{watch.job}-index", AzureKeyCredential("any"), transport=transport
            ) as index,
        ):
            index.delete_documents([{"id": f"{id_}-0"} for id_ in done[:5]])


def contents(client: httpx.Client, job: str) -> dict[str, dict[str, Any]]:
    """All that a job's index holds, page by page; of vectors, a digest."""
    found: dict[str, dict[str, Any]] = {}
    path = f"/indexes('{job}-index')/docs/search.post.search"
    asked: dict[str, Any] | None = {"search": "*", "count": True}
    counted = 0
    while asked is not None:
        answer = client.post(path, json=asked, params=SEARCH)
        assert answer.status_code == 200, answer.text
        page = answer.json()
        for one in page["value"]:
            vector = json.dumps(one.pop("contentVector")).encode()
            one["vector"] = hashlib.sha256(vector).hexdigest()
            del one["last_updated"], one["@search.score"]
            assert one["id"] not in found, "a chunk is there twice"
            found[one["id"]] = one
        asked = page.get("@search.nextPageParameters")
        counted = page.get("@odata.count", counted)
    count = client.get(f"/indexes('{job}-index')/docs/$count", params=SEARCH)
    assert int(count.text.lstrip("\ufeff")) == len(found) == counted
    return found


def states(client: httpx.Client, job: str) -> dict[str, dict[str, Any]]:
    """All documents of a job, as their owner sees them."""
    found: dict[str, dict[str, Any]] = {}
    after: dict[str, str] = {}
    while True:
        page = client.get(f"{JOBS}/{job}/documents", params={"limit": "100", **after}).json()
        for one in page["value"]:
            del one["runId"]
            found[one["key"]] = one
        if not page.get("nextLink"):
            return found
        after = dict(httpx.URL(page["nextLink"]).params)


def seen(client: httpx.Client, job: str) -> Any:
    """All that is to be the same whether workers die or not."""
    chunks = contents(client, job)
    for chunk in chunks.values():
        meta = json.loads(chunk["meta_json_string"])
        meta["maker"] = ""  # the job is of this server
        if job == "pages":  # a page saved once more is another version of it
            meta["version"] = ""
        chunk["meta_json_string"] = meta
    return chunks, states(client, job)


def undisturbed(world: World) -> dict[str, Any]:
    """What a server makes of what there is now, when none of its workers dies."""
    with (
        a_server(world, "undisturbed") as server,
        server.working(),
        server.client() as client,
    ):
        for job, definition in (("handbook", HANDBOOK), ("pages", world.pages)):
            run = ended(client, client.put(f"{JOBS}/{job}", json=definition))
            assert run["status"] == "succeeded", run
        return {job: seen(client, job) for job in ("handbook", "pages")}


def kill_in_every_phase(one: Disturbed) -> None:
    """Run both jobs twice, and once more each time that a phase was missed."""
    world, at = one.world, Phase
    handbook, pages = one.watch("handbook", world.documents), one.watch("pages", None)

    lanes = (at.READING, at.EMBEDDING, at.STORING, at.STORED)
    one.go_through(handbook, HANDBOOK, at.LISTING, *lanes)
    one.go_through(pages, world.pages, at.CRAWLING, at.STORED, at.CLEANING)
    world.change_folder(1)
    lanes = (at.READING, at.STORED, at.TRIMMED)
    after = (at.REMOVED, at.RECONCILING, at.RESTORING)
    one.go_through(handbook, HANDBOOK, at.LISTING, *lanes, *after, loses_at=at.REMOVED)
    world.change_site(1)
    after = (at.REMOVING, at.RECONCILING, at.CLEANING)
    one.go_through(pages, world.pages, at.CRAWLING, at.READING, at.AGAIN, *after)
    for edition in (2, 3):
        if (missed := set(Phase) - set(one.fell)) or one.fell.total() < KILLS:
            world.change_site(edition)
            one.go_through(pages, world.pages, *missed)
            world.change_folder(edition)
            before = {at.READING, at.REMOVING}  # which some of the others come after
            one.go_through(handbook, HANDBOOK, *missed | before, loses_at=at.REMOVING)


def test_workers_that_die_in_every_phase_leave_what_undisturbed_ones_do(tmp_path):
    with a_world(tmp_path) as world:
        with (
            a_server(world, "disturbed") as server,
            forked_workers(server.settings.data, world.config) as workers,
            server.client() as client,
        ):
            workers.begin()
            one = Disturbed(world, server, workers, client)
            kill_in_every_phase(one)
            found = {job: seen(client, job) for job in ("handbook", "pages")}
            until(lambda: not readers_of(workers.killed), "no reader outlives its worker")
            left = [*(tmp_path / "disturbed-scratch").rglob("linarite-reading-*/[0-9]*")]
            assert not left, "documents lie where dead workers read them"

        print(f"{one.fell.total()} kills: {dict(one.fell)}")  # noqa: T201
        assert set(one.fell) == set(Phase)
        assert one.fell.total() >= KILLS
        expected = undisturbed(world)
        for job in ("handbook", "pages"):
            assert found[job] == expected[job]


def readers_of(pids: Sequence[int]) -> list[int]:
    """The processes that read documents for these."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            words = path.read_bytes().decode().split("\0")
            if "linarite.indexing.cracking.child" in words and set(map(str, pids)) & set(words):
                found.append(int(path.parent.name))
    return found
