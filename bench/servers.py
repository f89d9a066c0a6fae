"""A Linarite server of the benchmark's own: the real command, over a folder that goes later."""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import openai

from bench.processes import Process, read_ready, started, wait_until
from bench.results import ROOT

MODELS = Path(os.environ.get("LINARITE_MODELS_DIR", ROOT / ".models"))
"""Where `make model` put the embedded models."""


@dataclass(frozen=True)
class Linarite:
    """A running server and how to call it."""

    endpoint: str
    api_key: str
    api_version: str
    process: Process

    def sdk(self) -> openai.AzureOpenAI:
        """The official client, which retries nothing."""
        return openai.AzureOpenAI(
            azure_endpoint=self.endpoint,
            api_key=self.api_key,
            api_version=self.api_version,
            max_retries=0,
        )

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        host, port = self.endpoint.removeprefix("http://").split(":")
        return host, int(port)

    def path(self, path: str) -> str:
        """The request path of an operation, such as ``/files``."""
        return f"/openai{path}?api-version={self.api_version}"


@contextmanager
def linarite(
    folder: Path, config: str = "", *, database_url: str | None = None
) -> Iterator[Linarite]:
    """Start ``linarite serve`` over `folder` with a ``linarite.toml`` of text `config`."""
    folder.mkdir(parents=True, exist_ok=True)
    ready, log, toml = folder / "ready.json", folder / "serve.log", folder / "linarite.toml"
    toml.write_text(config)
    ready.unlink(missing_ok=True)
    command = [sys.executable, "-m", "linarite", "serve", "--port", "0", "--config", str(toml)]
    command += ["--data", str(folder / "data"), "--ready-file", str(ready)]
    environment = {"LINARITE_MODELS_DIR": str(MODELS)}
    if database_url:
        environment["LINARITE_DATABASE_URL"] = database_url
    with started(command, log, environment=environment) as process:
        wait_until(ready.exists, process, log)
        told = read_ready(ready)
        yield Linarite(told["endpoint"], told["api_key"], told["api_version"], process)


def upstream_model(name: str, base_url: str) -> str:
    """The lines of ``linarite.toml`` that deploy the model behind `base_url` as `name`."""
    return (
        f'[[models]]\nid = "{name}"\n'
        f'upstream = {{ base_url = {json.dumps(base_url)}, model = "{name}" }}\n'
        f'[[deployments]]\nname = "{name}"\nmodel = "{name}"\n'
    )
