"""A server with models that nobody has to ask, and one deployment of the operator's."""

from collections.abc import Iterator

import httpx
import pytest
from tests.support.server import Server, running_server

NOWHERE = {"base_url": "http://127.0.0.1:9/v1"}
MODELS = [
    {"id": "tiny", "upstream": NOWHERE},
    {"id": "large", "upstream": NOWHERE},
    {"id": "vectors", "kind": "embedding", "upstream": NOWHERE},
    {"id": "m" * 200, "upstream": NOWHERE},
    {"id": "near", "path": "models/near"},
]


@pytest.fixture(scope="module")
def deploying(
    shared_database_url: str | None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    with running_server(
        tmp_path_factory.mktemp("deploying") / "data",
        database_url=shared_database_url,
        models=MODELS,
        deployments=[{"name": "ops", "model": "tiny", "enqueued_token_limit": 4000}],
        aliases={"gpt-4o-mini": "tiny"},
    ) as running:
        yield running


@pytest.fixture
def caller(deploying: Server) -> Iterator[httpx.Client]:
    """A client of the default resource; what it deploys is removed at the end."""
    with deploying.client() as client:
        yield client
        for one in client.get("/openai/deployments").json()["data"]:
            client.delete(f"/openai/deployments/{one['id']}")


@pytest.fixture
def stranger(deploying: Server) -> Iterator[httpx.Client]:
    """A client of another resource."""
    with deploying.client(key=deploying.add_key("stranger")) as client:
        yield client
