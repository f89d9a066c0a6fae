"""``linarite env``: how programs find the running server; ``eval $(linarite env)``."""

import os
import shlex

import typer

from linarite.cli.data_folder import DataFolder
from linarite.cli.loading import load_settings
from linarite.cli.refusals import Refused
from linarite.cli.serve import Config, Data


def env(data: Data = None, config: Config = None) -> None:
    """Print shell lines that point the OpenAI SDKs at the server running on the data folder."""
    folder = DataFolder(load_settings(config, data=data).data)
    found = folder.announced()
    if found is None:
        raise Refused(f"No server runs on {folder.path}. Start one: linarite serve")
    variables = {
        "AZURE_OPENAI_ENDPOINT": found.endpoint,
        "AZURE_OPENAI_API_KEY": found.api_key,
        "OPENAI_API_VERSION": found.api_version,
    }
    authority = folder.path / "tls" / "ca.pem"
    if found.endpoint.startswith("https:") and authority.is_file():
        variables["SSL_CERT_FILE"] = os.fspath(authority)
    for name, value in variables.items():
        typer.echo(f"export {name}={shlex.quote(value)}")
