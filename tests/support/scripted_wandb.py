"""A stand-in for Weights & Biases on loopback: as much of its API as wandb's client uses for a run.

It keeps what it is told, as the service does: what history lines are sent stand at their offsets,
and a run of an id that it knows is gone on with. A key that is not its own it refuses. Its answers
follow the client's queries; the real service was never seen behind them.
"""

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import psutil

API_KEY = "0123456789abcdef0123456789abcdef01234567"
_AUTHORIZATION = "Basic " + base64.b64encode(f"api:{API_KEY}".encode()).decode()


@dataclass
class KeptRun:
    """What it knows of a run."""

    entity: str
    project: str
    name: str
    tags: list[str]
    config: dict[str, Any]
    history: dict[int, dict[str, Any]] = field(default_factory=dict)
    """Lines by their offsets."""
    summary: dict[str, Any] = field(default_factory=dict)
    exit_code: int | None = None
    begun: int = 0
    """How often it was begun or gone on with."""

    @property
    def steps(self) -> list[int]:
        """The steps of its lines, in the order of these."""
        return [self.history[offset]["_step"] for offset in sorted(self.history)]


class ScriptedWandb:
    """A running stand-in."""

    def __init__(self) -> None:
        self.url = ""
        self.hangs = threading.Event()
        """Set: it answers nothing any more."""
        self.closing = threading.Event()
        self.runs: dict[str, KeptRun] = {}
        self.keys: set[str] = set()
        """What it was shown as authorization."""

    def graphql(self, asked: dict[str, Any]) -> dict[str, Any]:
        """The data of an answer."""
        variables, query = asked.get("variables") or {}, asked["query"]
        if "UpsertBucket" in query:
            return self._upsert(variables)
        if "RunResumeStatus" in query:
            return self._resume(variables)
        if "ServerFeaturesQuery" in query:
            return {"serverInfo": {"features": []}}
        if "CreateRunFiles" in query:
            return {"createRunFiles": {"runID": "1", "uploadHeaders": [], "files": []}}
        viewer = {"id": "1", "entity": "me", "username": "me", "email": "", "flags": "{}"}
        return {"viewer": {**viewer, "teams": {"edges": []}}, "serverInfo": {}}

    def stream(self, run_id: str, told: dict[str, Any]) -> None:
        """Keep what the file stream brings."""
        run, files = self.runs[run_id], told.get("files") or {}
        if lines := files.get("wandb-history.jsonl"):
            for place, line in enumerate(lines["content"]):
                run.history[lines["offset"] + place] = json.loads(line)
        if summary := files.get("wandb-summary.json"):
            run.summary = json.loads(summary["content"][-1])
        if told.get("complete"):
            run.exit_code = told.get("exitcode")

    def _upsert(self, told: dict[str, Any]) -> dict[str, Any]:
        run_id, config = told["name"], json.loads(told.get("config") or "{}")
        run = self.runs.get(run_id)
        is_new = run is None
        if run is None:
            project, entity = told["project"], told.get("entity") or "me"
            name = told.get("displayName") or run_id
            run = KeptRun(entity, project, name, told.get("tags") or [], {})
            self.runs[run_id] = run
        run.begun += 1
        run.config |= config
        return {"upsertBucket": {"bucket": self._bucket(run_id, run), "inserted": is_new}}

    def _resume(self, told: dict[str, Any]) -> dict[str, Any]:
        run = self.runs.get(told["name"])
        model = {"name": told["project"], "entity": {"name": "me"}, "bucket": None}
        if run is not None:
            model["bucket"] = self._bucket(told["name"], run)
        return {"model": model}

    def _bucket(self, run_id: str, run: KeptRun) -> dict[str, Any]:
        last = [json.dumps(run.history[max(run.history)])] if run.history else []
        project = {"id": "1", "name": run.project, "entity": {"id": "1", "name": run.entity}}
        return {
            "id": "1",
            "name": run_id,
            "displayName": run.name,
            "description": None,
            "config": json.dumps(run.config),
            "sweepName": None,
            "project": project,
            "historyLineCount": len(run.history),
            "logLineCount": 0,
            "eventsLineCount": 0,
            "historyTail": json.dumps(last),
            "eventsTail": "[]",
            "summaryMetrics": json.dumps(run.summary),
            "tags": run.tags,
            "notes": None,
            "wandbConfig": '{"t": 1}',  # it was begun
        }


def trackers_of(worker: psutil.Process) -> set[int]:
    """What a worker tells of runs by: the processes, and the clients' own."""
    started = [one for one in worker.children() if "linarite.tracking" in one.cmdline()]
    return {one.pid for first in started for one in (first, *first.children(recursive=True))}


@contextmanager
def scripted_wandb() -> Iterator[ScriptedWandb]:
    """Run a stand-in until the block ends."""
    stand_in = ScriptedWandb()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            stand_in.keys.add(self.headers.get("authorization") or "")
            if stand_in.hangs.is_set():
                stand_in.closing.wait()
                return
            if self.headers.get("authorization") != _AUTHORIZATION:
                self._answer({"errors": [{"message": "user is not logged in"}]}, 401)
            elif self.path == "/graphql":
                self._answer({"data": stand_in.graphql(json.loads(body))})
            else:
                parts = self.path.split("/")
                stand_in.stream(parts[parts.index("file_stream") - 1], json.loads(body))
                self._answer({})

        def _answer(self, told: dict[str, Any], status: int = 200) -> None:
            body = json.dumps(told).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    stand_in.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield stand_in
    finally:
        stand_in.closing.set()
        server.shutdown()
        thread.join()
        server.server_close()
