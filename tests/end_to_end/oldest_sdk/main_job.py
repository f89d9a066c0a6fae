"""The main job as programs written for the oldest supported SDK do it; prints what it saw as JSON.

    python -m tests.end_to_end.oldest_sdk.main_job READY_FILE VARIANT

runs with whichever SDK comes first on the path.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

import openai
from tests.support.sdk_variants import Request, http_client, sdk_client

CHAT, EMBEDDING = "smollm2-135m-instruct", "all-minilm-l6-v2"
MESSAGES: Any = [{"role": "user", "content": "What is the capital of France?"}]
OVER = {"completed", "failed", "expired", "cancelled"}


def _files(client: Any) -> dict[str, Any]:
    made = [client.files.create(file=(f"{n}.txt", b"text"), purpose="assistants") for n in range(3)]
    listed = [file.id for file in client.files.list(purpose="assistants", limit=2)]
    waited = client.files.wait_for_processing(made[0].id, poll_interval=0.05)
    content = client.files.content(made[0].id).read().decode()
    return {
        "newest first": listed[:3] == [file.id for file in made[::-1]],
        "none twice": len(listed) == len(set(listed)),
        "waited for": waited.status,
        "content": content,
        "deleted": [client.files.delete(file.id).deleted for file in made],
    }


def _upload(client: Any) -> dict[str, Any]:
    upload = client.uploads.create(
        bytes=10, filename="ten.txt", mime_type="text/plain", purpose="assistants"
    )
    parts = [client.uploads.parts.create(upload.id, data=data).id for data in (b"world", b"hello")]
    completed = client.uploads.complete(upload.id, part_ids=parts[::-1])
    return {
        "status": completed.status,
        "content": client.files.content(completed.file.id).read().decode(),
    }


def _batch(client: Any) -> dict[str, Any]:
    body = {"model": CHAT, "messages": MESSAGES, "max_tokens": 4}
    line = {"custom_id": "one", "method": "POST", "url": "/v1/chat/completions", "body": body}
    file = client.files.create(file=("in.jsonl", json.dumps(line).encode()), purpose="batch")
    asked = {"endpoint": "/v1/chat/completions", "completion_window": "24h"}
    batches = [client.batches.create(input_file_id=file.id, **asked) for _ in range(3)]
    batch = batches[0]
    while batch.status not in OVER:
        time.sleep(0.1)
        batch = client.batches.retrieve(batch.id)
    answer = json.loads(client.files.content(batch.output_file_id).text)
    listed = [one.id for one in client.batches.list(limit=1)]
    return {
        "status": batch.status,
        "answered": answer["custom_id"],
        "newest first": listed[:3] == [one.id for one in batches[::-1]],
    }


def _inference(client: Any) -> dict[str, Any]:
    asked = {"model": CHAT, "messages": MESSAGES, "temperature": 0, "max_tokens": 8}
    chunks = client.chat.completions.create(**asked, stream=True)
    said = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    return {
        "chat": client.chat.completions.create(**asked).choices[0].message.content,
        "streamed": said,
        "embedding": len(
            client.embeddings.create(model=EMBEDDING, input="a cat").data[0].embedding
        ),
        "models": [model.id for model in client.models.list()],
    }


def _refusals(client: Any) -> dict[str, Any]:
    try:
        client.files.retrieve("file-nobody")
    except openai.NotFoundError as refusal:
        return {"status": refusal.status_code, "request_id": bool(refusal.request_id)}
    raise AssertionError("It was found.")


def main(ready_file: str, variant: str) -> None:
    """Do the job and print what came of it."""
    server = json.loads(Path(ready_file).read_text())
    auth: set[str] = set()

    def note(request: Request) -> None:
        auth.update({"api-key", "authorization"} & {name.lower() for name in request.headers})

    with sdk_client(variant, server, http_client=http_client(variant, note)) as client:
        steps = {"files": _files, "upload": _upload, "batch": _batch}
        steps |= {"inference": _inference, "refusals": _refusals}
        seen = {name: step(client) for name, step in steps.items()}
    print(json.dumps({"version": openai.__version__, "auth": sorted(auth), **seen}))  # noqa: T201


if __name__ == "__main__":
    main(*sys.argv[1:])
