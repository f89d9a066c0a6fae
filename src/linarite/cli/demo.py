"""``linarite demo``: the main job, on the embedded model, through the official SDK.

Starts a server, unless one serves the data folder already, uploads a file of questions, runs it as
a batch and shows the answers; then tunes the model (`demo_tuning`), unless an earlier run did, and
shows what it learned. Or it ingests documents and asks them (`demo_ingestion`).
"""

import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from linarite.cli import demo_ingestion, demo_tuning
from linarite.cli.data_folder import Announcement, DataFolder
from linarite.cli.loading import load_settings
from linarite.indexing import extra as ingestion_extra

if TYPE_CHECKING:
    from openai import AzureOpenAI
    from openai.types import Batch

console = Console(highlight=False)

_MODEL = "smollm2-135m-instruct"
_SHOWN = 6
_START_SECONDS = 60
_PATIENCE_SECONDS = 60
_FINAL = {"completed", "failed", "expired", "cancelled"}
_A_REAL_MODEL = """
A real model takes three lines in linarite.toml (vLLM, or any OpenAI-compatible server):

    [[models]]
    id = "llama-3.1-8b"
    upstream = { base_url = "http://127.0.0.1:8000/v1", model = "meta-llama/Llama-3.1-8B-Instruct" }
"""


def demo(
    port: Annotated[int, typer.Option(help="Where the server listens; another if taken.")] = 8080,
    data: Annotated[Path, typer.Option(help="Its data folder.")] = Path("linarite-data"),
    keep: Annotated[bool, typer.Option(help="Leave the server up at the end.")] = False,
    questions: Annotated[
        int | None, typer.Option(min=1, help="How many questions to ask; default: all.")
    ] = None,
    tune: Annotated[bool, typer.Option(help="Tune the model after the batch.")] = True,
    dpo: Annotated[
        bool, typer.Option("--dpo", help="Tune on preferences instead of on answers.")
    ] = False,
    again: Annotated[
        bool, typer.Option("--again", help="Tune even if an earlier demo on this data did.")
    ] = False,
    ingest: Annotated[
        bool, typer.Option("--ingest", help="Ingest documents and a web site, and ask them, alone.")
    ] = False,
) -> None:
    """Run a batch of real questions on the embedded model, tune it, and show what it says."""
    if (client_class := _sdk()) is None:
        console.print("The demo speaks through the official SDK: pip install 'linarite\\[demo]'")
        raise typer.Exit(1)
    if ingest and (questions or dpo or again or not tune):
        raise typer.BadParameter("--ingest runs no batch and tunes nothing; give it without those.")
    _end_in_order_on_signals()
    _fetch_model(data, _MODEL)
    if ingest:
        _ingest(client_class, port, data, keep)
        return
    running = DataFolder(data).announced()
    with _running(running) if running else _server(port, data, keep) as server:
        client = _client(client_class, server)
        lines = _questions()[:questions]
        batch, seconds = _run_batch(client, lines, _log_file(data))
        _show(client, lines, batch, seconds)
        is_well = batch.status == "completed"
        if tune and is_well:
            method = "dpo" if dpo else "supervised"
            tuned = demo_tuning.tune(client, _MODEL, method, console, again=again)
            is_well = tuned is not None
            if tuned is not None and tuned.is_earlier:
                _say_how_to_tune_again(data, dpo)
        ingesting = _command("demo", "--data", data, "--ingest")
        console.print(f"\nIngest documents and ask them:\n\n    {ingesting}", soft_wrap=True)
        _say_what_next(server, data, stays=keep or running is not None)
        console.print(_A_REAL_MODEL, markup=False, soft_wrap=True)
    if not is_well:
        raise typer.Exit(1)


def _ingest(client_class: "type[AzureOpenAI]", port: int, data: Path, keep: bool) -> None:
    """Ingest the shipped documents and the site, which is up meanwhile, and ask them."""
    if not ingestion_extra.is_installed():
        console.print(ingestion_extra.MESSAGE, markup=False)
        raise typer.Exit(1)
    _fetch_model(data, demo_ingestion.EMBEDDING)
    running = DataFolder(data).announced()
    with demo_ingestion.web_site(console) as site:
        allowed = load_settings(None, data=data).outbound.allow
        more = demo_ingestion.environment(site, allowed)
        with _running(running) if running else _server(port, data, keep, more) as server:
            client = _client(client_class, server)
            done = demo_ingestion.ingest_and_ask(client, _MODEL, site, console)
            if isinstance(done, demo_ingestion.Unready):
                _say_how_to_make_ready(server, done, site)
            else:
                _say_what_next(server, data, stays=keep or running is not None)
                _say_where_to_look(data)
    if done is not True:
        raise typer.Exit(1)


def _client(client_class: "type[AzureOpenAI]", server: Announcement) -> "AzureOpenAI":
    return client_class(
        azure_endpoint=server.endpoint, api_key=server.api_key, api_version=server.api_version
    )


def _end_in_order_on_signals() -> None:
    """Whatever ends this command, its server ends too."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _frame: sys.exit(128 + number))


def _fetch_model(data: Path, model: str) -> None:
    from linarite.engines.installed import find_model  # late: it loads for a while

    if find_model(load_settings(None, data=data).resolved_models_dir, model) is None:
        command = [sys.executable, "-m", "linarite", "models", "pull", model, "--data", str(data)]
        if subprocess.run(command, check=False).returncode != 0:
            raise typer.Exit(1)


def _log_file(data: Path) -> Path:
    return data / "demo.log"


def _sdk() -> "type[AzureOpenAI] | None":
    try:
        from openai import AzureOpenAI
    except ImportError:
        return None
    return AzureOpenAI


def _free_port(wanted: int) -> int:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", wanted))
        except OSError:
            console.print(f"[yellow]Port {wanted} is taken; taking a free one.[/]")
            return 0
    return wanted


@contextmanager
def _running(server: Announcement) -> Iterator[Announcement]:
    """Somebody else's server, which goes on after the block."""
    console.print(f"[bold]Server[/]   {server.endpoint}, which was up already")
    yield server


@contextmanager
def _server(
    port: int, data: Path, keep: bool, more: Mapping[str, str] = MappingProxyType({})
) -> Iterator[Announcement]:
    """A server over `data` that ends with the block, unless it is kept.

    `more` is of its environment, beside this one's.
    """
    with tempfile.TemporaryDirectory() as folder:
        ready_file = Path(folder) / "ready.json"
        began = time.monotonic()
        process = _start(_free_port(port), data, ready_file, more)
        try:
            server = _wait_until_ready(process, ready_file, _log_file(data))
            took = time.monotonic() - began
            console.print(f"[bold]Server[/]   {server.endpoint}, ready in {took:.1f} s")
            yield server
        except BaseException:
            keep = False
            raise
        finally:
            if not keep:
                _end(process)


def _start(
    port: int, data: Path, ready_file: Path, more: Mapping[str, str]
) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "linarite", "serve", "--port", str(port)]
    command += ["--data", str(data), "--ready-file", str(ready_file)]
    data.mkdir(parents=True, exist_ok=True)
    # a new server prints its key: the log is for its owner alone
    log = os.open(_log_file(data), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        return subprocess.Popen(
            command,
            env={**os.environ, **more},
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
    finally:
        os.close(log)


def _wait_until_ready(
    process: "subprocess.Popen[bytes]", ready_file: Path, log_file: Path
) -> Announcement:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        if ready_file.exists():
            return Announcement(**json.loads(ready_file.read_text()))
        if process.poll() is not None:
            break
        time.sleep(0.05)
    last_words = "\n".join(log_file.read_text(errors="replace").splitlines()[-15:])
    console.print(f"[red]The server did not start.[/] Its last words ({log_file}):")
    console.print(last_words, markup=False)
    raise typer.Exit(1)


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(timeout=15)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)


def _questions() -> list[str]:
    """The shipped lines of a batch's input."""
    file = resources.files("linarite.cli") / "demo_data" / "questions.jsonl"
    return file.read_text().splitlines()


def _run_batch(client: "AzureOpenAI", lines: list[str], log_file: Path) -> tuple["Batch", float]:
    """Upload the questions, run them, and say how long the answering took, in seconds."""
    content = "\n".join(lines).encode()
    upload = client.files.create(file=("questions.jsonl", content), purpose="batch")
    console.print(f"[bold]File[/]     {upload.id}, {upload.bytes:,} bytes, {upload.status}")
    batch = client.batches.create(
        input_file_id=upload.id, endpoint="/v1/chat/completions", completion_window="24h"
    )
    console.print(f"[bold]Batch[/]    {batch.id}")
    columns = (
        TextColumn("[bold]Answers[/] "),
        BarColumn(bar_width=40),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.description}"),
    )
    with Progress(*columns, console=console) as progress:
        return _watch(client, batch, progress, log_file)


def _watch(
    client: "AzureOpenAI", batch: "Batch", progress: Progress, log_file: Path
) -> tuple["Batch", float]:
    """Show how far the batch is until it is over; it, and how long the answering took."""
    task = progress.add_task("", total=None)
    began = time.monotonic()
    moved, done, is_told = began, 0, False
    while True:
        now = time.monotonic()
        if counts := batch.request_counts:
            before, done = done, counts.completed + counts.failed
            moved = now if done != before else moved
            progress.update(task, total=counts.total or None, completed=done)
        progress.update(task, description=_stage(batch.status, done))
        if batch.status in _FINAL:
            return batch, now - began
        if batch.status == "validating":
            began = now
        if now - moved > _PATIENCE_SECONDS and not is_told:
            is_told = True
            progress.console.print(f"No answer for a minute; why may stand in {log_file}")
        time.sleep(0.2)
        batch = client.batches.retrieve(batch.id)


def _stage(status: str, done: int) -> str:
    if status == "in_progress":
        return "answering" if done else "starting the model"
    return status


def _show(client: "AzureOpenAI", lines: list[str], batch: "Batch", seconds: float) -> None:
    if batch.status != "completed" or not batch.output_file_id:
        console.print(f"[red]The batch ended as {batch.status}.[/]")
        for error in (batch.errors and batch.errors.data) or ():
            console.print(f"{error.code}: {error.message}", markup=False)
        return
    asked = {
        line["custom_id"]: line["body"]["messages"][-1]["content"]
        for line in map(json.loads, lines)
    }
    text = client.files.content(batch.output_file_id).text
    answers = [json.loads(line) for line in text.splitlines()]
    table = Table(show_lines=True, header_style="bold", width=min(console.width, 110))
    table.add_column("Question", ratio=2)
    table.add_column("Answer", ratio=3)
    for answer in answers[:: max(1, len(answers) // _SHOWN)][:_SHOWN]:
        content = answer["response"]["body"]["choices"][0]["message"]["content"]
        table.add_row(escape(asked[answer["custom_id"]]), escape(" ".join(content.split())))
    console.print(table)
    tokens = sum(a["response"]["body"]["usage"]["completion_tokens"] for a in answers)
    counts = batch.request_counts
    if counts:
        console.print(
            f"[bold]{counts.completed} answered, {counts.failed} failed[/] of {counts.total} in "
            f"{seconds:.1f} s: {tokens:,} tokens written, {tokens / seconds:.0f} tokens/s"
        )


def _say_how_to_tune_again(data: Path, dpo: bool) -> None:
    again = _command("demo", "--data", data, *(["--dpo"] if dpo else []), "--again")
    console.print(f"\nTune again:\n\n    {again}", soft_wrap=True)


def _say_what_next(server: Announcement, data: Path, *, stays: bool) -> None:
    if stays:
        console.print(
            f"\nThe server stays up: {server.endpoint}\n"
            f"Point a shell at it:  eval $({_command('env', '--data', data)})\n"
            f"End it:               kill {server.pid}",
            soft_wrap=True,
        )
    else:
        serve_again = _command("serve", "--data", data)
        console.print(f"\nServe the same data again:\n\n    {serve_again}", soft_wrap=True)


def _say_how_to_make_ready(
    server: Announcement, unready: demo_ingestion.Unready, site: str
) -> None:
    console.print(
        f"[red]The server takes no job of the demo:[/] {escape(unready.reason)}\n"
        "It was started without the demo's folder and site. End it "
        f"(kill {server.pid}) and run this again, which starts one that has them; or start it with "
        "these settings:\n",
        soft_wrap=True,
    )
    console.print(demo_ingestion.toml(site), markup=False, soft_wrap=True)


def _say_where_to_look(data: Path) -> None:
    console.print(
        "\nLook at what was ingested; own documents: docs/how-to/ingestion.md\n\n"
        f"    eval $({_command('env', '--data', data)})\n"
        f"    {_command('ingestion', 'documents', demo_ingestion.DOCUMENTS)}\n"
        f"    {_command('ingestion', 'run', demo_ingestion.SITE)}\n\n"
        "Search it without a model, with azure-search-documents:\n",
        soft_wrap=True,
    )
    console.print(demo_ingestion.SEARCH, markup=False, soft_wrap=True)


def _command(*arguments: str | Path) -> str:
    """A command of ours as it can be typed here: with its path, and the models' folder."""
    program = Path(sys.executable).with_name("linarite")
    is_on_path = shutil.which(program.name) == str(program)
    words = [program.name if is_on_path else program, *arguments]
    given = os.environ.get("LINARITE_MODELS_DIR")
    setting = f"LINARITE_MODELS_DIR={shlex.quote(_short(given))} " if given else ""
    return setting + shlex.join(_short(str(word)) for word in words)


def _short(path: str) -> str:
    """The path from here, where it is below."""
    here = Path.cwd()
    is_below = Path(path).is_absolute() and Path(path).is_relative_to(here)
    return str(Path(path).relative_to(here)) if is_below else path
