"""One server with folders to ingest, the embedded embedding model, and a chat model that obeys."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from tests.support.embedded import EMBEDDING, models_folder, pulled
from tests.support.running_engine import scripted_engine
from tests.support.sdk_variants import sdk_client
from tests.support.serving import Serving, serving, wait_for

import linarite.cli

CHAT = "upstream"
MUSEUM = Path(linarite.cli.__file__).parent / "demo_data"
_FOLDERS = {"messages": Path(__file__).parent / "messages", "museum": MUSEUM / "ingest"}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All that share the server go to one worker of xdist, so that there is one server."""
    for item in items:
        if "server" in getattr(item, "fixturenames", ()) and "retrieval" in item.nodeid:
            item.add_marker(pytest.mark.xdist_group("retrieval"))


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    pulled(EMBEDDING)
    folder = tmp_path_factory.mktemp("retrieval")
    config = folder / "linarite.toml"
    with scripted_engine(tmp_path_factory.mktemp("upstream")) as chat:
        config.write_text(
            f'[[models]]\nid = "{CHAT}"\nupstream = {{ base_url = "{chat.base_url}" }}\n'
            + "".join(
                f'[datasets.{name}]\ntype = "uri_folder"\npath = {json.dumps(str(path))}\n'
                for name, path in _FOLDERS.items()
            )
        )
        models = {"LINARITE_MODELS_DIR": str(models_folder())}
        with serving(folder, "--config", str(config), **models) as running:
            yield running


def ingest(server: Serving, folder: str, tokens: int) -> None:
    """Have a folder ingested into the index of its name, cut into chunks of so many tokens."""
    job = {
        "kind": "UserCompute",
        "workspaceId": "here",
        "datasource": {
            "kind": "Dataset",
            "datasetId": folder,
            "datasetType": "uri_folder",
            "chunking": {"maxChunkSizeInTokens": tokens},
            "embeddings": [{"deploymentName": EMBEDDING}],
        },
    }
    headers = {"api-key": server.ready["api_key"]}
    params = {"api-version": server.ready["api_version"]}
    with httpx.Client(
        base_url=server.endpoint, headers=headers, params=params, timeout=30
    ) as client:
        answer = client.put(f"/openai/ingestion/jobs/{folder}", json=job)
        assert answer.status_code == 200, answer.text
        run = answer.headers["operation-location"]

        def state() -> Mapping[str, Any]:
            return dict(client.get(run).json())

        wait_for(lambda: state()["status"] in {"succeeded", "failed"}, seconds=250)
        assert state()["status"] == "succeeded", state()


@pytest.fixture(scope="session")
def museum(server: Serving) -> str:
    """The index of the documents that the demo ships, ingested."""
    ingest(server, "museum", tokens=256)
    return "museum-index"


@pytest.fixture(scope="session")
def messages(server: Serving) -> str:
    """The index of the messages, ingested."""
    ingest(server, "messages", tokens=200)
    return "messages-index"


@pytest.fixture(scope="session")
def client(server: Serving) -> Iterator[openai.OpenAI]:
    with sdk_client("azure", server.ready) as one:
        yield one


def citations(client: openai.OpenAI, index: str, question: str) -> list[dict[str, str]]:
    """What the answer to a question cites at the usual strictness, the best first."""
    parameters = {
        "index_name": index,
        "query_type": "vector_simple_hybrid",
        "embedding_dependency": {"type": "deployment_name", "deployment_name": EMBEDDING},
    }
    answer = client.chat.completions.create(
        model=CHAT,
        messages=[{"role": "user", "content": question}],
        extra_body={"data_sources": [{"type": "azure_search", "parameters": parameters}]},
    )
    message: Any = answer.choices[0].message.model_extra
    return list(message["context"]["citations"])
