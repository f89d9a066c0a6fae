"""Chats as programs over LiteLLM make them; prints what it saw as JSON.

    python -m tests.end_to_end.frameworks.litellm_chats READY_FILE

LiteLLM asks and stores. It has no call that looks at what is stored; the official client has, and
LiteLLM may be handed one to ask with.
"""

import json
import sys
import uuid
from pathlib import Path
from typing import Any

import litellm
import openai
from tests.support.stored_chats import QUESTION, looked_through

CHAT, EMBEDDING = "azure/smollm2-135m-instruct", "azure/all-minilm-l6-v2"


def _inference(server: dict[str, str]) -> dict[str, Any]:
    asked = {"model": CHAT, "messages": QUESTION, "max_tokens": 8, "temperature": 0, **server}
    pieces = litellm.completion(**asked, stream=True)
    return {
        "chat": litellm.completion(**asked).choices[0].message.content,
        "streamed": "".join(piece.choices[0].delta.content or "" for piece in pieces),
        "embedding": len(
            litellm.embedding(model=EMBEDDING, input=["a cat"], **server).data[0]["embedding"]
        ),
    }


def _stored(server: dict[str, str]) -> dict[str, Any]:
    run = uuid.uuid4().hex
    client = openai.AzureOpenAI(
        azure_endpoint=server["api_base"],
        api_key=server["api_key"],
        api_version=server["api_version"],
    )
    asked = {"model": CHAT, "messages": QUESTION, "max_tokens": 4, "store": True, **server}
    asked["extra_body"] = {"metadata": {"run": run}}  # `metadata` stays in LiteLLM's own logs
    whole = litellm.completion(**asked, client=client)
    pieces = list(litellm.completion(**asked, stream=True))
    return looked_through(client.chat.completions, [whole.id, pieces[0].id], run)


def _refusal(server: dict[str, str]) -> dict[str, Any]:
    try:
        litellm.completion(model="azure/nobody", messages=QUESTION, **server)
    except litellm.NotFoundError as refusal:
        return {"status": refusal.status_code}
    raise AssertionError("It was found.")


def main(ready_file: str) -> None:
    """Ask in each way."""
    said = json.loads(Path(ready_file).read_text())
    server = {"api_base": said["endpoint"], "api_key": said["api_key"]}
    server |= {"api_version": said["api_version"]}
    litellm.suppress_debug_info = True
    steps = {"inference": _inference, "stored": _stored, "refusal": _refusal}
    print(json.dumps({name: step(server) for name, step in steps.items()}))  # noqa: T201


if __name__ == "__main__":
    main(*sys.argv[1:])
