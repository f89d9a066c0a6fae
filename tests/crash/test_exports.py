"""The worker dies at every moment of an export: the file comes whole, and nothing else stays."""

import json
from collections.abc import Iterator

import httpx
import pytest
from tests.support.crashing import Crashing, client_of
from tests.support.files import settled, until
from tests.support.serving import serving
from tests.support.stored import made, put, start

from linarite.bootstrap import build
from linarite.settings import Settings

pytestmark = [pytest.mark.crash, pytest.mark.timeout(300)]

COMPLETIONS, AT_ONCE = 20_000, 100
WHERE = ("before it is made", "while it is made", "between its bytes and its row", "after it")


@pytest.fixture
def crashing(tmp_path) -> Iterator[Crashing]:
    """A server on which many chats are stored."""
    with serving(tmp_path) as running:
        built = build(Settings(data=running.data))
        for first in range(0, COMPLETIONS, AT_ONCE):
            numbers = range(first, first + AT_ONCE)
            put(built, "default", *(made(f"{n}", "A question " * 20) for n in numbers))
        built.database.close()
        yield Crashing(running)


@pytest.fixture
def client(crashing) -> Iterator[httpx.Client]:
    with client_of(crashing.serving) as client:
        yield client


def die_before_it_is_made(crashing: Crashing, client: httpx.Client) -> str:
    crashing.kill("worker", WHERE[0])
    file_id = start(client, order="asc")
    crashing.recover()
    return file_id


def die_while_it_is_made(crashing: Crashing, client: httpx.Client) -> str:
    file_id = start(client, order="asc")
    until(crashing.half_objects, "the file is half written")
    crashing.kill("worker", WHERE[1])
    crashing.recover()
    return file_id


def die_between_bytes_and_row(crashing: Crashing, client: httpx.Client) -> str:
    before = crashing.whole_objects()
    file_id = start(client, order="asc")
    until(lambda: client.get(f"/openai/files/{file_id}").json()["status"] == "running", "it runs")
    with crashing.nobody_writes():
        until(lambda: crashing.whole_objects() > before, "the file is stored")
        crashing.kill("worker", WHERE[2])
        assert crashing.whole_objects() > crashing.named_objects()
    crashing.recover()
    return file_id


def test_an_export_survives_the_workers_death_at_every_moment(crashing, client):
    files = [
        settled(client, die(crashing, client), within_seconds=60)
        for die in (die_before_it_is_made, die_while_it_is_made, die_between_bytes_and_row)
    ]
    crashing.kill("worker", WHERE[3])
    crashing.recover()

    told = f"Examples: {COMPLETIONS}, from {COMPLETIONS} matching stored completions."
    for file in files:
        assert (file["status"], file["status_details"]) == ("processed", told)
        lines = client.get(f"/openai/files/{file['id']}/content").text.splitlines()
        said = [json.loads(line)["messages"][1]["content"] for line in lines]
        assert said == [f"{n}" for n in range(COMPLETIONS)]
    crashing.sweep()
    assert crashing.half_objects() == set()
    assert crashing.whole_objects() == crashing.named_objects()
    assert len(crashing.whole_objects()) == len(files)
    crashing.tell()
    assert set(crashing.fell) == set(WHERE)
