import httpx
import pytest
from tests.support.server import Server

PATH = "/fine_tuning/jobs"


def answer(server: Server, path: str, version: str | None) -> httpx.Response:
    params = {} if version is None else {"api-version": version}
    return httpx.get(server.url + path, params=params, headers={"api-key": server.key})


@pytest.mark.parametrize(
    "version", ["2025-02-01-preview", "2024-10-21", "2099-12-31-preview", "2023-05-15"]
)
def test_any_date_is_a_version(shared_server: Server, version: str):
    assert answer(shared_server, f"/openai{PATH}", version).status_code == 200


@pytest.mark.parametrize("version", [None, ""])
def test_without_a_version_there_is_no_such_resource(shared_server: Server, version: str | None):
    refusal = answer(shared_server, f"/openai{PATH}", version)

    assert refusal.status_code == 404
    assert refusal.json()["error"] == {"code": "404", "message": "Resource not found"}


@pytest.mark.parametrize(
    "version",
    [
        *("preview", "latest", "2025-02-30", "2025-13-01", "2025-2-1", "20250201", "2025-02-01-GA"),
        *("2025-02-01-preview ", "٢٠٢٥-02-01", "2025-W05-6", "x" * 5000, "2025-02-01\n"),
    ],
)
def test_what_is_no_date_is_not_supported(shared_server: Server, version: str):
    refusal = answer(shared_server, f"/openai{PATH}", version)

    assert refusal.status_code == 400
    error = refusal.json()["error"]
    assert (error["code"], error["message"]) == ("BadRequest", "API version not supported")


@pytest.mark.parametrize("version", [None, "preview", "latest", "2025-02-01-preview", "nonsense"])
def test_v1_has_no_versions_and_minds_none(shared_server: Server, version: str | None):
    assert answer(shared_server, f"/openai/v1{PATH}", version).status_code == 200


def test_the_plain_client_reaches_v1_with_its_bearer_token(shared_server: Server):
    assert list(shared_server.v1().fine_tuning.jobs.list()) == []
