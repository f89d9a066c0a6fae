"""Chats as programs over LangChain make them; prints what it saw as JSON.

python -m tests.end_to_end.frameworks.langchain_chats READY_FILE
"""

import json
import sys
import uuid
from pathlib import Path
from typing import Any

from langchain_core.tools import tool
from langchain_openai import AzureChatOpenAI, AzureOpenAIEmbeddings
from pydantic import BaseModel
from tests.support.stored_chats import QUESTION, looked_through

CHAT, EMBEDDING = "smollm2-135m-instruct", "all-minilm-l6-v2"
UPSTREAM = "upstream"
"""A deployment that says what it is told, since the small model hardly would."""


class City(BaseModel):
    """A city and where it lies."""

    name: str
    country: str


@tool
def add(one: int, other: int) -> int:
    """Add two numbers."""
    return one + other


def _chats(server: dict[str, str]) -> dict[str, Any]:
    model = AzureChatOpenAI(azure_deployment=CHAT, max_tokens=8, temperature=0, **server)
    whole = model.invoke(QUESTION)
    pieces = list(model.stream(QUESTION, stream_usage=True))
    return {
        "chat": whole.content,
        "streamed": "".join(piece.content for piece in pieces),
        "usage": [
            piece.usage_metadata == whole.usage_metadata for piece in pieces if piece.usage_metadata
        ],
    }


def _stored(server: dict[str, str]) -> dict[str, Any]:
    run = uuid.uuid4().hex
    model = AzureChatOpenAI(
        azure_deployment=CHAT,
        max_tokens=4,
        store=True,
        extra_body={"metadata": {"run": run}},  # LangChain's own `metadata` is for its traces
        **server,
    )
    whole = model.invoke(QUESTION).response_metadata["id"]
    list(model.stream(QUESTION))  # whose pieces have ids of LangChain's own
    chats = model.root_client.chat.completions
    kept = [one.id for one in chats.list(metadata={"run": run}, order="asc")]
    return {"whole, streamed": kept[:1] == [whole] and len(kept) == 2} | looked_through(
        chats, kept, run
    )


def _embedding(server: dict[str, str]) -> int:
    # otherwise LangChain sends numbers of OpenAI's tokenizer, which mean other words here
    model = AzureOpenAIEmbeddings(
        azure_deployment=EMBEDDING, check_embedding_ctx_length=False, **server
    )
    return len(model.embed_query("a cat"))


def _structured(server: dict[str, str]) -> dict[str, Any]:
    model = AzureChatOpenAI(azure_deployment=UPSTREAM, **server)
    asked = 'Answer in JSON. [[say {"name": "Paris", "country": "France"}]]'
    return {
        method: model.with_structured_output(City, method=method).invoke(asked).model_dump()
        for method in ("json_schema", "json_mode")
    }


def _with_tools(server: dict[str, str]) -> list[dict[str, Any]]:
    model = AzureChatOpenAI(azure_deployment=UPSTREAM, **server)
    said = model.bind_tools([add], tool_choice="add").invoke('[[call add {"one": 1, "other": 2}]]')
    return [{"name": call["name"], "args": call["args"]} for call in said.tool_calls]


def main(ready_file: str) -> None:
    """Ask in each way."""
    said = json.loads(Path(ready_file).read_text())
    server = {"azure_endpoint": said["endpoint"], "api_key": said["api_key"]}
    server |= {"api_version": said["api_version"]}
    steps = {"inference": _chats, "stored": _stored, "embedding": _embedding}
    steps |= {"structured": _structured, "with tools": _with_tools}
    print(json.dumps({name: step(server) for name, step in steps.items()}))  # noqa: T201


if __name__ == "__main__":
    main(*sys.argv[1:])
