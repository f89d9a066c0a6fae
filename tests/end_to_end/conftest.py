"""One real server on the embedded models, and the official Python SDK in each of its variants."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import httpx
import openai
import pytest
from tests.support.blocking import Blocking, running_loop
from tests.support.contract_answers import watch
from tests.support.embedded import CHAT, EMBEDDING, models_folder, pulled
from tests.support.files import until
from tests.support.serving import Serving, serving

CHAT_BATCH = {"endpoint": "/v1/chat/completions", "completion_window": "24h"}
FINAL = {"completed", "failed", "expired", "cancelled"}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All that share the server go to one worker of xdist, so that there is one server."""
    for item in items:
        if "served" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.xdist_group("end_to_end"))
            item.add_marker(pytest.mark.model)


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """The server; its data is gone at the end, and tests leave theirs where it lies."""
    pulled(CHAT)
    pulled(EMBEDDING)
    folder = tmp_path_factory.mktemp("served")
    with serving(folder, "--ephemeral", LINARITE_MODELS_DIR=str(models_folder())) as running:
        yield running


@dataclass(frozen=True)
class Sdk:
    """The official SDK as one kind of user makes it."""

    client: Any
    asked: list[str]
    """Method and path of every request it sent."""
    make: Callable[..., Any]
    """Another client of the same kind; takes `api_key` and the like."""


@pytest.fixture(params=["azure", "openai", "async azure", "async openai"])
def sdk(request: pytest.FixtureRequest, served: Serving) -> Iterator[Sdk]:
    """Each variant in turn: for Azure and plain, sync and async (asked as if it were sync)."""
    is_async, is_azure = "async" in request.param, "azure" in request.param
    asked: list[str] = []
    with ExitStack() as stack:
        loop = stack.enter_context(running_loop()) if is_async else None

        def make(**options: Any) -> Any:
            http = _counting(is_async, asked)
            given = {"api_key": served.ready["api_key"], "http_client": http} | options
            client = _client(served, is_async, is_azure, given)
            wrapped = client if loop is None else Blocking(client, loop)
            stack.callback(lambda: wrapped.close())
            return wrapped

        yield Sdk(make(), asked, make)


@pytest.fixture
def client(sdk: Sdk) -> Any:
    """The variant's client."""
    return sdk.client


def _client(served: Serving, is_async: bool, is_azure: bool, given: dict[str, Any]) -> Any:
    if is_azure:
        azure = openai.AsyncAzureOpenAI if is_async else openai.AzureOpenAI
        version = served.ready["api_version"]
        return azure(azure_endpoint=served.endpoint, api_version=version, **given)
    plain = openai.AsyncOpenAI if is_async else openai.OpenAI
    return plain(base_url=f"{served.endpoint}/openai/v1/", **given)


def _counting(is_async: bool, asked: list[str]) -> Any:
    """The SDK's own HTTP client, which notes requests and holds answers against the contract."""

    def note(request: httpx.Request) -> None:
        asked.append(f"{request.method} {request.url.path}")

    async def note_async(request: httpx.Request) -> None:
        note(request)

    http: Any = openai.DefaultAsyncHttpxClient() if is_async else openai.DefaultHttpxClient()
    http.event_hooks = {"request": [note_async if is_async else note]}
    return watch(http)


def chat_lines(count: int, **changes: Any) -> bytes:
    """A batch's input: `count` questions to the embedded model, each answered in two words."""
    lines = []
    for number in range(count):
        body = {
            "model": CHAT,
            "messages": [{"role": "user", "content": f"What is {number} plus {number}?"}],
            "max_tokens": 2,
            **changes,
        }
        line = {"custom_id": f"{number}", "method": "POST", "url": "/v1/chat/completions"}
        lines.append(json.dumps({**line, "body": body}))
    return "\n".join(lines).encode()


def settled(client: Any, batch_id: str) -> Any:
    """The batch once it is over."""

    def is_over() -> bool:
        return client.batches.retrieve(batch_id).status in FINAL

    until(is_over, "the batch is over", within_seconds=60)
    return client.batches.retrieve(batch_id)
