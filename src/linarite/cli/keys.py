"""``linarite keys``: which keys open which resource; two at a time each, so that one can change."""

import secrets
import time
from pathlib import Path
from typing import Annotated

import typer

from linarite.cli.loading import load_settings
from linarite.cli.refusals import Refused
from linarite.cli.serve import Config, Data

keys = typer.Typer(no_args_is_help=True, help="Make, list and revoke API keys.")

_NAMES = ("key1", "key2")

Resource = Annotated[str, typer.Option(help="The resource (tenant) that the key opens.")]


@keys.command()
def create(
    resource: Resource,
    name: Annotated[
        str | None, typer.Option(help="key1 or key2; default: the one that is free.")
    ] = None,
    data: Data = None,
    config: Config = None,
) -> None:
    """Make a key and print it; the server keeps only its digest."""
    from linarite.http import auth  # late: loads for a second

    if name not in {None, *_NAMES}:
        raise Refused(f"A resource has the keys key1 and key2; there is no {name!r}.")
    _check_resource(resource)
    key = secrets.token_urlsafe(32)
    with _database(data, config).transaction() as tx:
        taken = {row.name for row in auth.list_keys(tx, resource=resource)}
        free = [one for one in _NAMES if one not in taken]
        if name is None and not free:
            raise Refused(
                f"Resource {resource!r} has two keys. Replace one: --name key1 or --name key2."
            )
        auth.put_key(tx, resource=resource, name=name or free[0], key=key, now=int(time.time()))
    typer.echo(key)


@keys.command("list")
def list_(
    resource: Annotated[str | None, typer.Option(help="Of this resource alone.")] = None,
    data: Data = None,
    config: Config = None,
) -> None:
    """List resources and their keys, as far as the server knows them: how they begin."""
    from linarite.http import auth

    with _database(data, config).reading() as connection:
        for row in auth.list_keys(connection, resource=resource):
            made = time.strftime("%Y-%m-%d %H:%M", time.localtime(row.created_at))
            typer.echo(f"{row.resource:24} {row.name:6} {row.prefix}…  {made}")


@keys.command()
def revoke(
    resource: Resource,
    name: Annotated[str | None, typer.Option(help="key1 or key2; default: both.")] = None,
    data: Data = None,
    config: Config = None,
) -> None:
    """Take keys away; running servers refuse them within seconds."""
    from linarite.http import auth

    with _database(data, config).transaction() as tx:
        revoked = auth.revoke_keys(tx, resource=resource, name=name)
    if not revoked:
        raise Refused(f"Resource {resource!r} has no such key.")
    typer.echo(f"Revoked {revoked}.")


def _check_resource(resource: str) -> None:
    if not (1 <= len(resource) <= 64 and resource.replace("-", "").isalnum()):
        raise Refused("A resource is named by 1 to 64 letters, digits and hyphens.")


def _database(data: Path | None, config: Path | None):  # type: ignore[no-untyped-def]  # late import
    from linarite.storage.database import Database

    settings = load_settings(config, data=data)
    database = Database(settings.resolved_database_url)
    if database.is_sqlite and not Path(str(database.url.database)).is_file():
        raise Refused(f"There is no server's data in {settings.data}; start one: linarite serve")
    database.check_version()
    return database
