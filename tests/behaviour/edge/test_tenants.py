"""What one resource has is nothing to another: not found by id, in no list, not changed."""

from collections.abc import Iterator

import httpx
import pytest
from tests.support.files import a_file
from tests.support.server import Server, running_server

ACCOUNT = (
    "/subscriptions/s/resourceGroups/g/providers/Microsoft.CognitiveServices/accounts/a/deployments"
)


BATCH = {"endpoint": "/v1/chat/completions", "completion_window": "24h"}
LINE = (
    b'{"custom_id": "1", "method": "POST", "url": "/v1/chat/completions", '
    b'"body": {"model": "mine", "messages": [{"role": "user", "content": "Hello"}]}}\n'
)
INGESTION = {
    "kind": "SystemCompute",
    "datasource": {
        "kind": "Storage",
        "connection": {"kind": "RelativeConnection"},
        "containerName": "docs",
        "embeddings": [],
    },
}


@pytest.fixture(scope="module")
def server(
    shared_database_url: str | None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    with running_server(
        tmp_path_factory.mktemp("tenants") / "data",
        database_url=shared_database_url,
        models=[{"id": "base", "upstream": {"base_url": "http://127.0.0.1:9/v1"}}],
    ) as running:
        yield running


@pytest.fixture(scope="module")
def mine(server: Server) -> Iterator[dict[str, str]]:
    """What the default resource has, by what it is."""
    with server.client() as client:
        file = a_file(client, LINE, purpose="batch", filename="a.jsonl")
        small = a_file(client)
        start = {"purpose": "batch", "filename": "a.jsonl", "bytes": 10, "mime_type": "text/plain"}
        upload = client.post("/openai/uploads", json=start).json()
        deployment = client.post("/openai/deployments", json={"id": "mine", "model": "base"}).json()
        batch = client.post("/openai/batches", json=BATCH | {"input_file_id": file["id"]}).json()
        put = client.put("/openai/ingestion/jobs/mine", json=INGESTION)
        yield {
            "job": put.json()["jobId"],
            "run": put.headers["operation-location"].partition("?")[0].rpartition("/")[2],
            "batch": batch["id"],
            "file": small["id"],
            "batch file": file["id"],
            "upload": upload["id"],
            "deployment": deployment["id"],
        }


@pytest.fixture(scope="module")
def other(server: Server) -> Iterator[httpx.Client]:
    """A client of another resource."""
    with server.client(key=server.add_key("other")) as client:
        yield client


FORM = {"files": {"data": b"x"}}
OPERATIONS = [
    ("GET", "/openai/files/{file}", {}),
    ("GET", "/openai/files/{file}/content", {}),
    ("DELETE", "/openai/files/{file}", {}),
    ("POST", "/openai/uploads/{upload}/parts", FORM),
    ("POST", "/openai/uploads/{upload}/complete", {"json": {"part_ids": ["a"]}}),
    ("POST", "/openai/uploads/{upload}/cancel", {}),
    ("GET", "/openai/batches/{batch}", {}),
    ("POST", "/openai/batches/{batch}/cancel", {}),
    ("GET", "/openai/ingestion/jobs/{job}", {}),
    ("DELETE", "/openai/ingestion/jobs/{job}", {}),
    ("GET", "/openai/ingestion/jobs/{job}/documents", {}),
    ("GET", "/openai/ingestion/jobs/{job}/runs", {}),
    ("GET", "/openai/ingestion/jobs/{job}/runs/{run}", {}),
    ("POST", "/openai/ingestion/jobs/{job}/runs/{run}/cancel", {}),
    ("POST", "/openai/ingestion/jobs/{job}/retry-failed", {}),
    ("GET", "/openai/deployments/{deployment}", {}),
    ("PATCH", "/openai/deployments/{deployment}", {"json": {"enqueued_token_limit": 1}}),
    ("DELETE", "/openai/deployments/{deployment}", {}),
    ("GET", ACCOUNT + "/{deployment}", {}),
    ("POST", "/openai/deployments/{deployment}/chat/completions", {"json": {"messages": []}}),
]


@pytest.mark.parametrize(
    ("method", "path", "options"), OPERATIONS, ids=lambda value: str(value)[:60]
)
@pytest.mark.parametrize("base", ["/openai/", "/openai/v1/"])
def test_anothers_item_is_not_found(
    other: httpx.Client, mine: dict[str, str], method: str, path: str, options: dict, base: str
):
    path = path.format(**mine).replace("/openai/", base)

    answer = other.request(method, path, **options)

    assert answer.status_code == 404
    assert answer.json()["error"]["code"] in {"notFound", "DeploymentNotFound"}


@pytest.mark.parametrize("path", ["/openai/files", "/openai/batches", "/openai/deployments"])
def test_anothers_items_are_in_no_list(other: httpx.Client, mine: dict[str, str], path: str):
    listed = {one["id"] for one in other.get(path).json()["data"]}

    assert listed.isdisjoint(mine.values())


def test_two_resources_may_each_have_a_job_of_the_same_id(
    other: httpx.Client, mine: dict[str, str]
):
    assert other.get("/openai/ingestion/jobs").json() == {"value": []}

    put = other.put(f"/openai/ingestion/jobs/{mine['job']}", json=INGESTION)

    path = f"/openai/ingestion/jobs/{mine['job']}/runs"
    assert put.status_code == 200
    assert other.get(f"{path}/{mine['run']}").status_code == 404
    assert mine["run"] not in other.get(path).text


def test_anothers_file_is_no_input(other: httpx.Client, mine: dict[str, str]):
    body = BATCH | {"input_file_id": mine["batch file"]}

    assert other.post("/openai/batches", json=body).status_code == 404


def test_anothers_item_is_no_place_in_a_list(other: httpx.Client, mine: dict[str, str]):
    answer = other.get("/openai/files", params={"after": mine["file"]})

    assert answer.status_code == 400
    assert answer.json()["error"]["target"] == "after"


def test_all_of_it_is_still_there(server: Server, mine: dict[str, str]):
    with server.client() as client:
        assert client.get(f"/openai/files/{mine['file']}").status_code == 200
        assert client.get(f"/openai/deployments/{mine['deployment']}").status_code == 200
        cancelled = client.post(f"/openai/uploads/{mine['upload']}/cancel")
        assert cancelled.json()["status"] == "cancelled"
        run = client.get(f"/openai/ingestion/jobs/{mine['job']}/runs/{mine['run']}")
        assert run.json()["status"] == "notRunning"
