import re
import socket
from urllib.parse import urlsplit

import pytest
from tests.support.files import a_file, error_of, objects, until, upload
from tests.support.raw_http import exchange, request, status_and_body
from tests.support.server import API_VERSION, KEY, running_server


@pytest.fixture(scope="module")
def shared(shared_server):
    with shared_server.client() as client:
        yield client


def test_an_uploaded_file_is_processed_at_once_and_says_where_it_is(shared):
    answer = upload(shared, b'{"custom_id": "1"}\n', purpose="batch", filename="in.jsonl")

    file = answer.json()
    assert answer.status_code == 201
    assert answer.headers["location"] == str(shared.base_url.join(f"/openai/files/{file['id']}"))
    assert re.fullmatch("file-[0-9a-f]{32}", file["id"])
    assert file == {
        "object": "file",
        "id": file["id"],
        "created_at": file["created_at"],
        "status": "processed",
        "bytes": 19,
        "purpose": "batch",
        "filename": "in.jsonl",
        "status_details": None,
        "expires_at": None,
    }
    assert shared.get(f"/openai/files/{file['id']}").json() == file


def test_the_official_client_uploads_waits_and_reads(shared_server):
    sdk = shared_server.sdk()

    file = sdk.files.create(file=("größe.txt", b"x" * 5000), purpose="assistants")

    assert sdk.files.wait_for_processing(file.id).status == "processed"
    assert sdk.files.content(file.id).read() == b"x" * 5000
    assert sdk.files.retrieve(file.id).filename == "größe.txt"


@pytest.mark.parametrize("purpose", ["fine-tune-results", "assistants", "assistants_output"])
def test_purposes_that_are_no_jsonl_take_any_bytes(shared, purpose):
    file = a_file(shared, b"\x00\xff" * 100, purpose=purpose, filename="any.bin")

    assert (file["status"], file["purpose"]) == ("processed", purpose)
    assert shared.get(f"/openai/files/{file['id']}/content").content == b"\x00\xff" * 100


def test_a_file_of_nothing_is_a_file(shared):
    file = a_file(shared, b"", purpose="batch", filename="empty.jsonl")

    content = shared.get(f"/openai/files/{file['id']}/content")
    assert (file["bytes"], file["status"]) == (0, "processed")
    assert (content.status_code, content.content) == (200, b"")


@pytest.mark.parametrize(
    ("how", "refusal"),
    [
        ({"purpose": None}, "`purpose` is required."),
        ({"purpose": "evals"}, "Invalid value for purpose."),
        ({"purpose": "batch_output"}, "Invalid value for purpose."),
        ({"purpose": "batch"}, "Invalid file format for Batch API. Must be .jsonl"),
        ({"purpose": "fine-tune"}, "fileName contains an invalid filename: wrong suffix."),
        ({"content_type": ""}, "The file has no or an empty content type specified."),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_file_that_does_not_fit_is_refused_in_the_services_words(shared, how, refusal):
    assert error_of(upload(shared, b"x", **how)) == (400, "invalidPayload", refusal)


@pytest.mark.parametrize(
    ("form", "refusal"),
    [
        (
            '--b\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nassistants\r\n--b--\r\n',
            "`file` is required",
        ),
        ("", "`file` is required"),
        (
            '--b\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n'
            "Content-Type: text/plain\r\n\r\nhalf",
            "breaks off",
        ),
        (
            '--b\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n'
            "Content-Type: text/plain\r\n\r\nwhole\r\n--b\r\n",
            "breaks off",
        ),
        (
            '--b\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n'
            "Content-Type: text/plain\r\n\r\nwhole\r\n--b\r\n"
            'Content-Disposition: form-data; name="purpose"\r\n\r\nnonsense\r\n--b--\r\n',
            "Invalid value for purpose.",
        ),
    ],
    ids=["no file", "nothing", "breaks off in the file", "breaks off after it", "bad purpose late"],
)
def test_a_broken_form_is_refused_and_leaves_nothing(server, client, form, refusal):
    answer = client.post(
        "/openai/files",
        content=form.encode(),
        headers={"content-type": "multipart/form-data; boundary=b"},
    )

    status, code, message = error_of(answer)
    assert (status, code) == (400, "invalidPayload")
    assert refusal in message
    assert objects(server) == []


def test_the_purpose_may_stand_behind_the_file(shared):
    answer = shared.post(
        "/openai/files",
        files=[
            ("file", ("a.jsonl", b"{}", "application/octet-stream")),
            ("purpose", (None, "batch")),
        ],
    )

    assert (answer.status_code, answer.json()["purpose"]) == (201, "batch")


@pytest.mark.parametrize("spelling", ["expires_after[{}]", "expires_after.{}"])
def test_a_file_may_be_given_a_time_to_live(shared, spelling):
    lifetime = {spelling.format("seconds"): "1209600", spelling.format("anchor"): "created_at"}

    file = a_file(shared, **lifetime)

    assert file["expires_at"] == file["created_at"] + 1_209_600


def test_the_official_client_gives_a_file_a_time_to_live(shared_server):
    file = shared_server.sdk().files.create(
        file=("a.txt", b"x"),
        purpose="assistants",
        expires_after={"anchor": "created_at", "seconds": 3600},
    )

    assert file.expires_at == file.created_at + 3600


def test_a_time_to_live_in_one_field_is_refused_rather_than_passed_over(shared):
    answer = upload(shared, b"x", expires_after='{"anchor":"created_at","seconds":3600}')

    assert answer.status_code == 400
    assert answer.json()["error"]["target"] == "expires_after"


def test_a_time_to_live_has_bounds(shared):
    answer = upload(
        shared, b"x", **{"expires_after[seconds]": "60", "expires_after[anchor]": "created_at"}
    )

    assert error_of(answer) == (
        400,
        "invalidPayload",
        "`expires_after.seconds` is 60; it must be between 3600 and 2592000.",
    )


@pytest.mark.parametrize("length", [None, 2_000_000], ids=["chunked", "announced"])
@pytest.mark.parametrize("first", ["purpose", "file"])
def test_a_file_over_its_limit_is_refused_and_leaves_nothing(tmp_path, first, length):
    limits = {"file_bytes": 1_000_000, "batch_file_bytes": 1_500_000}
    with running_server(tmp_path / "data", limits=limits) as server, server.client() as client:
        purpose = '--b\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nassistants\r\n'
        file = (
            '--b\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n'
            f"Content-Type: text/plain\r\n\r\n{'x' * 1_200_000}\r\n"
        )
        form = (purpose + file if first == "purpose" else file + purpose) + "--b--\r\n"
        body = form.encode()
        answer = client.post(
            "/openai/files",
            content=body if length else iter([body]),
            headers={"content-type": "multipart/form-data; boundary=b"},
        )

        assert error_of(answer) == (
            413,
            "invalidPayload",
            "This is too large: a file with purpose assistants may have 1000000 bytes.",
        )
        assert objects(server) == []


def test_what_a_resource_keeps_has_a_bound(tmp_path):
    settings = {"stored_bytes": 250}
    with running_server(tmp_path / "data", limits=settings) as server, server.client() as client:
        first = a_file(client, b"x" * 100)
        a_file(client, b"x" * 100)

        status, code, message = error_of(upload(client, b"x" * 100))
        assert (status, code) == (403, "quotaExceeded")
        assert message.startswith("200 of the 250 bytes that this resource may keep are in use")
        assert len(objects(server)) == 2

        client.delete(f"/openai/files/{first['id']}")
        a_file(client, b"x" * 150)
        assert error_of(upload(client, b"x"))[1] == "quotaExceeded"
        with server.client(key=server.add_key("other")) as other:
            a_file(other, b"x" * 250)


def test_the_disk_keeps_a_reserve(tmp_path):
    settings = {"free_space_bytes": 1 << 60}
    with running_server(tmp_path / "data", limits=settings) as server, server.client() as client:
        status, code, message = error_of(upload(client, b"x"))

        assert (status, code) == (403, "quotaExceeded")
        assert "limits.free_space_bytes" in message
        assert objects(server) == []


def test_counts_are_bounded_where_the_operator_says_so(tmp_path):
    limits = {"fine_tune_files": 1, "batch_files": 1, "batch_files_expiring": 2}
    lifetime = {"expires_after[seconds]": "3600", "expires_after[anchor]": "created_at"}
    line = b'{"prompt": "a", "completion": "b"}'
    with running_server(tmp_path / "data", limits=limits) as server, server.client() as client:
        a_file(client, line, purpose="fine-tune", filename="a.jsonl")
        again = upload(client, line, purpose="fine-tune", filename="a.jsonl")
        a_file(client, b"{}", purpose="batch", filename="a.jsonl")
        lasting = upload(client, b"{}", purpose="batch", filename="a.jsonl")
        a_file(client, b"{}", purpose="batch", filename="a.jsonl", **lifetime)
        expiring = upload(client, b"{}", purpose="batch", filename="a.jsonl", **lifetime)
        a_file(client, b"x")

    assert error_of(again) == (
        403,
        "quotaExceeded",
        "This resource has 1 files with purpose fine-tune and may have 1; delete some first.",
    )
    assert error_of(lasting)[2] == (
        "This resource has 1 files with purpose batch and may have 1 (more with `expires_after`); "
        "delete some first."
    )
    assert error_of(expiring)[1] == "quotaExceeded"


def test_a_caller_who_goes_away_leaves_nothing(server):
    head = (
        '--b\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n'
        "Content-Type: text/plain\r\n\r\n"
    )
    sent = request(
        "POST",
        f"/openai/files?api-version={API_VERSION}",
        f"api-key: {KEY}",
        "Content-Type: multipart/form-data; boundary=b",
        "Content-Length: 100000000",
        body=head.encode() + b"x" * (12 << 20),
    )

    address = urlsplit(server.url)
    with socket.create_connection((address.hostname, address.port)) as caller:
        caller.sendall(sent)
        until(lambda: objects(server), "the file is half there")
    until(lambda: not objects(server), "nothing is there")

    with server.client() as client:
        assert client.get("/openai/files").json()["data"] == []


def test_a_megabyte_over_raw_http_is_taken_whole(server):
    body = (
        '--b\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nassistants\r\n'
        '--b\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n'
        "Content-Type: text/plain\r\n\r\n" + "\r\n--" * 300_000 + "\r\n--b--\r\n"
    ).encode()
    sent = request(
        "POST",
        f"/openai/files?api-version={API_VERSION}",
        f"api-key: {KEY}",
        "Content-Type: multipart/form-data; boundary=b",
        f"Content-Length: {len(body)}",
        body=body,
    )

    status, _ = status_and_body(exchange(server.url, sent))

    with server.client() as client:
        (file,) = client.get("/openai/files").json()["data"]
        content = client.get(f"/openai/files/{file['id']}/content").content
    assert status == 201
    assert content == b"\r\n--" * 300_000


@pytest.mark.parametrize("content_type", ["application/json", "multipart/form-data", "text/plain"])
def test_a_body_that_is_no_form_is_refused(shared, content_type):
    answer = shared.post("/openai/files", content=b"{}", headers={"content-type": content_type})

    assert error_of(answer)[:2] == (415, "invalidPayload")


def test_two_callers_do_not_see_each_others_files(shared_server, shared):
    file = a_file(shared)

    with shared_server.client(key=shared_server.add_key("stranger")) as other:
        answers = [
            other.get(f"/openai/files/{file['id']}"),
            other.get(f"/openai/files/{file['id']}/content"),
            other.delete(f"/openai/files/{file['id']}"),
        ]
        listed = other.get("/openai/files").json()["data"]

    assert [error_of(each)[:2] for each in answers] == [(404, "notFound")] * 3
    assert listed == []
