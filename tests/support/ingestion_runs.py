"""Runs of ingestion jobs as a program over HTTP sees them."""

import time
from typing import Any

import httpx


def ended(client: httpx.Client, put: httpx.Response) -> dict[str, Any]:
    """The run that a put started, once it is over."""
    assert put.status_code == 200, put.text
    deadline = time.monotonic() + 60
    while True:
        run = dict(client.get(put.headers["operation-location"], params={}).json())
        if run["status"] in {"succeeded", "failed"}:
            return run
        assert time.monotonic() < deadline, run
        time.sleep(0.05)


def found(client: httpx.Client, index: str, text: str) -> list[str]:
    """The paths of the documents that a search of this server's index finds."""
    answer = client.post(
        f"/indexes/{index}/docs/search",
        params={"api-version": "2024-07-01"},
        json={"search": text, "select": "filepath"},
    )
    assert answer.status_code == 200, answer.text
    return [one["filepath"] for one in answer.json()["value"]]
