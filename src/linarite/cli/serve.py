"""``linarite serve``: a whole server in one command."""

import gc
import http
import http.client
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import typer

from linarite import __version__
from linarite.cli.data_folder import Announcement, DataFolder, write_secret
from linarite.cli.listening import endpoint, listen
from linarite.cli.loading import load_settings
from linarite.cli.refusals import Refused
from linarite.errors import InvalidPayload
from linarite.settings import Settings, TlsFiles

API_VERSION = "2025-02-01-preview"
_ANY_ADDRESS = frozenset({"0.0.0.0", "::"})

Config = Annotated[Path | None, typer.Option(help="Settings; default: linarite.toml, if there.")]
Data = Annotated[Path | None, typer.Option(help="Data folder; default: linarite-data.")]
Host = Annotated[str | None, typer.Option(help="Address to listen on; default: 127.0.0.1.")]
Port = Annotated[int | None, typer.Option(help="Port, 0 for a free one; default: 8080.")]
TlsCert = Annotated[Path | None, typer.Option(help="Certificate chain (PEM), to serve https.")]
TlsKey = Annotated[Path | None, typer.Option(help="Its key (PEM).")]
Tls = Annotated[
    str | None, typer.Option(help="'self-signed' makes a certificate and says how to trust it.")
]


def serve(
    host: Host = None,
    port: Port = None,
    data: Data = None,
    config: Config = None,
    ephemeral: Annotated[bool, typer.Option(help="Keep nothing: data is gone at the end.")] = False,
    ready_file: Annotated[
        Path | None, typer.Option(help="Where to write address and key as JSON, once ready.")
    ] = None,
    pull: Annotated[bool, typer.Option(help="Fetch the embedded models that are missing.")] = False,
    tls_cert: TlsCert = None,
    tls_key: TlsKey = None,
    tls: Tls = None,
) -> None:
    """Run a server: the API, a worker and the engines, until Ctrl-C or SIGTERM."""
    server = _server_options(host, port, tls, tls_cert, tls_key)
    settings = load_settings(config, data=data, server=server)
    if ready_file:
        ready_file.unlink(missing_ok=True)
    if not ephemeral:
        _serve(settings, ready_file, pull=pull)
        return
    with _temporary_data(settings) as temporary:
        _serve(temporary, ready_file, pull=pull)


def _server_options(
    host: str | None,
    port: int | None,
    tls: str | None,
    tls_cert: Path | None,
    tls_key: Path | None,
) -> dict[str, Any]:
    if (tls_cert is None) != (tls_key is None):
        raise Refused("--tls-cert and --tls-key go together.")
    if tls not in {None, "self-signed"}:
        raise Refused(f"--tls takes 'self-signed', not {tls!r}.")
    if tls and tls_cert:
        raise Refused("--tls self-signed makes a certificate; leave out --tls-cert and --tls-key.")
    for file in (tls_cert, tls_key):
        if file is not None and not file.is_file():
            raise Refused(f"There is no file {file}.")
    files = {"cert": tls_cert, "key": tls_key} if tls_cert else None
    given = {"host": host, "port": port, "tls": files or tls}
    return {name: value for name, value in given.items() if value is not None}


@contextmanager
def _temporary_data(settings: Settings) -> Iterator[Settings]:
    """The same settings over a folder and a database that end with the block; models stay."""
    folder = Path(tempfile.mkdtemp(prefix="linarite-"))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # until the supervisor listens to it
    try:
        yield settings.model_copy(
            update={
                "data": folder,
                "models_dir": settings.resolved_models_dir,
                "database_url": None,
                "blob_url": None,
            }
        )
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@dataclass(frozen=True)
class _Opened:
    """What stands before the first process starts."""

    settings: Settings
    folder: DataFolder
    listening: socket.socket
    announcement: Announcement
    tls: TlsFiles | None


def _serve(settings: Settings, ready_file: Path | None, *, pull: bool) -> None:
    gc.disable()  # on loading: a tenth of a start; the supervisor enables it again
    # late: they load for a second, which a refusal above need not wait for
    from linarite.cli import kinds
    from linarite.cli.supervisor import Supervisor

    opened = _open(settings, pull=pull)
    settings, listening, tls = opened.settings, opened.listening, opened.tls
    supervisor = Supervisor(
        {
            "api": lambda: kinds.run_api(settings, listening, tls),
            "worker": lambda: kinds.run_worker(settings),
            "engines": lambda: kinds.run_engines(settings),
        },
        on_change=lambda pids: opened.folder.announce(opened.announcement, pids),
    )

    def on_ready() -> None:
        if ready_file:
            write_secret(ready_file, opened.announcement.to_json())
        typer.echo(f"Linarite {__version__} serves {opened.announcement.endpoint}")

    try:
        supervisor.run(lambda: _answers(opened.announcement.endpoint), on_ready)
    finally:
        opened.folder.withdraw()
        if ready_file:
            ready_file.unlink(missing_ok=True)


def _open(settings: Settings, *, pull: bool) -> _Opened:
    """Claim the folder and the port, bring the database up to date, let the key in."""
    from linarite.cli import logs

    logs.configure(settings, "serve")
    folder = DataFolder(settings.data)
    folder.lock()
    _refuse_beside_engine_host(settings.data)
    listening = listen(settings.server)
    _offer_models(settings, pull=pull)
    key = _key(settings, folder)
    _migrate(settings, key)
    _check_deployments(settings)
    tls = _tls(settings)
    announcement = Announcement(endpoint(settings.server, listening), key, API_VERSION, os.getpid())
    return _Opened(settings, folder, listening, announcement, tls)


def _refuse_beside_engine_host(data: Path) -> None:
    from linarite.engines.place import host_socket

    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(host_socket(data)))
        except OSError:  # nobody is there, or nobody any more
            return
    raise Refused(
        f"`linarite engines` runs on {data} already; end it first, for `serve` has a host of its "
        "own, or serve with `linarite api` and `linarite worker` beside it."
    )


def _check_deployments(settings: Settings) -> None:
    """Refuse at once what would end every API process that is started."""
    from linarite import bootstrap
    from linarite.resources.deployments.service import Deployments

    deployments = bootstrap.build(settings).parts[Deployments]
    try:
        deployments.check_declared()
    except InvalidPayload as error:
        raise Refused(
            f"{error.target}: {error.message.partition(';')[0]}. `linarite models list` shows "
            "those that do; add it with `linarite models add`, or name it in [[models]]."
        ) from None


def _offer_models(settings: Settings, *, pull: bool) -> None:
    """Fetch the embedded models, add those of the settings, or say how to get some."""
    from linarite.engines.installed import find_model, list_models

    folder = settings.resolved_models_dir
    if pull:
        _run_models(folder, "pull")
    for entry in settings.models:
        if entry.path is not None and find_model(folder, entry.id) is None:
            _run_models(folder, "add", str(entry.path), "--id", entry.id)
    if not settings.models and not list_models(folder):
        typer.echo("There are no models yet. Fetch the embedded ones: linarite models pull")


def _run_models(folder: Path, *arguments: str) -> None:
    """Run `linarite models`, apart: what converts models has no place in what forks servers."""
    command = [sys.executable, "-m", "linarite", "models", *arguments]
    environment = {**os.environ, "LINARITE_MODELS_DIR": str(folder)}
    if subprocess.run(command, env=environment, check=False).returncode != 0:
        raise Refused("A model could not be made ready; the reason stands above.")


def _key(settings: Settings, folder: DataFolder) -> str:
    """The default resource's key: the operator's, the kept one, or a new one, shown once."""
    if settings.api_key:
        return settings.api_key.get_secret_value()
    key, is_new = folder.api_key()
    if is_new:
        typer.echo(f"API key: {key}  (kept in {settings.data / 'api-key'})")
    return key


def _migrate(settings: Settings, key: str) -> None:
    """Make or update the tables, before any process wants them."""
    import sqlalchemy as sa

    from linarite.http.auth import put_key
    from linarite.storage.database import Database
    from linarite.tasks import schema

    database = Database(settings.resolved_database_url)
    try:
        database.migrate()
        schema.migrate(database)
        with database.transaction() as tx:
            put_key(tx, resource="default", name="key1", key=key, now=int(time.time()))
    except sa.exc.OperationalError as error:
        raise Refused(f"The database {database.url!r} does not answer: {error.orig}") from None
    finally:
        database.close()  # no connection may cross a fork


def _tls(settings: Settings) -> TlsFiles | None:
    if settings.server.tls != "self-signed":
        return settings.server.tls
    from linarite.http.tls import how_to_trust, self_signed

    public = urlsplit(settings.server.public_url or "").hostname
    hosts = [host.partition(":")[0] for host in settings.server.hosts]
    names = [settings.server.host, *hosts, *([public] if public else [])]
    made = self_signed(settings.data / "tls", [name for name in names if name not in _ANY_ADDRESS])
    typer.echo(f"To trust this server's certificate:\n{how_to_trust(made.authority)}")
    return TlsFiles(cert=made.cert, key=made.key)


def _answers(address: str) -> bool:
    """Whether the API says that it is ready."""
    url = urlsplit(address)
    assert url.hostname
    connection: http.client.HTTPConnection
    if url.scheme == "https":
        to_itself = ssl._create_unverified_context()  # the certificate may name another host
        connection = http.client.HTTPSConnection(
            url.hostname, url.port, timeout=2, context=to_itself
        )
    else:
        connection = http.client.HTTPConnection(url.hostname, url.port, timeout=2)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
