"""Stored completions of which a test says what was asked and answered, and their exports."""

import itertools
import json
from typing import Any

import httpx
from tests.support.server import Server

from linarite.bootstrap import Built
from linarite.resources.stored_completions.exporting import Exports
from linarite.resources.stored_completions.making import completion_of
from linarite.resources.stored_completions.records import NewCompletion
from linarite.resources.stored_completions.service import StoredCompletions
from linarite.tasks.tickets import TickTicket

EXPORT = "/openai/stored_completions/export"

_numbers = itertools.count(1)


def made(
    said: str | dict[str, Any] = "An answer",
    asked: str | list[dict[str, Any]] = "A question",
    *,
    finish: str = "stop",
    others: int = 0,
    tools: list[dict[str, Any]] | None = None,
    metadata: dict[str, str] | None = None,
    model: str = "a-model",
) -> NewCompletion:
    """A completion; each is a second younger than the one before.

    Args:
        said: the text of its first choice, or fields of its message.
        asked: the text of the user's message, or all messages.
        finish: how the first choice ended.
        others: how many choices there are besides.
        tools: what the model was offered.
        metadata: the caller's.
        model: who answered.
    """
    number = next(_numbers)
    message = {"role": "assistant", **({"content": said} if isinstance(said, str) else said)}
    choices = [{"index": 0, "message": message, "finish_reason": finish}]
    for index in range(1, others + 1):
        other = {"role": "assistant", "content": f"Choice {index}"}
        choices.append({"index": index, "message": other, "finish_reason": "stop"})
    request = {
        "messages": [{"role": "user", "content": asked}] if isinstance(asked, str) else asked,
        "tools": tools,
        "metadata": metadata,
    }
    answer = {"id": f"chatcmpl-{number}", "created": number, "choices": choices}
    return completion_of(request, answer, model=model, deployment=f"the-{model}", request_id="r")


def put(built: Built, resource: str, *completions: NewCompletion) -> None:
    """Store them in one transaction."""
    with built.database.transaction() as tx:
        built.parts[StoredCompletions].add(tx, resource, completions)


def start(http: httpx.Client, **body: Any) -> str:
    """Ask for an export; the id of its file."""
    answer = http.post(EXPORT, json=body)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def perform(server: Server, file_id: str) -> None:
    """Do what a worker does."""
    server.built.parts[Exports].perform(file_id, TickTicket())


def export(server: Server, http: httpx.Client, **body: Any) -> tuple[dict[str, Any], list[Any]]:
    """Export and wait: the file, and what its lines hold."""
    file_id = start(http, **body)
    perform(server, file_id)
    return read(http, file_id)


def read(http: httpx.Client, file_id: str) -> tuple[dict[str, Any], list[Any]]:
    """A file, and what its lines hold."""
    file = dict(http.get(f"/openai/files/{file_id}").json())
    if file["status"] != "processed":
        return file, []
    text = http.get(f"/openai/files/{file_id}/content").text
    return file, [json.loads(line) for line in text.splitlines()]
