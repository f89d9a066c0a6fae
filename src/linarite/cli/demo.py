"""``linarite demo``: the main job, on the embedded model, through the official SDK.

Starts a server of its own, uploads a file of questions, runs it as a batch, shows the answers.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

if TYPE_CHECKING:
    from openai import AzureOpenAI
    from openai.types import Batch

console = Console(highlight=False)

_SHOWN = 6
_START_SECONDS = 60
_FINAL = {"completed", "failed", "expired", "cancelled"}


def demo(
    port: Annotated[int, typer.Option(help="Where the server listens; another if taken.")] = 8080,
    data: Annotated[Path, typer.Option(help="Its data folder.")] = Path("linarite-data"),
    keep: Annotated[bool, typer.Option(help="Leave the server up at the end.")] = False,
) -> None:
    """Run a batch of real questions on the embedded model and show the answers."""
    if (client_class := _sdk()) is None:
        console.print("The demo speaks through the official SDK: pip install 'linarite\\[demo]'")
        raise typer.Exit(1)
    with _server(_free_port(port), data, keep) as ready:
        client = client_class(
            azure_endpoint=ready["endpoint"],
            api_key=ready["api_key"],
            api_version=ready["api_version"],
        )
        batch, seconds = _run_batch(client)
        _show(client, batch, seconds)
        _say_what_next(ready, data, keep)
    if batch.status != "completed":
        raise typer.Exit(1)


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
def _server(port: int, data: Path, keep: bool) -> Iterator[dict[str, Any]]:
    """A server over `data`, ended with the block unless it is kept."""
    with tempfile.TemporaryDirectory() as folder:
        ready_file = Path(folder) / "ready.json"
        command = [sys.executable, "-m", "linarite", "serve", "--port", str(port)]
        command += ["--data", str(data), "--ready-file", str(ready_file)]
        log_file = data / "demo.log"
        data.mkdir(parents=True, exist_ok=True)
        with log_file.open("ab") as log:
            process = subprocess.Popen(
                command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True
            )
        try:
            began = time.monotonic()
            ready = _wait_until_ready(process, ready_file, log_file)
            took = time.monotonic() - began
            console.print(f"[bold]Server[/]   {ready['endpoint']}, ready in {took:.1f} s")
            yield ready
        except BaseException:
            keep = False
            raise
        finally:
            if not keep:
                _end(process)


def _wait_until_ready(
    process: "subprocess.Popen[bytes]", ready_file: Path, log_file: Path
) -> dict[str, Any]:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        if ready_file.exists():
            return dict(json.loads(ready_file.read_text()))
        if process.poll() is not None:
            break
        time.sleep(0.05)
    last_words = "\n".join(log_file.read_text(errors="replace").splitlines()[-15:])
    console.print(f"[red]The server did not start.[/] Its last words ({log_file}):\n{last_words}")
    raise typer.Exit(1)


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(timeout=15)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)


def _run_batch(client: "AzureOpenAI") -> tuple["Batch", float]:
    """Upload the questions, run them, and say how long the answering took, in seconds."""
    questions = resources.files("linarite.cli") / "demo_data" / "questions.jsonl"
    upload = client.files.create(file=("questions.jsonl", questions.read_bytes()), purpose="batch")
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
    began = time.monotonic()
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(batch.status, total=None)
        while batch.status not in _FINAL:
            time.sleep(0.2)
            batch = client.batches.retrieve(batch.id)
            if batch.status == "validating":
                began = time.monotonic()
            if counts := batch.request_counts:
                done = counts.completed + counts.failed
                progress.update(task, total=counts.total or None, completed=done)
            progress.update(task, description=batch.status)
    return batch, time.monotonic() - began


def _show(client: "AzureOpenAI", batch: "Batch", seconds: float) -> None:
    if batch.status != "completed" or not batch.output_file_id:
        console.print(f"[red]The batch ended as {batch.status}.[/] {batch.errors}")
        return
    asked = {line["custom_id"]: line["body"]["messages"][-1]["content"] for line in _questions()}
    text = client.files.content(batch.output_file_id).text
    answers = [json.loads(line) for line in text.splitlines()]
    table = Table(show_lines=True, header_style="bold", width=min(console.width, 110))
    table.add_column("Question", ratio=2)
    table.add_column("Answer", ratio=3)
    for answer in answers[:: max(1, len(answers) // _SHOWN)][:_SHOWN]:
        content = answer["response"]["body"]["choices"][0]["message"]["content"]
        table.add_row(asked[answer["custom_id"]], " ".join(content.split()))
    console.print(table)
    tokens = sum(a["response"]["body"]["usage"]["completion_tokens"] for a in answers)
    counts = batch.request_counts
    if counts:
        console.print(
            f"[bold]{counts.completed} answered, {counts.failed} failed[/] of {counts.total} in "
            f"{seconds:.1f} s: {tokens:,} tokens written, {tokens / seconds:.0f} tokens/s"
        )


def _questions() -> list[dict[str, Any]]:
    text = (resources.files("linarite.cli") / "demo_data" / "questions.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()]


def _say_what_next(ready: dict[str, Any], data: Path, keep: bool) -> None:
    if keep:
        console.print(
            f"\nThe server stays up: {ready['endpoint']}  (its key: {data / 'api-key'})\n"
            f"End it with: kill {ready['pid']}"
        )
        return
    console.print(
        f"\nServe the same data again:   linarite serve --data {data}\n"
        "A model of your own:         linarite models add …   (README, “A real model”)"
    )
