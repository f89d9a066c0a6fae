"""Every code that can be answered, with its status, provoked over HTTP.

The table is complete: it has each code and status of the tree of errors.
"""

from collections.abc import Callable, Iterator

import httpx
import pytest
import sqlalchemy as sa
from tests.docs.test_errors import every_class
from tests.support.files import a_file, an_import, settled
from tests.support.server import Server, running_server

from linarite.errors import InferenceRefused
from linarite.storage.tables import files

START = {"purpose": "batch", "filename": "a.jsonl", "bytes": 10, "mime_type": "text/plain"}
UPSTREAM = {"base_url": "http://127.0.0.1:9/v1"}  # nothing listens there


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with a worker, few bytes to keep and one name to be called by."""
    folder = tmp_path_factory.mktemp("codes")
    with (
        running_server(
            folder / "data",
            server={"hosts": ["127.0.0.1"]},
            limits={"stored_bytes": 1_000_000},
            models=[{"id": "away", "upstream": UPSTREAM}],
            deployments=[
                {"name": "away", "model": "away"},
                {"name": "limited", "model": "away", "requests_per_minute": 1},
            ],
        ) as server,
        server.working(),
    ):
        yield server


def malformed_json(client: httpx.Client, _: Server) -> httpx.Response:
    return client.post(
        "/openai/uploads", content=b"{", headers={"content-type": "application/json"}
    )


def large_body(client: httpx.Client, _: Server) -> httpx.Response:
    return client.post("/openai/uploads", json={"filename": "x" * (5 << 20)})


def wrong_type(client: httpx.Client, _: Server) -> httpx.Response:
    return client.post("/openai/uploads", content=b"{}", headers={"content-type": "text/plain"})


def range_beyond_the_end(client: httpx.Client, _: Server) -> httpx.Response:
    file = a_file(client, b"ten bytes.")
    return client.get(f"/openai/files/{file['id']}/content", headers={"range": "bytes=10-"})


def long_headers(client: httpx.Client, _: Server) -> httpx.Response:
    return client.get("/healthz", headers={"x-long": "x" * 60_000, "x-longer": "x" * 300_000})


def content_of_a_bad_file(client: httpx.Client, _: Server) -> httpx.Response:
    file = a_file(client, b"no json\n", purpose="batch", filename="a.jsonl")
    assert file["status"] == "error"
    return client.get(f"/openai/files/{file['id']}/content")


def content_of_a_failed_import(client: httpx.Client, _: Server) -> httpx.Response:
    file = an_import(client, "http://127.0.0.1:9/inner")
    settled(client, file["id"])
    return client.get(f"/openai/files/{file['id']}/content")


def no_key(client: httpx.Client, _: Server) -> httpx.Response:
    return client.get("/openai/files", headers={"api-key": "wrong"})


def no_date_for_a_version(client: httpx.Client, _: Server) -> httpx.Response:
    return client.get("/openai/files", params={"api-version": "newest"})


def another_host(client: httpx.Client, _: Server) -> httpx.Response:
    return client.get("/openai/files", headers={"host": "evil.example"})


def too_many_bytes(client: httpx.Client, _: Server) -> httpx.Response:
    return client.post("/openai/uploads", json=START | {"bytes": 2_000_000})


def no_such_file(client: httpx.Client, _: Server) -> httpx.Response:
    return client.get("/openai/files/file-1")


def another_resources_file(client: httpx.Client, server: Server) -> httpx.Response:
    with server.client(key=server.add_key("other")) as other:
        file = a_file(other)
    return client.get(f"/openai/files/{file['id']}")


def no_such_path(client: httpx.Client, _: Server) -> httpx.Response:
    return client.get("/openai/nothing")


def no_such_deployment(client: httpx.Client, _: Server) -> httpx.Response:
    return client.post("/openai/deployments/none/chat/completions", json={"messages": []})


def more_than_a_minute_has_room_for(client: httpx.Client, _: Server) -> httpx.Response:
    chat = {"messages": [{"role": "user", "content": "Hello"}]}
    client.post("/openai/deployments/limited/chat/completions", json=chat)
    return client.post("/openai/deployments/limited/chat/completions", json=chat)


def wrong_method(client: httpx.Client, _: Server) -> httpx.Response:
    return client.put("/openai/files")


def name_that_is_taken(client: httpx.Client, _: Server) -> httpx.Response:
    return client.post("/openai/deployments", json={"id": "away", "model": "away"})


def cancelling_what_has_ended(client: httpx.Client, _: Server) -> httpx.Response:
    upload_id = client.post("/openai/uploads", json=START | {"bytes": 2}).json()["id"]
    part = client.post(f"/openai/uploads/{upload_id}/parts", files={"data": b"{}"}).json()["id"]
    client.post(f"/openai/uploads/{upload_id}/complete", json={"part_ids": [part]})
    return client.post(f"/openai/uploads/{upload_id}/cancel")


def a_broken_row(client: httpx.Client, server: Server) -> httpx.Response:
    file = a_file(client)
    with server.built.database.transaction() as tx:
        broken = sa.update(files).where(files.c.id == file["id"]).values(status="nonsense")
        tx.execute(broken)
    return client.get(f"/openai/files/{file['id']}")


def another_versions_database(client: httpx.Client, server: Server) -> httpx.Response:
    with server.built.database.transaction() as tx:
        version = tx.execute(sa.text("SELECT version_num FROM alembic_version")).scalar_one()
        tx.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    answer = client.get("/readyz")
    with server.built.database.transaction() as tx:
        restored = sa.text("UPDATE alembic_version SET version_num = :version")
        tx.execute(restored, {"version": version})
    return answer


PROVOKED: dict[tuple[str, int], Callable[[httpx.Client, Server], httpx.Response]] = {
    ("invalidPayload", 400): malformed_json,
    ("invalidPayload", 413): large_body,
    ("invalidPayload", 415): wrong_type,
    ("invalidPayload", 416): range_beyond_the_end,
    ("invalidPayload", 431): long_headers,
    ("jsonlValidationFailed", 400): content_of_a_bad_file,
    ("fileImportFailed", 400): content_of_a_failed_import,
    ("BadRequest", 400): no_date_for_a_version,
    ("401", 401): no_key,
    ("forbidden", 403): another_host,
    ("quotaExceeded", 403): too_many_bytes,
    ("notFound", 404): another_resources_file,
    ("404", 404): no_such_path,
    ("DeploymentNotFound", 404): no_such_deployment,
    ("405", 405): wrong_method,
    ("itemDoesAlreadyExist", 409): name_that_is_taken,
    ("unexpectedEntityState", 409): cancelling_what_has_ended,
    ("429", 429): more_than_a_minute_has_room_for,
    ("internalFailure", 500): a_broken_row,
    ("serviceUnavailable", 503): another_versions_database,
}


def test_the_table_has_every_code():
    every = {(one.code, one.status) for one in every_class() if one is not InferenceRefused}

    assert set(PROVOKED) == every


@pytest.mark.parametrize(("code", "status"), PROVOKED)
def test_a_code_comes_with_its_status(system: Server, code: str, status: int):
    with system.client() as client:
        answer = PROVOKED[code, status](client, system)

    assert answer.status_code == status
    error = answer.json()["error"]
    assert error["code"] == code
    assert len(error["message"]) > 10
    assert "Traceback" not in answer.text
    assert "linarite" not in answer.text.lower().replace("linarite serve", "")
    assert answer.headers.get("x-should-retry") == ("false" if status == 409 else None)


def test_each_answer_can_be_found_in_the_log(system: Server):
    with system.client() as client:
        answers = [no_such_file(client, system), no_key(client, system), wrong_type(client, system)]

    assert len({answer.headers["x-request-id"] for answer in answers}) == 3
