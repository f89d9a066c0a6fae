import base64
import hashlib
import os
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import httpx
import pytest
import sqlalchemy as sa
from tests.support.clock import StandingClock
from tests.support.files import error_of, objects
from tests.support.server import running_server

from linarite.resources.files.service import Files
from linarite.resources.files.sweeping import drop_leftovers
from linarite.resources.uploads.service import Uploads
from linarite.storage.tables import upload_parts, usage
from linarite.tasks.tickets import TickTicket


@pytest.fixture
def uploads(server) -> Uploads:
    return server.built.parts[Uploads]


@pytest.fixture(scope="module")
def shared(shared_server):
    with shared_server.client() as client:
        yield client


def start(client: httpx.Client, size: int, **how: object) -> httpx.Response:
    body = {"purpose": "assistants", "filename": "f.bin", "bytes": size, "mime_type": "x/y"}
    return client.post("/openai/uploads", json=body | how)


def started(client: httpx.Client, size: int, **how: object) -> str:
    answer = start(client, size, **how)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["id"])


def send(client: httpx.Client, upload: str, content: bytes) -> httpx.Response:
    return client.post(f"/openai/uploads/{upload}/parts", files={"data": content})


def sent(client: httpx.Client, upload: str, content: bytes) -> dict[str, str]:
    answer = send(client, upload, content)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def complete(client: httpx.Client, upload: str, *part_ids: str, **how: str) -> httpx.Response:
    return client.post(
        f"/openai/uploads/{upload}/complete", json={"part_ids": list(part_ids), **how}
    )


def cancel(client: httpx.Client, upload: str) -> httpx.Response:
    return client.post(f"/openai/uploads/{upload}/cancel")


def content_of(client: httpx.Client, answer: httpx.Response) -> bytes:
    assert answer.status_code == 200, answer.text
    return client.get(f"/openai/files/{answer.json()['file']['id']}/content").content


def charged(uploads: Uploads) -> int | None:
    with uploads.database.reading() as connection:
        return connection.execute(sa.select(usage.c.bytes)).scalar()


def expire(uploads: Uploads) -> None:
    later = replace(uploads, clock=StandingClock(uploads.clock.now() + 7201))
    later.expire(TickTicket())


def test_an_upload_starts_pending_for_two_hours_and_says_where_it_is(server, client):
    answer = start(client, 10, purpose="fine-tune", filename="größe.jsonl")

    upload = answer.json()
    assert answer.status_code == 200
    assert answer.headers["location"] == f"{server.url}/openai/uploads/{upload['id']}"
    assert re.fullmatch("fine-tune-[0-9a-f]{32}", upload["id"])
    assert upload == {
        "object": "upload",
        "id": upload["id"],
        "created_at": upload["created_at"],
        "expires_at": upload["created_at"] + 7200,
        "bytes": 10,
        "filename": "größe.jsonl",
        "purpose": "fine-tune",
        "status": "pending",
        "file": None,
    }


def test_a_part_has_an_id_and_a_block_id(client):
    upload = started(client, 3)

    part = sent(client, upload, b"abc")

    assert re.fullmatch("uplprt-[0-9a-f]{32}", part["id"])
    assert len(base64.b64decode(part["azure_block_id"])) == 16
    assert (part["object"], part["upload_id"]) == ("upload.part", upload)


def test_the_official_client_uploads_in_chunks(server, client):
    content = os.urandom(300_000)

    upload = server.sdk().uploads.upload_file_chunked(
        file=content,
        filename="f.bin",
        bytes=len(content),
        mime_type="application/octet-stream",
        purpose="assistants",
        part_size=70_000,
        md5=hashlib.md5(content).hexdigest(),
    )

    assert (upload.status, upload.file.status) == ("completed", "processed")
    assert client.get(f"/openai/files/{upload.file.id}/content").content == content


def test_the_file_has_the_order_of_the_ids_and_either_kind_of_id_does(client):
    upload = started(client, 6)
    three, one, two = (sent(client, upload, part) for part in (b"ccc", b"a", b"bb"))

    answer = complete(client, upload, one["id"], two["azure_block_id"], three["id"])

    assert content_of(client, answer) == b"abbccc"
    assert answer.json()["status"] == "completed"
    assert answer.json()["file"]["bytes"] == 6
    assert (
        client.get(f"/openai/files/{answer.json()['file']['id']}").json() == (answer.json()["file"])
    )


def test_a_range_reaches_across_parts(client):
    upload = started(client, 9)
    parts = [sent(client, upload, part)["id"] for part in (b"abc", b"def", b"ghi")]
    file = complete(client, upload, *parts).json()["file"]

    part = client.get(f"/openai/files/{file['id']}/content", headers={"range": "bytes=2-6"})

    assert (part.status_code, part.content) == (206, b"cdefg")


def test_parts_come_at_once_and_out_of_order(server):
    content = os.urandom(20 * 50_000)
    pieces = [content[at : at + 50_000] for at in range(0, len(content), 50_000)]
    with server.client() as client, ThreadPoolExecutor(8) as pool:
        upload = started(client, len(content))
        parts = list(pool.map(lambda piece: sent(client, upload, piece)["id"], pieces[::-1]))

        answer = complete(client, upload, *parts[::-1])

        assert content_of(client, answer) == content
    assert len(objects(server)) == 20


def test_completing_copies_nothing_and_drops_what_is_not_named(server, client, uploads):
    upload = started(client, 4)
    once, twice = sent(client, upload, b"same"), sent(client, upload, b"same")
    before = objects(server)

    answer = complete(client, upload, twice["id"])

    assert content_of(client, answer) == b"same"
    assert len(before) == 2
    assert set(objects(server)) < set(before)
    assert once["id"] != twice["id"]
    assert charged(uploads) == 4


def test_an_upload_of_nothing_is_a_file_of_nothing(client):
    answer = complete(client, started(client, 0))

    assert content_of(client, answer) == b""


def test_a_completed_file_may_have_a_time_to_live(client):
    lifetime = {"anchor": "created_at", "seconds": 3600}
    upload = started(client, 1, expires_after=lifetime)

    file = complete(client, upload, sent(client, upload, b"x")["id"]).json()["file"]

    assert file["expires_at"] == file["created_at"] + 3600


def test_the_settings_say_how_short_a_life_may_be(tmp_path):
    lifetime = {"anchor": "created_at", "seconds": 60}
    limits = {"min_expires_after_seconds": 60}
    with running_server(tmp_path / "data", limits=limits) as server, server.client() as client:
        upload = started(client, 0, expires_after=lifetime)
        file = complete(client, upload).json()["file"]

    assert file["expires_at"] == file["created_at"] + 60


def test_a_completed_file_is_judged_like_any_other(server, client, uploads):
    upload = started(client, 8, purpose="fine-tune", filename="a.jsonl")

    answer = complete(client, upload, sent(client, upload, b"nonsense")["id"])

    file = answer.json()["file"]
    assert (answer.json()["status"], file["status"]) == ("completed", "error")
    assert "Line 1: it is not valid JSON" in file["status_details"]
    assert objects(server) == []
    assert charged(uploads) == 0


@pytest.mark.parametrize("content_type", ["application/json", "text/json", "application/x+json"])
def test_the_contracts_content_types_are_taken(shared, content_type):
    body = b'{"purpose":"assistants","filename":"f","bytes":0,"mime_type":"x"}'
    headers = {"content-type": content_type}

    upload = shared.post("/openai/uploads", content=body, headers=headers)
    done = shared.post(
        f"/openai/uploads/{upload.json()['id']}/complete",
        content=b'{"part_ids":[]}',
        headers=headers,
    )

    assert (upload.status_code, done.status_code) == (200, 200)


@pytest.mark.parametrize(
    ("parts", "md5", "refusal"),
    [
        (["A", "A"], None, "twice"),
        (["A", "a"], None, "twice"),
        (["A", "nonsense"], None, "names 'nonsense', which the upload has no part for"),
        (["A"], None, "The parts have 2 bytes together, but the upload was started for 5 bytes."),
        ([], None, "The parts have 0 bytes together"),
        (["A", "B"], "0" * 32, "but `md5` says 00000000000000000000000000000000"),
        (["A", "B"], "nonsense", "`md5` must be 32 hex digits, or base64 of 16 bytes."),
    ],
    ids=lambda value: str(value)[:20],
)
def test_what_does_not_make_the_file_is_refused_and_may_be_tried_again(shared, parts, md5, refusal):
    """A and B name two parts by their ids, a the first by its block id."""
    upload = started(shared, 5)
    first, second = sent(shared, upload, b"ab"), sent(shared, upload, b"cde")
    names = {"A": first["id"], "B": second["id"], "a": first["azure_block_id"]}
    named = [names.get(part, part) for part in parts]

    answer = complete(shared, upload, *named, **({"md5": md5} if md5 else {}))

    status, code, message = error_of(answer)
    assert (status, code) == (400, "invalidPayload")
    assert refusal in message
    again = complete(shared, upload, first["id"], second["id"])
    assert content_of(shared, again) == b"abcde"


@pytest.mark.parametrize(
    ("how", "status", "refusal"),
    [
        ({"bytes": (9 << 30) + 1}, 400, "an upload may have 9663676416 bytes"),
        ({"bytes": -1}, 400, "`bytes`"),
        ({"bytes": "5"}, 400, "`bytes`"),
        ({"bytes": 1 << 70}, 400, "`bytes`"),
        ({"purpose": "evals"}, 400, "`purpose`"),
        ({"purpose": "batch"}, 400, "Must be .jsonl"),
        ({"filename": ""}, 400, "`filename`"),
        ({"mime_type": ""}, 400, "`mime_type`"),
        ({"mime_type": "x" * 256}, 400, "`mime_type`"),
        ({"expires_after": {"anchor": "created_at", "seconds": 1}}, 400, "between 3600 and"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_an_upload_that_cannot_be_is_refused(shared_server, shared, how, status, refusal):
    uploads = shared_server.built.parts[Uploads]
    before = charged(uploads)

    answer = start(shared, 1, **how)

    assert error_of(answer)[:2] == (status, "invalidPayload")
    assert refusal in error_of(answer)[2]
    assert charged(uploads) == before


def test_nothing_is_added_to_an_upload_that_has_ended(server, client, uploads):
    completed, cancelled, expired = (started(client, 1) for _ in range(3))
    part = sent(client, completed, b"x")["id"]
    complete(client, completed, part)
    cancel(client, cancelled)
    expire(uploads)

    for upload in (completed, cancelled, expired):
        for answer in (send(client, upload, b"x"), complete(client, upload, part)):
            status, code, message = error_of(answer)
            assert (status, code) == (409, "unexpectedEntityState")
            assert answer.headers["x-should-retry"] == "false"
            assert upload in message
    assert len(objects(server)) == 1


def test_cancelling_removes_the_parts_and_frees_their_bytes(server, client, uploads):
    upload = started(client, 100)
    sent(client, upload, b"x" * 10)
    assert charged(uploads) == 100

    answer = cancel(client, upload)

    assert (answer.status_code, answer.json()["status"]) == (200, "cancelled")
    assert objects(server) == []
    assert charged(uploads) == 0
    assert cancel(client, upload).json()["status"] == "cancelled"


def test_an_upload_expires_after_two_hours_with_its_parts(server, client, uploads):
    upload = started(client, 100)
    sent(client, upload, b"x" * 10)

    expire(uploads)

    assert objects(server) == []
    assert charged(uploads) == 0
    assert cancel(client, upload).json()["status"] == "expired"


def test_an_upload_is_over_on_the_second_whoever_notes_it_down(tmp_path):
    limits = {"upload_seconds": 1}
    with running_server(tmp_path / "data", limits=limits) as server:
        uploads = server.built.parts[Uploads]
        with server.client() as client:
            upload = started(client, 1)
        late = replace(uploads, clock=StandingClock(uploads.clock.now() + 1))

        with pytest.raises(Exception, match="is expired"):
            late.get_open("default", upload)


def test_a_completed_upload_cannot_be_cancelled(client):
    upload = started(client, 0)
    complete(client, upload)

    assert error_of(cancel(client, upload))[:2] == (409, "unexpectedEntityState")


def test_of_many_that_complete_at_once_one_wins(server, uploads):
    with server.client() as client, ThreadPoolExecutor(8) as pool:
        upload = started(client, 1)
        part = sent(client, upload, b"x")["id"]

        answers = list(pool.map(lambda _: complete(client, upload, part), range(8)))
        files = client.get("/openai/files").json()["data"]

    assert sorted(answer.status_code for answer in answers) == [200] + [409] * 7
    assert len(files) == 1
    assert charged(uploads) == 1


def test_of_completing_and_cancelling_at_once_one_wins(server, uploads):
    with server.client() as client, ThreadPoolExecutor(8) as pool:
        for _ in range(20):
            upload = started(client, 1)
            part = sent(client, upload, b"x")["id"]
            done = pool.submit(complete, client, upload, part)
            gone = pool.submit(cancel, client, upload)

            assert sorted([done.result().status_code, gone.result().status_code]) == [200, 409]
        files = client.get("/openai/files").json()["data"]

    assert len(objects(server)) == len(files)
    assert charged(uploads) == len(files)


def test_a_part_has_the_size_it_may_have_and_no_more(tmp_path):
    limits = {"upload_part_bytes": 1000}
    with running_server(tmp_path / "data", limits=limits) as server, server.client() as client:
        upload = started(client, 1500)
        sent(client, upload, b"x" * 1000)
        over = send(client, upload, b"x" * 1001)
        tiny = send(client, started(client, 5), b"x" * 6)

        assert error_of(over) == (
            413,
            "invalidPayload",
            "This is too large: a part of this upload may have 1000 bytes.",
        )
        assert error_of(tiny)[0] == 413
        assert len(objects(server)) == 1


def test_parts_that_come_again_are_taken_within_reason_and_are_charged(server, client, uploads):
    upload = started(client, 10)
    for _ in range(2):
        sent(client, upload, b"x" * 10)

    again = send(client, upload, b"x" * 10)

    assert error_of(again)[:2] == (400, "invalidPayload")
    assert "may have 20 bytes together" in error_of(again)[2]
    assert charged(uploads) == 20
    assert len(objects(server)) == 2


def test_an_upload_reserves_its_bytes(tmp_path):
    limits = {"stored_bytes": 100, "open_uploads": 2}
    with running_server(tmp_path / "data", limits=limits) as server, server.client() as client:
        started(client, 60)
        over = start(client, 41)
        started(client, 40)
        third = start(client, 0)

        assert error_of(over)[:2] == (403, "quotaExceeded")
        assert "60 of the 100 bytes" in error_of(over)[2]
        assert error_of(third) == (
            403,
            "quotaExceeded",
            "This resource has 2 open uploads and may have 2; complete or cancel some first.",
        )


def test_a_part_is_never_taken_for_a_leftover(server, client, uploads):
    upload = started(client, 3)
    part = sent(client, upload, b"abc")
    files = server.built.parts[Files]

    drop_leftovers(files, TickTicket(), older_than_seconds=0)
    answer = complete(client, upload, part["id"])
    drop_leftovers(files, TickTicket(), older_than_seconds=0)

    assert content_of(client, answer) == b"abc"


def test_a_part_without_its_field_or_with_a_broken_form_leaves_nothing(server, client):
    upload = started(client, 3)
    url = f"/openai/uploads/{upload}/parts"

    wrong = client.post(url, files={"file": b"abc"})
    broken = client.post(
        url,
        content=b'--b\r\nContent-Disposition: form-data; name="data"; filename="x"\r\n\r\nabc',
        headers={"content-type": "multipart/form-data; boundary=b"},
    )

    assert error_of(wrong)[:2] == (400, "invalidPayload")
    assert error_of(broken)[:2] == (400, "invalidPayload")
    assert objects(server) == []
    with server.built.database.reading() as connection:
        assert connection.execute(sa.select(upload_parts)).all() == []


def test_another_resources_upload_is_not_there(server, client):
    upload = started(client, 1)

    with server.client(key=server.add_key("stranger")) as other:
        answers = [send(other, upload, b"x"), complete(other, upload), cancel(other, upload)]

    assert [error_of(answer)[:2] for answer in answers] == [(404, "notFound")] * 3


def test_an_upload_survives_a_restart(tmp_path, database_url):
    """Two servers, one after the other, on the same data."""
    where = {"folder": tmp_path / "data", "database_url": database_url}
    with running_server(**where) as server, server.client() as client:
        upload = started(client, 6)
        first = sent(client, upload, b"abc")["id"]

    with running_server(**where) as server, server.client() as client:
        second = sent(client, upload, b"def")["id"]
        assert content_of(client, complete(client, upload, first, second)) == b"abcdef"
