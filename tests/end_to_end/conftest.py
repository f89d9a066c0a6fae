"""One real server on the embedded models, and the official Python SDK in each of its variants."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pytest
from tests.support.contract_answers import watch
from tests.support.embedded import CHAT, EMBEDDING, models_folder, pulled
from tests.support.files import until
from tests.support.running_engine import RunningEngine, scripted_engine
from tests.support.sdk_variants import VARIANTS, http_client, sdk_client
from tests.support.serving import Serving, serving

CHAT_BATCH = {"endpoint": "/v1/chat/completions", "completion_window": "24h"}
STORY = [{"role": "user", "content": "Tell me a long story about a king and his seven sons."}]
FINAL = {"completed", "failed", "expired", "cancelled"}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All that share the server go to one worker of xdist, so that there is one server."""
    for item in items:
        if "served" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.xdist_group("end_to_end"))
            item.add_marker(pytest.mark.model)


@pytest.fixture(scope="session")
def upstream(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningEngine]:
    """Who answers for the server's model `upstream`, which says what it is told to say."""
    with scripted_engine(tmp_path_factory.mktemp("upstream")) as running:
        yield running


@pytest.fixture(scope="session")
def served(upstream: RunningEngine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """The server; its data is gone at the end, and tests leave theirs where it lies."""
    pulled(CHAT)
    pulled(EMBEDDING)
    folder = tmp_path_factory.mktemp("served")
    file = folder / "linarite.toml"
    attached = f'[[models]]\nid = "upstream"\nupstream = {{ base_url = "{upstream.base_url}" }}\n'
    file.write_text(f'{attached}\n[datasets.notes]\ntype = "uri_folder"\npath = "notes"\n')
    settings = {
        "LINARITE_MODELS_DIR": str(models_folder()),
        "LINARITE_BATCHES__CANCEL_SECONDS": "1",
    }
    with serving(folder, "--ephemeral", "--config", str(file), **settings) as running:
        yield running


@dataclass(frozen=True)
class Sdk:
    """The official SDK as one kind of user makes it."""

    client: Any
    asked: list[str]
    """Method and path of every request it sent."""
    make: Callable[..., Any]
    """Another client of the same kind; takes `api_key` and the like."""


@pytest.fixture(params=VARIANTS)
def sdk(request: pytest.FixtureRequest, served: Serving) -> Iterator[Sdk]:
    """Each variant in turn."""
    asked: list[str] = []

    def note(sent: Any) -> None:
        asked.append(f"{sent.method} {sent.url.path}")

    with ExitStack() as stack:

        def make(**options: Any) -> Any:
            given = {"http_client": watch(http_client(request.param, note))} | options
            return stack.enter_context(sdk_client(request.param, served.ready, **given))

        yield Sdk(make(), asked, make)


@pytest.fixture
def client(sdk: Sdk) -> Any:
    """The variant's client."""
    return sdk.client


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
