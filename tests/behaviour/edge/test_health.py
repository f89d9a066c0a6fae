from pathlib import Path

import httpx
import sqlalchemy as sa
from tests.support.server import Server, running_server


def test_a_server_on_its_own_database_is_ready(server: Server):
    assert httpx.get(f"{server.url}/readyz").text == "ready\n"
    assert httpx.get(f"{server.url}/healthz").text == "ok\n"


def test_a_server_on_another_versions_database_lives_and_is_not_ready(server: Server):
    with server.built.database.transaction() as tx:
        tx.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))

    answer = httpx.get(f"{server.url}/readyz")

    assert answer.status_code == 503
    assert "version 9999" in answer.json()["error"]["message"]
    assert httpx.get(f"{server.url}/healthz").status_code == 200


def test_a_server_without_its_database_says_so_in_the_contracts_form(tmp_path: Path):
    with running_server(tmp_path) as server:
        server.built.database.close()
        for file in tmp_path.glob("linarite.sqlite3*"):
            file.unlink()
        (tmp_path / "linarite.sqlite3").mkdir()

        with server.client() as client:
            answer = client.get("/openai/fine_tuning/jobs")

    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "serviceUnavailable"
    assert answer.headers["retry-after"] == "2"
