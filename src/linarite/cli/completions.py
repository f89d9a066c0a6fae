"""``linarite completions``: what a running server has stored, as files to learn from."""

import time
from typing import Annotated, Any

import typer

from linarite.cli.refusals import Refused
from linarite.cli.serve import Config, Data

completions = typer.Typer(no_args_is_help=True, help="Export stored completions.")

_LOOK_SECONDS = 0.2

Pairs = list[str] | None


@completions.command()
def export(
    model: Annotated[
        str | None, typer.Option(help="Of this model, or asked of this deployment.")
    ] = None,
    metadata: Annotated[
        Pairs, typer.Option(metavar="KEY=VALUE", help="With this metadata; may come again.")
    ] = None,
    preferred: Annotated[
        Pairs,
        typer.Option(
            metavar="KEY=VALUE",
            help="Make preferences: the better answers have this metadata; may come again.",
        ),
    ] = None,
    non_preferred: Annotated[
        Pairs,
        typer.Option(metavar="KEY=VALUE", help="The worse answers have this; may come again."),
    ] = None,
    preferred_model: Annotated[
        str | None, typer.Option(help="The better answers are of this model or deployment.")
    ] = None,
    non_preferred_model: Annotated[
        str | None, typer.Option(help="The worse answers are of this one.")
    ] = None,
    join: Annotated[
        str | None,
        typer.Option(
            metavar="KEY",
            help="Two answers belong together whose metadata has the same value there; "
            "default: whose input is the same.",
        ),
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many lines.")] = None,
    order: Annotated[
        str | None, typer.Option(help="desc (newest first, the default) or asc.")
    ] = None,
    filename: Annotated[str | None, typer.Option(help="What the file is called.")] = None,
    data: Data = None,
    config: Config = None,
) -> None:
    """Make a training file of stored completions; print its id, and what was left out of it.

    Asks the server on --data, or on the folder that --config names; without these the one that
    AZURE_OPENAI_ENDPOINT and AZURE_OPENAI_API_KEY name.
    Ctrl-C ends the waiting, not the export.
    """
    from linarite.cli.client import Client  # late: it loads for a while

    asked = {
        "model": model,
        "metadata": _metadata(metadata),
        "preferred": _filters(preferred, preferred_model),
        "non_preferred": _filters(non_preferred, non_preferred_model),
        "join": join,
        "limit": limit,
        "order": order,
        "filename": filename,
    }
    client = Client(data, config)
    file = client.post("/openai/stored_completions/export", _said(asked))
    typer.echo(file["id"])
    while file["status"] in {"pending", "running"}:
        time.sleep(_LOOK_SECONDS)
        file = client.get(f"/openai/files/{file['id']}")
    if file["status"] != "processed":
        raise Refused(file["status_details"])
    typer.echo(file["status_details"], err=True)


def _filters(pairs: Pairs, model: str | None) -> dict[str, Any] | None:
    return _said({"model": model, "metadata": _metadata(pairs)}) or None


def _metadata(pairs: Pairs) -> dict[str, str] | None:
    """Metadata of ``KEY=VALUE``; raises Refused."""
    found: dict[str, str] = {}
    for pair in pairs or ():
        key, is_pair, value = pair.partition("=")
        if not is_pair:
            raise Refused(f"{pair!r} is no metadata; write KEY=VALUE.")
        if found.setdefault(key, value) != value:
            raise Refused(f"Nothing has two values of {key!r}: {found[key]!r} and {value!r}.")
    return found or None


def _said(given: dict[str, Any]) -> dict[str, Any]:
    """What was given of it."""
    return {name: value for name, value in given.items() if value is not None}
