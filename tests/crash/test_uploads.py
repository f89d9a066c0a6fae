"""The API dies at every moment of an upload in 20 parts: no part is lost, none is half there."""

import os
import random
import threading
import time
from collections.abc import Callable, Iterator

import httpx
import pytest
from tests.support.crashing import Crashing
from tests.support.files import until
from tests.support.server import API_VERSION
from tests.support.serving import serving

pytestmark = [pytest.mark.crash, pytest.mark.timeout(300)]

PARTS = [os.urandom(300_000) for _ in range(20)]
WHERE = (
    "while a part is written",
    "between a part's bytes and its row",
    "between the parts' check and the file's row",
    "after the file's row",
)


@pytest.fixture
def crashing(tmp_path) -> Iterator[Crashing]:
    with serving(tmp_path) as running:
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


def again_until_answered(call: Callable[[], httpx.Response]) -> httpx.Response:
    """What clients do when a connection breaks: they ask again."""
    while True:
        try:
            return call()
        except httpx.TransportError:
            time.sleep(0.05)


def start(client: httpx.Client) -> str:
    size = sum(map(len, PARTS))
    body = {"purpose": "assistants", "filename": "f", "bytes": size, "mime_type": "a/b"}
    return str(again_until_answered(lambda: client.post("/openai/uploads", json=body)).json()["id"])


def send(client: httpx.Client, upload: str, content: object) -> str:
    answer = again_until_answered(
        lambda: client.post(f"/openai/uploads/{upload}/parts", files={"data": content})
    )
    assert answer.status_code == 200, answer.text
    return str(answer.json()["id"])


def send_and_die(
    client: httpx.Client, url: str, **body: object
) -> tuple[threading.Thread, list[object]]:
    """Send a request on a thread of its own, whose answer will be a broken connection."""
    outcome: list[object] = []

    def call() -> None:
        try:
            with httpx.Client(
                base_url=client.base_url, headers=client.headers, params=client.params, timeout=30
            ) as fresh:  # whose connection no earlier death has broken
                outcome.append(fresh.post(url, **body))
        except httpx.TransportError as error:
            outcome.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    return thread, outcome


def slowly(go_on: threading.Event) -> Iterator[bytes]:
    yield b'--b\r\nContent-Disposition: form-data; name="data"; filename="f"\r\n\r\n'
    for _ in range(4):
        yield os.urandom(1 << 20)
    go_on.wait(20)


def die_while_a_part_is_written(crashing: Crashing, client: httpx.Client, upload: str) -> None:
    go_on = threading.Event()
    url = f"/openai/uploads/{upload}/parts"
    headers = {"content-type": "multipart/form-data; boundary=b"}
    thread, outcome = send_and_die(client, url, content=slowly(go_on), headers=headers)
    until(crashing.half_objects, "a part is half written")
    crashing.kill("api", WHERE[0])
    go_on.set()
    thread.join()
    crashing.recover()
    assert isinstance(outcome[0], httpx.TransportError)
    assert crashing.half_objects()


def die_between_bytes_and_row(crashing: Crashing, client: httpx.Client, upload: str) -> None:
    before = crashing.whole_objects()
    with crashing.nobody_writes():
        url = f"/openai/uploads/{upload}/parts"
        thread, outcome = send_and_die(client, url, files={"data": PARTS[0]})
        until(lambda: crashing.whole_objects() > before, "the part is stored")
        crashing.kill("api", WHERE[1])
        thread.join()
    crashing.recover()
    assert isinstance(outcome[0], httpx.TransportError)
    assert crashing.whole_objects() > crashing.named_objects()


def die_while_completing(
    crashing: Crashing, client: httpx.Client, upload: str, part_ids: list[str]
) -> None:
    with crashing.nobody_writes():
        url = f"/openai/uploads/{upload}/complete"
        thread, outcome = send_and_die(client, url, json={"part_ids": part_ids})
        time.sleep(0.5)  # it has checked the parts and waits for the lock by then
        crashing.kill("api", WHERE[2])
        thread.join()
    crashing.recover()
    assert isinstance(outcome[0], httpx.TransportError)
    assert client_lists(client) == []


def client_lists(client: httpx.Client) -> list[dict[str, object]]:
    return list(again_until_answered(lambda: client.get("/openai/files")).json()["data"])


def test_an_upload_survives_the_apis_death_at_every_moment(crashing, client):
    upload = start(client)
    part_ids = [send(client, upload, part) for part in PARTS[:10]]
    die_while_a_part_is_written(crashing, client, upload)
    die_between_bytes_and_row(crashing, client, upload)
    part_ids += [send(client, upload, part) for part in PARTS[10:]]
    die_while_completing(crashing, client, upload, part_ids)

    url = f"/openai/uploads/{upload}/complete"
    done = again_until_answered(lambda: client.post(url, json={"part_ids": part_ids}))
    file_id = done.json()["file"]["id"]
    crashing.kill("api", WHERE[3])

    content = again_until_answered(lambda: client.get(f"/openai/files/{file_id}/content"))
    assert content.content == b"".join(PARTS)
    crashing.sweep()
    assert crashing.half_objects() == set()
    assert len(crashing.whole_objects()) == 20
    assert crashing.whole_objects() == crashing.named_objects()
    crashing.tell()
    assert set(crashing.fell) == set(WHERE)


def test_an_upload_survives_the_apis_death_at_random_moments(crashing, client):
    upload, ended = start(client), threading.Event()
    chance = random.Random(20)

    def kill_on() -> None:
        while not ended.wait(chance.uniform(0, 0.6)) and crashing.fell["anywhere"] < 6:
            crashing.kill("api", "anywhere")
            crashing.recover()

    killer = threading.Thread(target=kill_on)
    killer.start()
    try:
        part_ids = []
        for part in PARTS:
            part_ids.append(send(client, upload, part))
            time.sleep(chance.uniform(0, 0.5))
    finally:
        ended.set()
        killer.join()

    url = f"/openai/uploads/{upload}/complete"
    done = again_until_answered(lambda: client.post(url, json={"part_ids": part_ids}))

    file_id = done.json()["file"]["id"]
    content = again_until_answered(lambda: client.get(f"/openai/files/{file_id}/content"))
    assert content.content == b"".join(PARTS)
    crashing.sweep()
    assert len(crashing.whole_objects()) == 20
    assert crashing.whole_objects() == crashing.named_objects()
    crashing.tell()
    assert crashing.fell["anywhere"] >= 3
