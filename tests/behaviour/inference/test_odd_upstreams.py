"""Upstreams that answer 200 with what is no answer, and requests with what no operation has.

None of it may be a failure of this server, and in a batch it may cost its own line alone.
"""

import asyncio
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from tests.support.server import Server, running_server

ODD_DATA = {
    "no data": {},
    "data of another type": {"data": 5},
    "an item of another type": {"data": ["x"]},
    "no vector": {"data": [{"index": 0}]},
    "a null vector": {"data": [{"embedding": None}]},
}
ODD_VECTORS: dict[str, tuple[str, Any]] = {
    "null in place of a number": ("base64", [None]),
    "text in place of a number": ("base64", ["a"]),
    "a number that float32 does not hold": ("base64", [1e300]),
    "no base64": ("float", "%%%"),
    "base64 of no whole number": ("float", "AAAAAAA="),
}


class Upstream:
    """Answers every request with `body`, but `[1.0]` to the input ``well``."""

    body: Any = None
    url: str = ""

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        asked = json.loads(await request.read())
        is_well = asked["input"] == "well"
        return web.json_response({"data": [{"embedding": [1.0]}]} if is_well else self.body)


@contextmanager
def running(upstream: Upstream) -> Iterator[Upstream]:
    """Serve `upstream` from a thread until the block ends."""
    ready, loop = threading.Event(), asyncio.new_event_loop()
    ended = asyncio.Event()

    async def serve() -> None:
        runner = web.ServerRunner(web.Server(upstream.answer))
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        upstream.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
        ready.set()
        await ended.wait()
        await runner.cleanup()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    try:
        assert ready.wait(10)
        yield upstream
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join(10)
        loop.close()


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with running(Upstream()) as one:
        yield one


@pytest.fixture(scope="module")
def odd_server(upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with the model `vectors` behind the odd upstream."""
    model = {"id": "vectors", "kind": "embedding", "upstream": {"base_url": upstream.url}}
    folder: Path = tmp_path_factory.mktemp("odd") / "data"
    with running_server(folder, models=[model], batches={"attempts": 2}) as running:
        yield running


def embed(server: Server, **body: Any) -> Any:
    with server.client() as client:
        return client.post("/openai/deployments/vectors/embeddings", json={"input": "a"} | body)


def assert_is_no_answer(answer: Any) -> None:
    error = answer.json()["error"]
    assert (answer.status_code, error["type"]) == (502, "server_error")
    assert set(error) == {"message", "type", "param", "code"}


@pytest.mark.parametrize("encoding", ["float", "base64"])
@pytest.mark.parametrize("body", ODD_DATA.values(), ids=ODD_DATA.keys())
def test_embeddings_without_vectors_are_no_answer(odd_server, upstream, body, encoding):
    upstream.body = body

    assert_is_no_answer(embed(odd_server, encoding_format=encoding))


@pytest.mark.parametrize(("encoding", "vector"), ODD_VECTORS.values(), ids=ODD_VECTORS.keys())
def test_a_vector_that_cannot_be_brought_into_form_is_no_answer(
    odd_server, upstream, encoding, vector
):
    upstream.body = {"data": [{"embedding": vector}]}

    assert_is_no_answer(embed(odd_server, encoding_format=encoding))


@pytest.mark.parametrize("value", ["many", [1], 1.5, {"a": 1}])
def test_a_parameter_that_embeddings_do_not_have_is_no_failure(odd_server, value):
    answer = embed(odd_server, input="well", n=value)

    assert answer.status_code == 200


def test_an_odd_answer_costs_a_batch_one_line(odd_server: Server, upstream: Upstream):
    upstream.body = {"data": [{"embedding": [None]}]}
    inputs = ["well", "odd", "well"]
    lines = "".join(json.dumps(line(number, text)) + "\n" for number, text in enumerate(inputs))
    client = odd_server.sdk()
    file = client.files.create(file=("in.jsonl", lines.encode()), purpose="batch")

    with odd_server.working():
        batch = client.batches.create(
            input_file_id=file.id, endpoint="/v1/embeddings", completion_window="24h"
        )
        batch = ended(client, batch.id)

    assert (batch.status, batch.request_counts.completed, batch.request_counts.failed) == (
        "completed",
        2,
        1,
    )
    failed = json.loads(client.files.content(batch.error_file_id).text)
    assert (failed["custom_id"], failed["response"]["status_code"]) == ("task-1", 502)


def line(number: int, text: str) -> dict[str, Any]:
    body = {"model": "vectors", "input": text, "encoding_format": "base64"}
    return {
        "custom_id": f"task-{number}",
        "method": "POST",
        "url": "/v1/embeddings",
        "body": body,
    }


def ended(client: Any, batch_id: str) -> Any:
    """The batch once it has ended."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        batch = client.batches.retrieve(batch_id)
        if batch.status in {"completed", "failed"}:
            return batch
        time.sleep(0.1)
    raise AssertionError("The batch did not end.")
