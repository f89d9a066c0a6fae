"""Files as a caller makes and watches them, over HTTP."""

import time
from collections.abc import Callable
from typing import Any

import httpx
from tests.support.server import Server

PLAIN = "text/plain"


def upload(
    client: httpx.Client,
    content: Any,
    purpose: str | None = "assistants",
    filename: str = "notes.txt",
    content_type: str | None = PLAIN,
    **fields: str,
) -> httpx.Response:
    """Send a form with a file; `fields` come before it."""
    data = {"purpose": purpose, **fields} if purpose is not None else fields
    file = (filename, content, content_type)
    return client.post("/openai/files", data=data, files={"file": file})


def a_file(client: httpx.Client, content: Any = b"some bytes", **how: Any) -> dict[str, Any]:
    """A file that was taken."""
    answer = upload(client, content, **how)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def an_import(client: httpx.Client, url: str, **body: str) -> dict[str, Any]:
    """A file that is being imported from `url`."""
    asked = {"purpose": "assistants", "filename": "notes.txt", "content_url": url, **body}
    answer = client.post("/openai/files/import", json=asked)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def settled(client: httpx.Client, file_id: str, within_seconds: float = 20) -> dict[str, Any]:
    """The file once its status is final."""
    deadline = time.monotonic() + within_seconds
    while time.monotonic() < deadline:
        file = dict(client.get(f"/openai/files/{file_id}").json())
        if file["status"] in {"processed", "error", "deleted"}:
            return file
        time.sleep(0.02)
    raise AssertionError(f"The file is still {file['status']}.")


def until(holds: Callable[[], object], what: str, within_seconds: float = 20) -> None:
    """Wait until something holds; `what` says it in words."""
    deadline = time.monotonic() + within_seconds
    while not holds():
        if time.monotonic() > deadline:
            raise AssertionError(f"In {within_seconds} seconds it did not come about that {what}.")
        time.sleep(0.02)


def error_of(answer: httpx.Response) -> tuple[int, str, str]:
    """Status, code and message of a refusal."""
    said = answer.json()["error"]
    return answer.status_code, said["code"], said["message"]


def objects(server: Server) -> list[str]:
    """The names of all objects in the server's blob folder, half-written ones too."""
    folder = server.settings.data / "blobs"
    return sorted(path.name for path in folder.rglob("*") if path.is_file())
