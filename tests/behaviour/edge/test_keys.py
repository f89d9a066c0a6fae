import httpx
import pytest
from tests.support.server import KEY, Server

PATH = "/openai/fine_tuning/jobs"  # any path that wants a key


def status(server: Server, **headers: str) -> int:
    with server.client(key="") as client:
        return client.get(PATH, headers=headers).status_code


@pytest.mark.parametrize(
    "headers",
    [
        {"api-key": KEY},
        {"Authorization": f"Bearer {KEY}"},
        {"authorization": f"bearer  {KEY}"},
        {"api-key": KEY, "Authorization": "Bearer something-else"},
        {"api-key": "", "Authorization": f"Bearer {KEY}"},
    ],
    ids=["api-key", "bearer", "any-case", "both", "empty-api-key"],
)
def test_a_key_is_taken(shared_server: Server, headers: dict[str, str]):
    assert status(shared_server, **headers) == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"api-key": "wrong"},
        {"api-key": "wrong", "Authorization": f"Bearer {KEY}"},
        {"api-key": KEY[:-1]},
        {"api-key": "k" * 30_000},
        {"Authorization": KEY},
        {"Authorization": f"Basic {KEY}"},
        {"Authorization": "Bearer"},
    ],
    ids=[
        *("none", "wrong", "wrong-beside-right-bearer", "shorter", "endless"),
        *("no-scheme", "other-scheme", "no-token"),
    ],
)
def test_no_key_or_a_wrong_one_is_refused(shared_server: Server, headers: dict[str, str]):
    assert status(shared_server, **headers) == 401


def test_the_refusal_is_worded_as_the_services(shared_server: Server):
    with shared_server.client(key="wrong") as client:
        answer = client.get(PATH)

    assert answer.json() == {
        "error": {
            "code": "401",
            "message": "Access denied due to invalid subscription key or wrong API endpoint. Make "
            "sure to provide a valid key for an active subscription and use a correct regional API "
            "endpoint for your resource.",
        }
    }
    assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("path", ["/metrics", "/openai/v1/fine_tuning/jobs", PATH])
def test_paths_that_tell_something_want_a_key(shared_server: Server, path: str):
    with shared_server.client(key="") as client:
        assert client.get(path).status_code == 401


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/", "/static/linarite.css"])
def test_paths_that_tell_nothing_want_none(shared_server: Server, path: str):
    answer = httpx.get(shared_server.url + path)

    assert answer.status_code == 200
    assert KEY not in answer.text


def test_the_key_is_checked_before_the_api_version(shared_server: Server):
    with shared_server.client(key="") as client:
        assert client.get(PATH, params={"api-version": "nonsense"}).status_code == 401


def test_figures_count_requests_by_operation_and_status(server: Server):
    with server.client() as client:
        client.get(PATH)
        figures = client.get("/metrics").text

    line = 'linarite_http_requests_total{operation="FineTuning_List",status="200"} 1.0'
    assert line in figures.splitlines()
