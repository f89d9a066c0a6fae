"""A server whose models are answered by scripted engines, and one that nobody answers for."""

from collections.abc import Iterator

import pytest
from tests.support.embedded import CHAT, EMBEDDING, engine_host, models_folder, pulled
from tests.support.running_engine import RunningEngine, scripted_engine
from tests.support.server import Server, running_server

UPSTREAM_KEY = "the-secret-of-the-upstream"


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningEngine]:
    with scripted_engine(tmp_path_factory.mktemp("engine"), "--model", "theirs") as running:
        yield running


@pytest.fixture(scope="module")
def server(engine: RunningEngine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """`chat` and `embed` are answered by the scripted engine, `away` by nobody."""
    upstream = {"base_url": engine.base_url, "model": "theirs"}
    models = [
        {"id": "org/chat-model", "upstream": upstream | {"api_key_env": "TEST_UPSTREAM_KEY"}},
        {"id": "embedding-model", "kind": "embedding", "upstream": upstream},
        {"id": "away", "upstream": {"base_url": "http://127.0.0.1:9/v1"}},
        {"id": "keyless", "upstream": upstream | {"api_key_env": "TEST_NO_SUCH_KEY"}},
    ]
    deployments = [
        {"name": "chat", "model": "org/chat-model"},
        {"name": "embed", "model": "embedding-model"},
    ]
    aliases = {"gpt-4o-mini-2024-07-18": "org/chat-model"}
    folder = tmp_path_factory.mktemp("inference")
    with (
        pytest.MonkeyPatch.context() as environment,
        running_server(folder, models=models, deployments=deployments, aliases=aliases) as one,
    ):
        environment.setenv("TEST_UPSTREAM_KEY", UPSTREAM_KEY)
        yield one


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Both embedded models, an alias of the first, and deterministic deployments of both."""
    pulled(CHAT)
    pulled(EMBEDDING)
    folder = tmp_path_factory.mktemp("embedded")
    declared = {
        "aliases": {"gpt-4o-mini-2024-07-18": CHAT},
        "deployments": [
            {"name": "exact", "model": CHAT, "deterministic": True},
            {"name": "exact-vectors", "model": EMBEDDING, "deterministic": True},
        ],
    }
    with (
        engine_host(folder),
        running_server(folder, models_dir=models_folder(), **declared) as running,
    ):
        yield running


@pytest.fixture(autouse=True)
def fresh_counts(engine: RunningEngine) -> None:
    engine.forget()
