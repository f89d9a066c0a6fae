"""A site and a folder that mean harm, ingested by a server as it is run: what is good gets in."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.support import documents, hostile_documents
from tests.support.files import until
from tests.support.hostile_site import be_hostile, html
from tests.support.server import API_VERSION
from tests.support.serving import Serving, serving
from tests.support.web_site import WebSite, web_site

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

MOST_WORKER_BYTES = 600 << 20
"""At the worker's highest, whatever comes; most of it are the libraries."""


@dataclass
class World:
    """A server that may fetch a hostile site and read a folder, but nothing within."""

    server: Serving
    client: httpx.Client
    site: WebSite
    inside: WebSite
    folder: Path

    def run(self, job: str, source: dict[str, Any]) -> dict[str, Any]:
        """Put a job, and give its run when it is over."""
        body = {"kind": "UserCompute", "workspaceId": "here", "datasource": source}
        put = self.client.put(f"/openai/ingestion/jobs/{job}", json=body)
        assert put.status_code == 200, put.text
        address = put.headers["operation-location"]

        def now() -> dict[str, Any]:
            return dict(self.client.get(address, params={}).json())

        until(lambda: now()["status"] in {"succeeded", "failed"}, "the run ends", 120)
        return now()

    def indexed(self, job: str) -> set[str]:
        """The paths of the documents in a job's index."""
        wanted = {"search": "*", "select": "filepath", "top": 1000}
        path = f"/indexes('{job}-index')/docs/search.post.search"
        answer = self.client.post(path, json=wanted, params={"api-version": "2024-07-01"})
        assert answer.status_code == 200, answer.text
        return {one["filepath"] for one in answer.json()["value"]}

    def worker_peak_bytes(self) -> int:
        """The most memory that the worker has had."""
        status = Path(f"/proc/{self.server.processes()['worker']}/status").read_text()
        [kilobytes] = [line.split()[1] for line in status.splitlines() if "VmHWM" in line]
        return int(kilobytes) << 10


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    home = tmp_path_factory.mktemp("hostile")
    (home / "folder").mkdir()
    (home / "linarite.toml").write_text(
        f'[datasets.folder]\ntype = "uri_folder"\npath = "{home / "folder"}"\n'
    )
    with web_site() as site, web_site() as inside:
        opened = {
            "LINARITE_OUTBOUND__ALLOW": f'["{site.address}"]',
            "LINARITE_OUTBOUND__READ_SECONDS": "1.5",
        }
        with (
            serving(home, "--config", str(home / "linarite.toml"), **opened) as server,
            httpx.Client(
                base_url=server.endpoint,
                headers={"api-key": server.ready["api_key"]},
                params={"api-version": API_VERSION},
                timeout=30,
            ) as client,
        ):
            yield World(server, client, site, inside, home / "folder")


def test_a_hostile_site_gives_its_good_pages_and_a_warning_for_each_other(world: World):
    told = be_hostile(world.site, world.inside.url("/secret"))
    world.site.pages["/deep"] = html("<div><b>" * 2_000 + "deep")  # more takes its minute to crack

    run = world.run(
        "site",
        {
            "kind": "Urls",
            "urls": [world.site.url("/")],
            "crawling": {"maxFileSize": 2_000_000, "maxDownloadTimeInMins": 1},
            "embeddings": [],
        },
    )

    assert run["status"] == "succeeded", run
    warnings = {key: why for key, _, why in (one.partition(": ") for one in run["warnings"])}
    for path, why in told.items():
        assert why in warnings[world.site.url(path)], path
    names = {path.rpartition("/")[2].rpartition("-")[0] for path in world.indexed("site")}
    assert names == {"index", "many", "odd-head"}
    [deep] = [why for key, why in warnings.items() if "/deep-" in key]
    assert deep
    assert world.inside.seen == []
    assert world.worker_peak_bytes() < MOST_WORKER_BYTES


GOOD = {
    "good.txt": b"Whales breathe air.",
    "good.docx": documents.docx(["Bees make honey."]),
    "climbs.docx": hostile_documents.docx_that_climbs("/tmp/climbed-out-of-a-document"),
}
BAD = {
    "bomb.docx": (hostile_documents.docx_bomb, "holds more than is read"),
    "bomb.pdf": (hostile_documents.pdf_bomb, "No text was found"),
    "cut.pdf": (lambda: documents.pdf([["Words"]])[:-40], "cut off"),
    "locked.pdf": (hostile_documents.encrypted_pdf, "encrypted"),
    "locked.docx": (hostile_documents.encrypted_office, "encrypted"),
    "zips.docx": (hostile_documents.nested_zip, ""),
    "deep.docx": (hostile_documents.docx_in_depth, ""),
    "deep.json": (lambda: b"[" * 100_000, "deeper than 100"),
    "grows.json": (
        lambda: b'{"%s": [%s0]}' % (b"k" * 100_000, b'{"a":1},' * 20_000),
        "longer than",
    ),
    "binary.txt": (lambda: bytes(range(256)) * 4, "not text"),
    "picture.png": (lambda: b"\x89PNG", "not read"),
}


def test_a_hostile_folder_gives_its_good_documents_and_a_warning_for_each_other(world: World):
    for name, body in GOOD.items():
        (world.folder / name).write_bytes(body)
    for name, (make, _) in BAD.items():
        (world.folder / name).write_bytes(make())
    secret = hostile_documents.docx_with_entity(world.inside.url("/secret"))
    (world.folder / "entity.docx").write_bytes(secret)

    run = world.run(
        "folder", {"kind": "Dataset", "datasetId": "folder", "datasetType": "uri_folder"}
    )

    assert run["status"] == "succeeded", run
    warnings = {key: why for key, _, why in (one.partition(": ") for one in run["warnings"])}
    for name, (_, why) in BAD.items():
        assert why in warnings[name], name
    assert {*warnings} == {*BAD}
    assert world.indexed("folder") == {*GOOD, "entity.docx"}
    assert world.inside.seen == []
    assert not Path("/tmp/climbed-out-of-a-document").exists()
    assert world.worker_peak_bytes() < MOST_WORKER_BYTES
