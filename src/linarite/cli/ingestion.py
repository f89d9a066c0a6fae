"""``linarite ingestion``: the ingestion jobs of a running server."""

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

import orjson
import typer

from linarite.cli.refusals import Refused
from linarite.cli.serve import Config, Data

if TYPE_CHECKING:
    from linarite.cli.client import Client

ingestion = typer.Typer(
    no_args_is_help=True,
    help="Make, run, look at and remove ingestion jobs.\n\nEach command asks the server on --data, "
    "or on the folder that --config names; without these the one that AZURE_OPENAI_ENDPOINT and "
    "AZURE_OPENAI_API_KEY name.",
)

_JOBS = "/openai/ingestion/jobs"
_LOOK_SECONDS = 0.5
_ENDED = {"succeeded", "failed"}

Job = Annotated[str, typer.Argument(help="The job's id.")]
Run = Annotated[str | None, typer.Argument(help="The run's id; default: the newest.")]
Wait = Annotated[
    bool, typer.Option("--wait", help="Wait until the run has ended; Ctrl-C ends the waiting only.")
]


@ingestion.command()
def create(
    job: Job,
    definition: Annotated[
        Path, typer.Argument(help="A file with the job as JSON; - for standard input.")
    ],
    wait: Wait = False,
    data: Data = None,
    config: Config = None,
) -> None:
    """Make a job, or give one a new definition; print the id of the run that starts."""
    client = _client(data, config)
    client.put(_job(job), _read(definition))
    [run] = client.get(f"{_job(job)}/runs", limit="1")["value"]
    _started(client, job, run["runId"], wait)


@ingestion.command("list")
def list_(data: Data = None, config: Config = None) -> None:
    """List the jobs, newest first, a line each: id and kind."""
    for job in _all(_client(data, config), _JOBS):
        typer.echo(f"{job['jobId']}\t{job['kind']}")


@ingestion.command()
def get(job: Job, data: Data = None, config: Config = None) -> None:
    """Print a job as JSON, without its secrets."""
    _print(_client(data, config).get(_job(job)))


@ingestion.command()
def runs(job: Job, data: Data = None, config: Config = None) -> None:
    """List the runs of a job, newest first, a line each: id and state."""
    for run in _all(_client(data, config), f"{_job(job)}/runs"):
        typer.echo(f"{run['runId']}\t{run['status']}")


@ingestion.command()
def run(
    job: Job, run: Run = None, wait: Wait = False, data: Data = None, config: Config = None
) -> None:
    """Print a run as JSON: its state, how far it is, its error and its warnings."""
    client = _client(data, config)
    run_id = run or _newest(client, job)
    _print(_followed(client, job, run_id) if wait else client.get(_run(job, run_id)))


@ingestion.command()
def documents(
    job: Job,
    state: Annotated[
        str | None, typer.Option(help="Only those that are pending, indexed or failed.")
    ] = None,
    data: Data = None,
    config: Config = None,
) -> None:
    """List the documents of a job, a line each: state, name and, of a failed one, the reason."""
    asked = {} if state is None else {"state": state}
    for document in _all(_client(data, config), f"{_job(job)}/documents", **asked):
        told = (document["state"], document["key"], document.get("reason"))
        typer.echo("\t".join(_visible(part) for part in told if part is not None))


@ingestion.command()
def cancel(job: Job, run: Run = None, data: Data = None, config: Config = None) -> None:
    """End a run early; what is in the index stays."""
    client = _client(data, config)
    run_id = run or _newest(client, job)
    client.post(f"{_run(job, run_id)}/cancel", {})
    typer.echo(f"The run {run_id} is cancelled.")


@ingestion.command()
def delete(job: Job, data: Data = None, config: Config = None) -> None:
    """Remove a job and what it put into its index."""
    _client(data, config).delete(_job(job))
    typer.echo(f"The job {job} is deleted.")


@ingestion.command("retry-failed")
def retry_failed(job: Job, wait: Wait = False, data: Data = None, config: Config = None) -> None:
    """Try the documents again that failed; print the id of the run that starts."""
    client = _client(data, config)
    _started(client, job, client.post(f"{_job(job)}/retry-failed", {})["runId"], wait)


def _client(data: Path | None, config: Path | None) -> "Client":
    from linarite.cli.client import Client  # late: it loads for a while

    return Client(data, config)


def _job(job: str) -> str:
    return f"{_JOBS}/{quote(job, safe='')}"


def _run(job: str, run: str) -> str:
    return f"{_job(job)}/runs/{quote(run, safe='')}"


def _newest(client: "Client", job: str) -> str:
    [run] = client.get(f"{_job(job)}/runs", limit="1")["value"]  # a job is made with one
    return str(run["runId"])


def _all(client: "Client", path: str, **asked: str) -> Iterator[dict[str, Any]]:
    """Every item of a list, page by page."""
    while True:
        page = client.get(path, **asked)
        yield from page["value"]
        if "nextLink" not in page:
            return
        last = page["value"][-1]
        asked["after"] = last.get("id") or last.get("runId") or last["jobId"]


def _started(client: "Client", job: str, run_id: str, wait: bool) -> None:
    typer.echo(run_id)
    if wait:
        _followed(client, job, run_id)


def _followed(client: "Client", job: str, run_id: str) -> dict[str, Any]:
    """A run once it has ended; raises Refused when it failed. Tells on its way how far it is."""
    told = ""
    while True:
        run = client.get(_run(job, run_id))
        if (now := _progress(run)) != told:
            typer.echo(now, err=True)
            told = now
        if run["status"] in _ENDED:
            break
        time.sleep(_LOOK_SECONDS)
    if run["status"] == "failed":
        raise Refused("\n".join([run["error"]["message"], *run["error"].get("innerErrors", ())]))
    return run


def _progress(run: dict[str, Any]) -> str:
    """``running: Preprocessing 12 of 40, Indexing 3 of 40``."""
    stages = run.get("progress", {}).get("stageProgress", ())
    counted = [
        f"{one['name']} {one.get('processedItems', 0)} of {one['totalItems']}"
        for one in stages
        if "totalItems" in one
    ]
    return ": ".join(filter(None, (run["status"], ", ".join(counted))))


def _read(definition: Path) -> dict[str, Any]:
    """The JSON object in a file; raises Refused."""
    try:
        text = sys.stdin.buffer.read() if str(definition) == "-" else definition.read_bytes()
        body = orjson.loads(text)
    except OSError as error:
        raise Refused(f"{definition} cannot be read: {error.strerror}.") from None
    except orjson.JSONDecodeError as error:
        raise Refused(f"{definition} is not JSON: {error}.") from None
    if not isinstance(body, dict):
        raise Refused(f"{definition} is no JSON object.")
    return body


def _visible(text: str) -> str:
    """The text without what a terminal would obey, or a reader of lines take for an end."""
    return "".join(
        sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text
    )


def _print(told: dict[str, Any]) -> None:
    typer.echo(orjson.dumps(told, option=orjson.OPT_INDENT_2).decode())
