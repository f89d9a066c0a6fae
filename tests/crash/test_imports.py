"""The worker dies at every moment of an import: the file comes whole, and nothing else stays."""

import random
import threading
import time
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler

import httpx
import pytest
from tests.support.crashing import Crashing
from tests.support.files import an_import, settled, until
from tests.support.server import API_VERSION
from tests.support.serving import serving
from tests.support.web_site import Page, WebSite, content, web_site

pytestmark = [pytest.mark.crash, pytest.mark.timeout(300)]

LINES = b'{"custom_id": "a line of a batch"}\n' * 150_000  # 5 MB
WHERE = (
    "before it is fetched",
    "while it is fetched",
    "between its bytes and its row",
    "while it is judged",
    "after it",
)


@pytest.fixture
def site() -> Iterator[WebSite]:
    with web_site() as site:
        yield site


@pytest.fixture
def crashing(tmp_path) -> Iterator[Crashing]:
    """A server that may fetch from loopback and judges every file by a task of its own."""
    settings = {
        "LINARITE_OUTBOUND__ALLOW": '["127.0.0.1"]',
        "LINARITE_LIMITS__SMALL_FILE_BYTES": "1",
    }
    with serving(tmp_path, **settings) as running:
        yield Crashing(running)


@pytest.fixture
def client(crashing) -> Iterator[httpx.Client]:
    ready = crashing.serving.ready
    with httpx.Client(
        base_url=ready["endpoint"],
        headers={"api-key": ready["api_key"]},
        params={"api-version": API_VERSION},
        timeout=30,
    ) as client:
        yield client


def held(go_on: threading.Event) -> Page:
    """LINES, of which the second half comes when `go_on` is set."""

    def page(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.send_header("Content-Length", str(len(LINES)))
        request.end_headers()
        request.wfile.write(LINES[: len(LINES) // 2])
        go_on.wait(30)
        request.wfile.write(LINES[len(LINES) // 2 :])

    return page


def import_of(client: httpx.Client, site: WebSite, path: str) -> str:
    return str(an_import(client, site.url(path), purpose="batch", filename="a.jsonl")["id"])


def size_of(client: httpx.Client, file_id: str) -> int | None:
    size: int | None = client.get(f"/openai/files/{file_id}").json()["bytes"]
    return size


def die_before_it_is_fetched(crashing: Crashing, client: httpx.Client, site: WebSite) -> str:
    """The worker is dead while the import is asked for, so that it waits for the next one."""
    crashing.kill("worker", WHERE[0])
    file_id = import_of(client, site, "/whole")
    crashing.recover()
    return file_id


def die_while_it_is_fetched(crashing: Crashing, client: httpx.Client, site: WebSite) -> str:
    go_on = threading.Event()
    site.pages["/first"] = held(go_on)
    file_id = import_of(client, site, "/first")
    until(crashing.half_objects, "the file is half written")
    crashing.kill("worker", WHERE[1])
    go_on.set()
    crashing.recover()
    return file_id


def die_between_bytes_and_row(crashing: Crashing, client: httpx.Client, site: WebSite) -> str:
    go_on, before = threading.Event(), crashing.whole_objects()
    site.pages["/second"] = held(go_on)
    file_id = import_of(client, site, "/second")
    until(lambda: any(path == "/second" for path, _ in site.seen), "the site is asked")
    with crashing.nobody_writes():
        go_on.set()
        until(lambda: crashing.whole_objects() > before, "the file is stored")
        crashing.kill("worker", WHERE[2])
        assert crashing.whole_objects() > crashing.named_objects()
    crashing.recover()
    return file_id


def die_while_it_is_judged(crashing: Crashing, client: httpx.Client, site: WebSite) -> str:
    """Its bytes have a row and its verdict has none, as the database can be read meanwhile."""
    while True:
        file_id = import_of(client, site, "/whole")
        until(partial(size_of, client, file_id), "it is fetched")
        with crashing.nobody_writes():
            if client.get(f"/openai/files/{file_id}").json()["status"] == "running":
                crashing.kill("worker", WHERE[3])
                break
    crashing.recover()
    return file_id


def test_an_import_survives_the_workers_death_at_every_moment(crashing, client, site):
    site.pages["/whole"] = content(LINES)
    files = [
        settled(client, die(crashing, client, site), within_seconds=60)
        for die in (
            die_before_it_is_fetched,
            die_while_it_is_fetched,
            die_between_bytes_and_row,
            die_while_it_is_judged,
        )
    ]
    crashing.kill("worker", WHERE[4])
    crashing.recover()

    assert [file["status"] for file in files] == ["processed"] * 4
    for file in files:
        assert client.get(f"/openai/files/{file['id']}/content").content == LINES
    crashing.sweep()
    assert crashing.half_objects() == set()
    assert crashing.whole_objects() == crashing.named_objects()
    crashing.tell()
    assert set(crashing.fell) == set(WHERE)


def test_imports_survive_the_workers_death_at_random_moments(crashing, client, site):
    chance = random.Random(5)

    def page(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.send_header("Content-Length", str(len(LINES)))
        request.end_headers()
        for at in range(0, len(LINES), 500_000):
            request.wfile.write(LINES[at : at + 500_000])
            time.sleep(0.1)

    site.pages["/slow"] = page
    imported = [import_of(client, site, "/slow") for _ in range(4)]
    for _ in range(5):
        time.sleep(chance.uniform(0.2, 2))
        crashing.kill("worker", "anywhere")
        crashing.recover()

    files = [settled(client, file_id, within_seconds=90) for file_id in imported]

    assert [file["status"] for file in files] == ["processed"] * 4
    for file_id in imported:
        assert client.get(f"/openai/files/{file_id}/content").content == LINES
    crashing.sweep()
    assert len(crashing.whole_objects()) == 4
    assert crashing.whole_objects() == crashing.named_objects()
    crashing.tell()
