"""The command line: every command, and how a refusal is shown."""

import sys
from typing import Annotated

import typer

from linarite import __version__
from linarite.cli import keys, single
from linarite.cli.completions import completions
from linarite.cli.demo import demo
from linarite.cli.doctor import doctor
from linarite.cli.env import env
from linarite.cli.ingestion import ingestion
from linarite.cli.models import models
from linarite.cli.refusals import Refused
from linarite.cli.serve import serve
from linarite.errors import LinariteError

app = typer.Typer(
    name="linarite",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command()(serve)
app.command()(single.api)
app.command()(single.worker)
app.command()(single.engines)
app.command()(demo)
app.command()(env)
app.command()(doctor)
app.add_typer(models, name="models")
app.add_typer(keys.keys, name="keys")
app.add_typer(completions, name="completions")
app.add_typer(ingestion, name="ingestion")


@app.callback(invoke_without_command=True)
def about(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, help="Say which version this is.")
    ] = False,
) -> None:
    """The Azure OpenAI authoring API over your own models."""
    if version:
        typer.echo(f"Linarite {__version__}")
        raise typer.Exit


def main() -> None:
    """Run the command that the command line names."""
    try:
        app()
    except Refused as refusal:
        typer.echo(f"linarite: {refusal}", err=True)
        sys.exit(1)
    except LinariteError as refusal:
        typer.echo(f"linarite: {refusal.message}", err=True)
        sys.exit(1)
