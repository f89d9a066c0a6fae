"""``linarite env``: how programs find the running server; ``eval $(linarite env)``."""

import json
import os
import shlex
from pathlib import Path
from typing import Annotated

import typer

from linarite.cli.data_folder import Announcement, DataFolder
from linarite.cli.loading import load_settings
from linarite.cli.refusals import Refused
from linarite.cli.serve import Config, Data


def env(
    data: Data = None,
    config: Config = None,
    ready_file: Annotated[
        Path | None, typer.Option(help="Of the server that wrote this file, not of a folder.")
    ] = None,
) -> None:
    """Print shell lines that point the OpenAI SDKs at a running server."""
    folder = DataFolder(load_settings(config, data=data).data)
    found = _read(ready_file) if ready_file else folder.announced()
    if found is None:
        raise Refused(f"No server runs on {folder.path}. Start one: linarite serve")
    variables = {
        "AZURE_OPENAI_ENDPOINT": found.endpoint,
        "AZURE_OPENAI_API_KEY": found.api_key,
        "OPENAI_API_VERSION": found.api_version,
    }
    authority = folder.authority()
    if found.endpoint.startswith("https:") and authority is not None:
        variables["SSL_CERT_FILE"] = os.fspath(authority)
    for name, value in variables.items():
        typer.echo(f"export {name}={shlex.quote(value)};")


def _read(ready_file: Path) -> Announcement:
    if not ready_file.is_file():
        raise Refused(f"There is no {ready_file}: that server is not ready.")
    return Announcement(**json.loads(ready_file.read_text()))
