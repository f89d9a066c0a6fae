"""A server on each database whose models a scripted engine answers, and a resource a test."""

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import openai
import pytest
from tests.support.running_engine import RunningEngine, scripted_engine
from tests.support.server import Server, running_server

MODEL = "org/chat-model"


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningEngine]:
    with scripted_engine(tmp_path_factory.mktemp("engine"), "--model", "theirs") as running:
        yield running


@pytest.fixture(scope="module")
def server(
    shared_database_url: str | None,
    engine: RunningEngine,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Server]:
    """The deployments `chat` and `other`, of two models, of which the first has an alias."""
    upstream = {"base_url": engine.base_url, "model": "theirs"}
    names = {"chat": MODEL, "other": "org/other-model"}
    with running_server(
        tmp_path_factory.mktemp("stored") / "data",
        database_url=shared_database_url,
        models=[{"id": model, "upstream": upstream} for model in names.values()],
        deployments=[{"name": name, "model": model} for name, model in names.items()],
        aliases={"gpt-4o": MODEL},
    ) as running:
        yield running


@dataclass(frozen=True)
class Caller:
    """One resource, by the official client and by plain HTTP."""

    sdk: openai.AzureOpenAI
    http: httpx.Client
    resource: str

    def store(self, text: str = "Hello", *, model: str = "chat", **asked: Any) -> Any:
        """The answer to a chat that is stored."""
        messages = asked.pop("messages", [{"role": "user", "content": text}])
        return self.sdk.chat.completions.create(model=model, messages=messages, store=True, **asked)

    def page(self, **query: Any) -> dict[str, Any]:
        """A page as it is on the wire."""
        answer = self.http.get("/openai/chat/completions", params=query)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def ids(self, **query: Any) -> list[str]:
        return [one["id"] for one in self.page(**query)["data"]]


@pytest.fixture
def caller(server: Server) -> Iterator[Caller]:
    """A resource of the test's own."""
    resource = f"resource-{secrets.token_hex(6)}"
    key = server.add_key(resource)
    with server.sdk(key=key) as sdk, server.client(key=key) as http:
        yield Caller(sdk, http, resource)
