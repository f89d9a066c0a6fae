"""``linarite api|worker|engines``: one kind of process, where a cluster runs it."""

import typer

from linarite.cli.listening import endpoint, listen
from linarite.cli.loading import load_settings
from linarite.cli.refusals import Refused
from linarite.cli.serve import Config, Data, Host, Port, TlsCert, TlsKey
from linarite.settings import TlsFiles


def api(
    host: Host = None,
    port: Port = None,
    data: Data = None,
    config: Config = None,
    tls_cert: TlsCert = None,
    tls_key: TlsKey = None,
) -> None:
    """Serve the API and the dashboard alone, over a database that `linarite serve` migrated."""
    from linarite.cli.kinds import run_api  # late: loads for a second

    tls = {"cert": tls_cert, "key": tls_key} if tls_cert else None
    given = {"host": host, "port": port, "tls": tls}
    server = {name: value for name, value in given.items() if value is not None}
    settings = load_settings(config, data=data, server=server)
    if settings.server.tls == "self-signed":
        raise Refused("`linarite api` takes --tls-cert and --tls-key; `serve` makes its own.")
    listening = listen(settings.server)
    files = settings.server.tls if isinstance(settings.server.tls, TlsFiles) else None
    served = f"Serving {endpoint(settings.server, listening)}"
    run_api(settings, listening, files, on_ready=lambda: typer.echo(served))


def worker(data: Data = None, config: Config = None) -> None:
    """Perform durable work alone: batches, imports, checks, exports, tuning jobs, sweeps."""
    from linarite.cli.kinds import run_worker

    run_worker(load_settings(config, data=data))


def engines(data: Data = None, config: Config = None) -> None:
    """Host the embedded engines of this machine alone."""
    from linarite.cli.kinds import run_engines

    run_engines(load_settings(config, data=data))
