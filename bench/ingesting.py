"""Ingestion by a Linarite server of the benchmark's own, and an embedding model without cost."""

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from bench.processes import read_ready, started, wait_until
from bench.servers import MODELS, Linarite

EMBEDDED, ZERO_COST = "all-minilm-l6-v2", "zero-cost"
CHUNK_TOKENS = 256
_LONGEST_SECONDS = 3600
_LOOK_SECONDS = 0.05


@dataclass(frozen=True)
class Ingested:
    """One ingestion: how long it took, and how many different chunks were embedded."""

    seconds: float
    texts: int


class Ingesting:
    """Ingestion by a Linarite server, as its callers have it done."""

    def __init__(self, server: Linarite, engine: str) -> None:
        self.server = server
        self.engine = engine
        self._client = httpx.Client(
            base_url=server.endpoint,
            headers={"api-key": server.api_key},
            params={"api-version": server.api_version},
            timeout=60,
        )

    def run(self, job: str, source: Path, model: str, dataset: str | None = None) -> Ingested:
        """Put a job and wait for the end of its run."""
        body: dict[str, Any] = {
            "kind": "UserCompute",
            "workspaceId": "here",
            "datasource": {
                "kind": "Dataset",
                "datasetId": dataset or source.name,
                "datasetType": "uri_folder",
                "chunking": {"maxChunkSizeInTokens": CHUNK_TOKENS},
                "embeddings": [{"deploymentName": model}],
            },
        }
        texts, began = _texts(self.engine), time.perf_counter()
        answer = self._client.put(f"/openai/ingestion/jobs/{job}", json=body)
        answer.raise_for_status()
        run = answer.headers["operation-location"]
        while (said := self._client.get(run).json())["status"] in {"notRunning", "running"}:
            if time.perf_counter() - began > _LONGEST_SECONDS:
                raise RuntimeError(f"The run takes more than {_LONGEST_SECONDS} seconds.")
            time.sleep(_LOOK_SECONDS)
        seconds = time.perf_counter() - began
        if said["status"] != "succeeded" or said.get("warnings"):
            raise RuntimeError(f"The run ended as {said}")
        if model == ZERO_COST:
            return Ingested(seconds, _texts(self.engine) - texts)
        return Ingested(seconds, self._chunks(job))

    def _chunks(self, job: str) -> int:
        path = f"/indexes('{job}-index')/docs/$count"
        answer = self._client.get(path, params={"api-version": "2024-07-01"})
        answer.raise_for_status()
        return int(answer.text.lstrip("\ufeff"))


@contextmanager
def embedding_engine(folder: Path) -> Iterator[str]:
    """The embedding model that costs nothing; gives its address."""
    ready, log = folder / "embedding.json", folder / "embedding.log"
    command = [sys.executable, "-m", "bench.embedding_engine", str(ready)]
    with started(command, log) as process:
        wait_until(ready.exists, process, log)
        yield str(read_ready(ready)["url"])


def config(engine: str, **datasets: Path) -> str:
    """Folders by name, and the model that costs nothing with the tokenizer of the embedded one."""
    tokenizer = MODELS / EMBEDDED / "hf" / "tokenizer.json"
    lines = [
        f'[[models]]\nid = "{ZERO_COST}"\nkind = "embedding"\n'
        f"tokenizer = {json.dumps(str(tokenizer))}\n"
        f'upstream = {{ base_url = "{engine}/v1" }}\n'
        f'[[deployments]]\nname = "{ZERO_COST}"\nmodel = "{ZERO_COST}"\n'
    ]
    for name, path in datasets.items():
        lines.append(f'[datasets.{name}]\ntype = "uri_folder"\npath = {json.dumps(str(path))}\n')
    return "".join(lines)


def _texts(engine: str) -> int:
    return int(httpx.get(f"{engine}/count").json()["texts"])
