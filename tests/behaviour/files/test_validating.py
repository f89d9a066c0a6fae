import json

import pytest
from tests.support.files import a_file, error_of, objects, settled, until
from tests.support.server import running_server

CHAT = json.dumps(
    {"messages": [{"role": "user", "content": "?"}, {"role": "assistant", "content": "!"}]}
).encode()
SMALL_FILES_END_AT = {"small_file_bytes": 100}


def test_a_small_training_file_is_judged_before_the_answer(client):
    good = a_file(client, b"\xef\xbb\xbf" + CHAT, purpose="fine-tune", filename="a.jsonl")
    bad = a_file(client, CHAT + b"\n{}\n", purpose="fine-tune", filename="a.jsonl")

    assert good["status"] == "processed"
    assert bad["status"] == "error"
    assert bad["status_details"].startswith(
        "Validation of jsonl file failed: Line 2: it is no training example."
    )


def test_a_file_in_error_has_no_content_and_says_why(client):
    bad = a_file(client, b"nonsense", purpose="fine-tune", filename="a.jsonl")

    answer = client.get(f"/openai/files/{bad['id']}/content")

    assert error_of(answer) == (400, "jsonlValidationFailed", bad["status_details"])
    assert client.get(f"/openai/files/{bad['id']}").json() == bad


def test_a_training_file_in_error_keeps_no_bytes_and_a_batch_file_does(server, client):
    a_file(client, b"nonsense", purpose="fine-tune", filename="a.jsonl")
    assert objects(server) == []

    bad = a_file(client, b"nonsense", purpose="batch", filename="a.jsonl")
    assert (bad["status"], len(objects(server))) == ("error", 1)
    client.delete(f"/openai/files/{bad['id']}")
    assert objects(server) == []


@pytest.mark.parametrize("purpose", ["fine-tune", "batch"])
def test_a_large_file_waits_for_its_verdict(tmp_path, database_url, purpose):
    with (
        running_server(
            tmp_path / "data", database_url=database_url, limits=SMALL_FILES_END_AT
        ) as server,
        server.client() as client,
    ):
        good = a_file(client, (CHAT + b"\n") * 20, purpose=purpose, filename="a.jsonl")
        bad = a_file(client, (CHAT + b"\n") * 20 + b"x", purpose=purpose, filename="a.jsonl")
        assert (good["status"], bad["status"]) == ("pending", "pending")
        assert client.get(f"/openai/files/{good['id']}/content").status_code == 200

        with server.working():
            assert settled(client, good["id"])["status"] == "processed"
            judged = settled(client, bad["id"])

        assert judged["status"] == "error"
        assert "Line 21: it is not valid JSON" in judged["status_details"]
        kept = 1 if purpose == "fine-tune" else 2
        until(lambda: len(objects(server)) == kept, "only what may be used keeps its bytes")


def test_a_large_file_that_is_deleted_meanwhile_is_judged_by_nobody(tmp_path):
    with (
        running_server(tmp_path / "data", limits=SMALL_FILES_END_AT) as server,
        server.client() as client,
    ):
        gone = a_file(client, (CHAT + b"\n") * 20, purpose="batch", filename="a.jsonl")
        stays = a_file(client, (CHAT + b"\n") * 20, purpose="batch", filename="a.jsonl")
        client.delete(f"/openai/files/{gone['id']}")

        with server.working():
            assert settled(client, stays["id"])["status"] == "processed"

        assert client.get(f"/openai/files/{gone['id']}").status_code == 404
        assert len(objects(server)) == 1


def test_lines_of_a_batch_have_a_bound(tmp_path):
    with (
        running_server(tmp_path / "data", limits={"batch_line_bytes": 1000}) as server,
        server.client() as client,
    ):
        bad = a_file(
            client,
            b'{"a":"' + b"x" * 100 + b'"}\n{"a":"' + b"x" * 1000 + b'"}',
            purpose="batch",
            filename="a.jsonl",
        )

    assert bad["status_details"].endswith("Line 2: it is longer than 1000 bytes.")
