"""``linarite demo --ingest``: a museum's documents and its web site, ingested and asked.

A folder of nine formats and a small site, which is served here on loopback, become an index each.
Questions are then answered from them through `data_sources`, with what they were answered from.
"""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
from rich.progress import TimeElapsedColumn as Elapsed
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from openai import AzureOpenAI

EMBEDDING = "all-minilm-l6-v2"
DATASET = "museum_of_the_demo"
DOCUMENTS, SITE = "museum", "museum-site"
"""The jobs; their indexes are called the same, and `-index`."""

_SITE_PORT = 8077
_LOOK_SECONDS = 0.2
_FINAL = {"succeeded", "failed"}
_CHUNK_TOKENS, _DOCUMENTS_SHOWN, _ANSWER_TOKENS = 64, 3, 60
"""Little is read at once, for the embedded model loses its way in more."""
_ROLE = (
    "You answer questions about documents in one short sentence, with the words of the documents."
)
QUESTIONS = (
    (DOCUMENTS, "How late is the museum open on Thursdays?"),
    (DOCUMENTS, "Who leads the tour about the stones of the pharmacy?"),
    (DOCUMENTS, "What does a garnet necklace cost in the shop?"),
    (DOCUMENTS, "What is the catalogue number of the linarite?"),
    (SITE, "What did the boy give to the grey woman?"),
    (SITE, "What is the cake of the house in the café?"),
    (DOCUMENTS, "How do I change the oil of a motorcycle?"),
)
"""Which index is asked, and what; the last is answered by nothing in it."""
SEARCH = """\
    import os
    from azure.core.credentials import AzureKeyCredential
    from azure.search.documents import SearchClient

    key = AzureKeyCredential(os.environ["AZURE_OPENAI_API_KEY"])
    server = os.environ["AZURE_OPENAI_ENDPOINT"]
    index = SearchClient(server, "museum-index", key)
    for found in index.search("which stones glow?", top=3):
        print(found["title"], found["filepath"], found["content"][:60])
"""
_COLOURS = {"indexed": "green", "pending": "yellow", "failed": "red"}


@dataclass(frozen=True)
class Unready:
    """Why a server that was up already takes no job of the demo's."""

    reason: str


@contextmanager
def web_site(console: Console) -> Iterator[str]:
    """Serve the shipped site on loopback for as long as the block lasts; its address."""
    handler = partial(_Quiet, directory=str(_data("site")))
    try:
        server = ThreadingHTTPServer(("127.0.0.1", _SITE_PORT), handler)
    except OSError:
        console.print(f"[yellow]Port {_SITE_PORT} is taken; the site takes a free one.[/]")
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing of requests."""


def environment(site: str, allowed: Sequence[str]) -> dict[str, str]:
    """Settings for a server that is to read the demo's folder and site.

    Args:
        site: the site's address. It is on loopback, where no caller may send a server unless its
            operator, here the demo, opens that one port.
        allowed: what `outbound.allow` opens besides.
    """
    return {
        f"LINARITE_DATASETS__{DATASET}": json.dumps(_dataset()),
        "LINARITE_OUTBOUND__ALLOW": json.dumps([*allowed, _host(site)]),
    }


def toml(site: str) -> str:
    """The same for a settings file."""
    dataset = "\n".join(f"{name} = {json.dumps(value)}" for name, value in _dataset().items())
    return f'[datasets.{DATASET}]\n{dataset}\n\n[outbound]\nallow = ["{_host(site)}"]\n'


def ingest_and_ask(
    client: "AzureOpenAI", model: str, site: str, console: Console
) -> bool | Unready:
    """Ingest both, show what became of them, and ask.

    Args:
        client: of the server.
        model: answers; a chat model that is deployed under its own name.
        site: the site's address.
        console: where it is shown.

    Returns:
        Whether all went well; Unready where the server does not know the folder.
    """
    from openai import BadRequestError  # late: where the SDK is missing, the demo says so

    folder = _data("ingest")
    files = len(list(folder.iterdir()))
    console.print(f"\n[bold]Folder[/]   {files} documents, each in a format of its own")
    try:
        is_well = _ingest(client, DOCUMENTS, _folder_job(), console)
    except BadRequestError as error:
        told = error.body if isinstance(error.body, dict) else {}
        if told.get("target") != "$.datasource.datasetId":
            raise
        return Unready(str(told["message"]))
    console.print(f"\n[bold]Site[/]     {site}")
    has_site = _ingest(client, SITE, _site_job(site), console)
    if not has_site:
        console.print("[yellow]The demo goes on with the folder alone.[/]")
    if is_well:
        asked = [one for one in QUESTIONS if has_site or one[0] == DOCUMENTS]
        _ask(client, model, asked, console)
    return is_well


def _folder_job() -> dict[str, Any]:
    return {
        "kind": "UserCompute",
        "workspaceId": "demo",
        "datasource": {
            "kind": "Dataset",
            "datasetId": DATASET,
            "datasetType": "uri_folder",
            "chunking": {"maxChunkSizeInTokens": _CHUNK_TOKENS},
            "embeddings": [{"deploymentName": EMBEDDING}],
        },
    }


def _site_job(site: str) -> dict[str, Any]:
    here = {"kind": "RelativeConnection"}
    return {
        "kind": "SystemCompute",
        "datasource": {
            "kind": "Urls",
            "urls": [site],
            "crawling": {"maxCrawlDepth": 1, "maxFiles": 20},
            "connection": here,
            "containerName": "demo-pages",
            "chunking": {"maxChunkSizeInTokens": _CHUNK_TOKENS},
            "embeddings": [{"connection": here, "deploymentName": EMBEDDING}],
        },
    }


def _ingest(
    client: "AzureOpenAI", job: str, definition: Mapping[str, Any], console: Console
) -> bool:
    """Put a job, show how its run goes and what became of the documents; whether it succeeded."""
    began = time.monotonic()
    run = _followed(client, _started(client, job, definition, console), console)
    seconds = time.monotonic() - began
    if run["status"] == "failed":
        console.print(f"[red]The run failed.[/] {escape(run['error']['message'])}")
        return False
    listed: Any = client.get(f"/ingestion/jobs/{job}/documents", cast_to=object)
    documents = listed["value"]
    console.print(_became_of(documents, run["runId"]))
    for warning in run.get("warnings", ()):
        console.print(f"[yellow]![/] {escape(warning)}")
    console.print(_sum(documents, run["runId"], seconds))
    return True


def _started(
    client: "AzureOpenAI", job: str, definition: Mapping[str, Any], console: Console
) -> str:
    """Where the run is that a put starts; after one that is open, perhaps of a demo that died."""
    from httpx import Response
    from openai import ConflictError

    path = f"/ingestion/jobs/{job}"
    try:
        answer = client.put(path, cast_to=Response, body=definition)
    except ConflictError:
        runs: Any = client.get(f"{path}/runs", cast_to=object)
        _followed(client, f"{path}/runs/{runs['value'][0]['runId']}", console)
        answer = client.put(path, cast_to=Response, body=definition)
    return answer.headers["operation-location"]


def _followed(client: "AzureOpenAI", address: str, console: Console) -> dict[str, Any]:
    """A run when it has ended; shows its stages on the way."""
    columns = (
        TextColumn("         {task.description:<13}"),
        BarColumn(bar_width=40),
        MofNCompleteColumn(),
        Elapsed(),
    )
    bars: dict[str, TaskID] = {}
    with Progress(*columns, console=console) as progress:
        while True:
            run: Any = client.get(address, cast_to=object)
            for stage in run.get("progress", {}).get("stageProgress", ()):
                name, is_new = stage["name"], stage["name"] not in bars
                if is_new:
                    bars[name] = progress.add_task(name, total=None, start=False)
                if stage["state"] != "notRunning":
                    progress.start_task(bars[name])
                total, done = stage.get("totalItems"), stage.get("processedItems", 0)
                is_over = stage["state"] == "succeeded"  # with fewer links than pages, it may be
                progress.update(bars[name], total=done if is_over else total, completed=done)
            if run["status"] in _FINAL:
                return dict(run)
            time.sleep(_LOOK_SECONDS)


def _became_of(documents: Sequence[Mapping[str, Any]], run_id: str) -> Padding:
    table = Table(header_style="bold", box=None, padding=(0, 2, 0, 0))
    table.add_column("Document", overflow="fold")
    table.add_column("State")
    table.add_column("Chunks", justify="right")
    table.add_column("")
    for one in documents:
        state = Text(one["state"], _COLOURS[one["state"]])
        note = one.get("reason") or ("" if one.get("runId") == run_id else "unchanged")
        table.add_row(escape(one["url"] or one["key"]), state, str(one["chunks"]), escape(note))
    return Padding(table, (1, 0, 1, 9))


def _sum(documents: Sequence[Mapping[str, Any]], run_id: str, seconds: float) -> str:
    chunks = sum(one["chunks"] for one in documents)
    new = sum(one.get("runId") == run_id for one in documents)
    told = f"         [bold]{len(documents)} documents, {chunks} chunks[/]"
    if new == 0:
        return f"{told}, all unchanged, nothing embedded ({seconds:.1f} s)"
    if new < len(documents):
        return f"{told}: {new} new or changed in {seconds:.1f} s, the others as they were"
    return f"{told} in {seconds:.1f} s"


def _ask(
    client: "AzureOpenAI", model: str, asked: Sequence[tuple[str, str]], console: Console
) -> None:
    console.print("\n[bold]Questions[/], answered through data_sources")
    for job, question in asked:
        answer = client.chat.completions.create(
            model=model,
            messages=[{"role": "user", "content": question}],
            max_tokens=_ANSWER_TOKENS,
            extra_body={"data_sources": [data_source(job)]},
        )
        message: Any = answer.choices[0].message
        said = " ".join((message.content or "").split())
        console.print(_shown(question, said, message.context["citations"]))


def data_source(job: str) -> dict[str, Any]:
    """How a chat names the index of a job."""
    return {
        "type": "azure_search",
        "parameters": {
            "index_name": f"{job}-index",
            "query_type": "vector_simple_hybrid",
            "embedding_dependency": {"type": "deployment_name", "deployment_name": EMBEDDING},
            "top_n_documents": _DOCUMENTS_SHOWN,
            "role_information": _ROLE,
        },
    }


def _shown(question: str, answer: str, citations: Sequence[Mapping[str, Any]]) -> Padding:
    """A question with its answer and the documents that were cited, each once."""
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(style="dim", width=8)
    table.add_column(overflow="fold")
    table.add_row("Asked", Text(question, "bold"))
    table.add_row("Answered", Text(answer))
    cited = dict.fromkeys((one["title"], one["url"] or one["filepath"]) for one in citations)
    lines = [place if title in {None, place} else f"{title} · {place}" for title, place in cited]
    table.add_row("Cites", Text("\n".join(lines) or "none", "cyan" if lines else "dim"))
    return Padding(table, (1, 0, 0, 0))


def _data(name: str) -> Path:
    return Path(str(resources.files("linarite.cli") / "demo_data" / name))


def _dataset() -> dict[str, str]:
    return {"type": "uri_folder", "path": str(_data("ingest"))}


def _host(site: str) -> str:
    return site.removeprefix("http://").rstrip("/")
