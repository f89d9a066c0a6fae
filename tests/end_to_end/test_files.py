"""Files, uploads and models through the newest official SDK."""

from concurrent.futures import ThreadPoolExecutor
from hashlib import md5
from pathlib import Path
from typing import Any

import openai
import pytest
from tests.end_to_end.conftest import Sdk, chat_lines
from tests.support.embedded import CHAT, EMBEDDING

PART_BYTES = 1000
CONTENT = bytes(range(256)) * 20


def an_upload(client: Any) -> Any:
    return client.uploads.create(
        bytes=len(CONTENT), filename="notes.bin", mime_type="text/plain", purpose="assistants"
    )


def test_a_file_is_uploaded_awaited_read_and_deleted(client: Any):
    content = chat_lines(2)

    file = client.files.create(file=("questions.jsonl", content), purpose="batch")
    processed = client.files.wait_for_processing(file.id, poll_interval=0.05)

    assert (processed.status, processed.filename) == ("processed", "questions.jsonl")
    assert processed.bytes == len(content)
    assert client.files.content(file.id).read() == content
    assert client.files.delete(file.id).deleted is True
    with pytest.raises(openai.NotFoundError):
        client.files.retrieve(file.id)


def test_a_file_expires_after_the_time_that_was_asked_for(client: Any):
    file = client.files.create(
        file=("questions.jsonl", chat_lines(1)),
        purpose="batch",
        expires_after={"anchor": "created_at", "seconds": 7200},
    )

    assert file.expires_at == file.created_at + 7200


def test_the_list_pages_by_itself(client: Any):
    made = [
        client.files.create(file=(f"{number}.txt", b"text"), purpose="assistants").id
        for number in range(5)
    ]

    newest = client.files.list(purpose="assistants", limit=2)
    listed = [file.id for file in newest]

    assert len(newest.data) == 2
    assert listed[:5] == made[::-1]
    assert len(listed) == len(set(listed))


def test_the_list_is_read_from_its_old_end_too(client: Any):
    made = [
        client.files.create(file=(f"{number}.txt", b"text"), purpose="assistants").id
        for number in range(3)
    ]

    later = client.files.list(after=made[0], order="asc", limit=1)

    assert [file.id for file in later] == made[1:]


@pytest.mark.parametrize("part_bytes", [PART_BYTES, len(CONTENT)], ids=["six parts", "one part"])
def test_a_file_on_disk_is_uploaded_in_chunks(client: Any, tmp_path: Path, part_bytes: int):
    path = tmp_path / "notes.bin"
    path.write_bytes(CONTENT)

    upload = client.uploads.upload_file_chunked(
        file=path, mime_type="text/plain", purpose="assistants", part_size=part_bytes
    )

    assert (upload.status, upload.file.bytes) == ("completed", len(CONTENT))
    assert client.files.content(upload.file.id).read() == CONTENT


def test_bytes_in_memory_are_uploaded_in_chunks(client: Any):
    upload = client.uploads.upload_file_chunked(
        file=CONTENT,
        filename="notes.bin",
        bytes=len(CONTENT),
        mime_type="text/plain",
        purpose="assistants",
        part_size=PART_BYTES,
        md5=md5(CONTENT).hexdigest(),
    )

    assert client.files.content(upload.file.id).read() == CONTENT


def test_parts_in_parallel_come_together_in_the_order_of_their_ids(client: Any):
    upload = an_upload(client)
    pieces = [CONTENT[at : at + PART_BYTES] for at in range(0, len(CONTENT), PART_BYTES)]

    def send(piece: bytes) -> str:
        return str(client.uploads.parts.create(upload.id, data=piece).id)

    with ThreadPoolExecutor(4) as pool:
        sent = list(pool.map(send, pieces[::-1]))
    completed = client.uploads.complete(upload.id, part_ids=sent[::-1])

    assert client.files.content(completed.file.id).read() == CONTENT


def test_a_cancelled_upload_takes_no_part_and_the_sdk_does_not_try_twice(sdk: Sdk):
    upload = an_upload(sdk.client)
    assert sdk.client.uploads.cancel(upload.id).status == "cancelled"
    sdk.asked.clear()

    with pytest.raises(openai.ConflictError) as refusal:
        sdk.client.uploads.parts.create(upload.id, data=b"late")

    assert refusal.value.code == "unexpectedEntityState"
    assert len(sdk.asked) == 1


def test_the_models_are_listed_and_described(client: Any):
    listed = {model.id for model in client.models.list()}

    assert {CHAT, EMBEDDING} <= listed
    assert client.models.retrieve(CHAT).capabilities["chat_completion"] is True
