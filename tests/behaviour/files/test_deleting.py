from dataclasses import replace

import pytest
import sqlalchemy as sa
from tests.support.clock import StandingClock
from tests.support.files import a_file, error_of, objects

from linarite.errors import LinariteError
from linarite.resources.files import repository
from linarite.resources.files.service import Files
from linarite.resources.files.sweeping import drop_leftovers, drop_unused_blobs, expire_files
from linarite.storage import blob_rows
from linarite.storage.tables import blobs, usage
from linarite.tasks.tickets import TickTicket
from linarite.wire.files import FileState, Purpose


@pytest.fixture
def files(server) -> Files:
    return server.built.parts[Files]


def used_by_work(files: Files, file_id: str) -> str:
    """Let work use the bytes of a file, as a batch does; gives the id of the blob."""
    with files.database.transaction() as tx:
        _, blob = files.input_blob(tx, "default", file_id, Purpose.ASSISTANTS)
        blob_rows.use(tx, blob.id, "batch:1")
    return blob.id


def charged(files: Files) -> int | None:
    with files.database.reading() as connection:
        return connection.execute(sa.select(usage.c.bytes)).scalar()


def test_a_deleted_file_is_gone_with_its_bytes(server, client, files):
    file = a_file(client)

    answer = client.delete(f"/openai/files/{file['id']}")

    assert (answer.status_code, answer.json()) == (
        200,
        {"object": "file", "id": file["id"], "deleted": True},
    )
    assert client.get(f"/openai/files/{file['id']}").status_code == 404
    assert client.get("/openai/files").json()["data"] == []
    assert error_of(client.delete(f"/openai/files/{file['id']}"))[:2] == (404, "notFound")
    assert objects(server) == []
    assert charged(files) == 0


def test_a_deleted_file_whose_bytes_are_still_read_says_so_until_they_are_not(
    server, client, files
):
    file = a_file(client)
    blob_id = used_by_work(files, file["id"])

    assert client.delete(f"/openai/files/{file['id']}").status_code == 200

    assert client.get(f"/openai/files/{file['id']}").json()["status"] == "deleted"
    assert client.get(f"/openai/files/{file['id']}/content").status_code == 404
    assert client.delete(f"/openai/files/{file['id']}").status_code == 404
    assert client.get("/openai/files").json()["data"] == []
    assert charged(files) == 0
    drop_unused_blobs(files, TickTicket())
    assert len(objects(server)) == 1

    with files.database.transaction() as tx:
        blob_rows.release(tx, blob_id, "batch:1")
    drop_unused_blobs(files, TickTicket())
    assert objects(server) == []
    assert client.get(f"/openai/files/{file['id']}").status_code == 404


def test_files_whose_time_is_over_are_deleted_and_no_others(server, client, files):
    lifetime = {"expires_after[seconds]": "3600", "expires_after[anchor]": "created_at"}
    short = a_file(client, **lifetime)
    used = a_file(client, **lifetime)
    lasting = a_file(client)
    used_by_work(files, used["id"])

    expire_files(replace(files, clock=StandingClock(short["expires_at"] - 1)), TickTicket())
    assert len(client.get("/openai/files").json()["data"]) == 3
    expire_files(replace(files, clock=StandingClock(used["expires_at"])), TickTicket())

    assert [file["id"] for file in client.get("/openai/files").json()["data"]] == [lasting["id"]]
    assert client.get(f"/openai/files/{used['id']}").json()["status"] == "deleted"
    assert len(objects(server)) == 2


def test_objects_without_a_row_go_and_those_with_one_stay(server, client, files):
    file = a_file(client, b"kept")
    files.blobs.write_all([b"left by a process that died before its row"])
    half = server.settings.data / "blobs" / "ab" / f"{'ab' * 16}#1"
    half.parent.mkdir(exist_ok=True)
    half.write_bytes(b"left by a process that died while it wrote")

    drop_leftovers(files, TickTicket())
    assert len(objects(server)) == 3
    drop_leftovers(files, TickTicket(), older_than_seconds=0)

    assert len(objects(server)) == 1
    assert client.get(f"/openai/files/{file['id']}/content").content == b"kept"


def test_input_must_be_there_be_ready_and_be_for_the_work(client, files):
    batch = a_file(client, b"{}", purpose="batch", filename="a.jsonl")
    wrong = a_file(client, b"x", purpose="batch", filename="a.jsonl")
    plain = a_file(client)

    def refusal(file_id: str, resource: str = "default") -> str:
        with files.database.transaction() as tx, pytest.raises(LinariteError) as raised:
            files.input_blob(tx, resource, file_id, Purpose.BATCH)
        return f"{raised.type.__name__}: {raised.value}"

    with files.database.transaction() as tx:
        record, blob = files.input_blob(tx, "default", batch["id"], Purpose.BATCH)
        assert (record.id, blob.bytes) == (batch["id"], 2)
        assert files.input_blob(tx, "default", wrong["id"], Purpose.BATCH)[1].bytes == 1
    assert refusal(batch["id"], "other").startswith("NotFound")
    assert refusal("file-x").startswith("NotFound")
    assert "has the purpose assistants; this needs batch" in refusal(plain["id"])


def test_an_output_is_running_until_it_is_finished(server, client, files):
    files.live[Purpose.BATCH_OUTPUT] = lambda _record: iter([b"so ", b"far"])
    with files.database.transaction() as tx:
        output = files.start_output(
            tx, resource="default", purpose=Purpose.BATCH_OUTPUT, filename="out.jsonl"
        )
    path = f"/openai/files/{output.id}"

    running = client.get(path).json()
    assert (running["status"], running["bytes"]) == ("running", None)
    assert client.get(f"{path}/content").content == b"so far"

    stored = files.blobs.write_all([b"all of it"])
    with files.database.transaction() as tx:
        assert files.finish_output(tx, output.id, stored)
    with files.database.transaction() as tx:
        assert not files.finish_output(tx, output.id, files.blobs.write_all([b"again"]))

    done = client.get(path).json()
    assert (done["status"], done["bytes"]) == ("processed", 9)
    assert client.get(f"{path}/content").content == b"all of it"
    assert charged(files) == 9


def test_an_output_that_was_deleted_is_finished_by_nobody(client, files):
    with files.database.transaction() as tx:
        output = files.start_output(
            tx, resource="default", purpose=Purpose.BATCH_OUTPUT, filename="out.jsonl"
        )
    assert client.delete(f"/openai/files/{output.id}").status_code == 200

    with files.database.transaction() as tx:
        assert not files.finish_output(tx, output.id, files.blobs.write_all([b"x"]))

    with files.database.reading() as connection:
        assert connection.execute(sa.select(blobs)).all() == []


def test_a_status_changes_only_as_the_life_of_a_file_allows(client, files):
    file = a_file(client)

    with files.database.transaction() as tx:
        assert not repository.change(tx, file["id"], FileState.RUNNING)
        assert not repository.change(tx, file["id"], FileState.ERROR)

    assert client.get(f"/openai/files/{file['id']}").json()["status"] == "processed"
