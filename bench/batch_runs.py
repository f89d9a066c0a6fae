"""Batches as a user runs them: a file of chats, the official client, the seconds it took."""

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import openai

_FINAL = {"completed", "failed", "expired", "cancelled"}
_POLL_SECONDS = 0.1
_LONGEST_SECONDS = 300


@dataclass(frozen=True)
class Outcome:
    """A batch that ended."""

    seconds: float
    """From asking for it until it was seen completed."""
    answers: list[bytes]
    """The lines of its output file."""


def chat_lines(model: str, count: int) -> list[bytes]:
    """`count` different chats of about 300 bytes a line."""
    text = "Tell me in one sentence what this number makes you think of, and why it does so: "
    return [
        chat_line(f"request-{number}", model, f"{text}{number} {'and on ' * 8}")
        for number in range(count)
    ]


def chat_line(custom_id: str, model: str, text: str, **body: object) -> bytes:
    """One line of a batch's input, without its line end."""
    asked = {"model": model, "messages": [{"role": "user", "content": text}], **body}
    line = {"custom_id": custom_id, "method": "POST", "url": "/v1/chat/completions", "body": asked}
    return json.dumps(line).encode()


def run(
    client: openai.OpenAI, lines: Sequence[bytes], *, look_seconds: float = _POLL_SECONDS
) -> Outcome:
    """Upload `lines` (not timed), run them as a batch (timed), read what came out (not timed).

    Args:
        client: whom it is asked of.
        lines: of the batch's input.
        look_seconds: how often it is looked at until it is nearly done; looking costs the machine
            something, which an engine may miss.

    Raises:
        RuntimeError: it did not complete in five minutes, or a line is missing or failed.
    """
    file_id = _uploaded(client, lines)
    began = time.monotonic()
    batch = _created(client, file_id)
    while batch.status not in _FINAL:
        if time.monotonic() - began > _LONGEST_SECONDS:
            raise RuntimeError(f"The batch hangs: {batch}")
        nearly = batch.request_counts and batch.request_counts.completed > 0.95 * len(lines)
        time.sleep(_POLL_SECONDS if nearly else look_seconds)
        batch = client.batches.retrieve(batch.id)
    seconds = time.monotonic() - began
    if batch.status != "completed" or batch.output_file_id is None:
        raise RuntimeError(f"The batch ended as {batch.status}: {batch.errors}")
    answers = client.files.content(batch.output_file_id).content.splitlines()
    if len(answers) != len(lines):
        raise RuntimeError(f"{len(lines)} lines went in, {len(answers)} answers came out.")
    return Outcome(seconds, answers)


@contextmanager
def running(client: openai.OpenAI, lines: Sequence[bytes]) -> Iterator[None]:
    """A batch whose first answers are there, cancelled when the block ends.

    Raises:
        RuntimeError: it ended before the block did, so that what was measured was not under load.
    """
    batch = _created(client, _uploaded(client, lines))
    while not (batch.request_counts and batch.request_counts.completed):
        if batch.status in _FINAL:
            raise RuntimeError(f"The batch ended as {batch.status}: {batch.errors}")
        time.sleep(_POLL_SECONDS)
        batch = client.batches.retrieve(batch.id)
    yield
    if client.batches.retrieve(batch.id).status != "in_progress":
        raise RuntimeError("The batch ended too early: give it more lines.")
    client.batches.cancel(batch.id)
    while client.batches.retrieve(batch.id).status not in _FINAL:
        time.sleep(_POLL_SECONDS)


def _uploaded(client: openai.OpenAI, lines: Sequence[bytes]) -> str:
    data = b"\n".join(lines) + b"\n"
    upload = client.files.create(file=("bench.jsonl", data), purpose="batch")
    while upload.status in {"pending", "running"}:
        time.sleep(_POLL_SECONDS)
        upload = client.files.retrieve(upload.id)
    return upload.id


def _created(client: openai.OpenAI, file_id: str) -> openai.types.Batch:
    return client.batches.create(
        input_file_id=file_id, endpoint="/v1/chat/completions", completion_window="24h"
    )
