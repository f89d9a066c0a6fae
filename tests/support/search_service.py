"""A stand-in for Azure AI Search on loopback: it keeps indexes and documents, and is strict.

Each request's body is held against the shapes that the vendor publishes (`search_shapes.json`); one
that does not fit is answered 400 and noted in `misfits`, which a test expects to be empty.
"""

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import jsonschema

KEY = "the-key-of-the-search-service"
_SHAPES = json.loads((Path(__file__).parent / "search_shapes.json").read_text())
_DOCUMENT_BYTES = 16 << 20


@dataclass
class Refusal:
    """An answer that the stand-in gives instead of doing what it was asked.

    Args:
        path: a part of the path that it is given for.
        times: how often.
        after: so many are answered first.
    """

    path: str
    status: int
    times: int = 1
    headers: dict[str, str] = field(default_factory=dict)
    message: str = "scripted"
    after: int = 0


@dataclass
class SearchService:
    """The running stand-in, and what was asked of it."""

    url: str = ""
    indexes: dict[str, dict[str, Any]] = field(default_factory=dict)
    documents: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    refusals: list[Refusal] = field(default_factory=list)
    document_statuses: dict[str, list[int]] = field(default_factory=dict)
    """Statuses that the next writes of a document get, by its key."""
    found: list[dict[str, Any]] | None = None
    """What every search finds, with scores; None: all documents."""
    told: int | None = None
    """How many a search without a filter tells that there are; None: as many as it finds."""
    seen: list[tuple[str, str, Any]] = field(default_factory=list)
    """Method, path and body of each request, refused ones too."""
    misfits: list[str] = field(default_factory=list)

    def bodies(self, path: str) -> list[Any]:
        """The bodies that were sent to paths that end so."""
        return [body for _method, seen, body in self.seen if seen.endswith(path)]


@contextmanager
def search_service() -> Iterator[SearchService]:
    """Run the stand-in until the block ends; nothing may have been sent amiss by then."""
    service = SearchService()

    class Handler(_Handler):
        state = service

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    service.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield service
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert service.misfits == []


class _Handler(BaseHTTPRequestHandler):
    state: SearchService
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer()

    do_POST = do_PUT = do_DELETE = do_GET

    def log_message(self, *_args: object) -> None:
        """Say nothing."""

    def _answer(self) -> None:
        raw = self.rfile.read(int(self.headers.get("content-length") or 0))
        path = unquote(urlsplit(self.path).path)
        body = json.loads(raw) if raw else None
        self.state.seen.append((self.command, path, body))
        status, answer, headers = self._decided(path, body, len(raw))
        content = b"" if answer is None else json.dumps(answer).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _decided(self, path: str, body: Any, size: int) -> tuple[int, Any, dict[str, str]]:
        if self.headers.get("api-key") != KEY:
            return 403, _error("", "Access denied due to invalid key."), {}
        if "api-version=" not in self.path:
            self.state.misfits.append(f"{path}: no api-version")
        for refusal in self.state.refusals:
            if refusal.path in path and refusal.after > 0:
                refusal.after -= 1
            elif refusal.path in path and refusal.times > 0:
                refusal.times -= 1
                return refusal.status, _error("", refusal.message), refusal.headers
        if size > _DOCUMENT_BYTES:
            return 413, _error("", "The request is too large."), {}
        return (*self._done(path, body), {})

    def _done(self, path: str, body: Any) -> tuple[int, Any]:
        named = re.fullmatch(r"/indexes\('([^']+)'\)(/.+)?", path)
        if named is None:
            return self._made(body)
        name, rest = named.groups()
        if name not in self.state.indexes:
            return 404, _error("", f"No index with the name '{name}' was found.")
        match self.command, rest:
            case "GET", None:
                return 200, self.state.indexes[name]
            case "DELETE", None:
                del self.state.indexes[name], self.state.documents[name]
                return 204, None
            case "GET", "/docs/$count":
                return 200, len(self.state.documents[name])
            case "POST", "/docs/search.index":
                return self._indexed(name, body)
            case "POST", "/docs/search.post.search":
                return self._searched(name, body)
        return 404, _error("", f"{self.command} {path} is not known")

    def _made(self, body: Any) -> tuple[int, Any]:
        self._check("SearchIndex", body)
        if body["name"] in self.state.indexes:
            return 409, _error("ResourceNameAlreadyInUse", "The index exists already.")
        self.state.indexes[body["name"]] = body
        self.state.documents[body["name"]] = {}
        return 201, body

    def _indexed(self, name: str, body: Any) -> tuple[int, Any]:
        self._check("IndexBatch", body)
        results = [self._written(name, dict(action)) for action in body["value"]]
        status = 200 if all(result["status"] for result in results) else 207
        return status, {"value": results}

    def _written(self, name: str, action: dict[str, Any]) -> dict[str, Any]:
        key, kind = action["id"], action.pop("@search.action")
        unknown = set(action) - {field["name"] for field in self.state.indexes[name]["fields"]}
        if unknown:
            self.state.misfits.append(f"{key}: fields {sorted(unknown)} are not in the index")
        scripted = self.state.document_statuses.get(key)
        if scripted:
            status = scripted.pop(0)
            return {"key": key, "status": False, "errorMessage": "scripted", "statusCode": status}
        if kind == "delete":
            self.state.documents[name].pop(key, None)
        else:
            self.state.documents[name][key] = action
        return {"key": key, "status": True, "errorMessage": None, "statusCode": 200}

    def _searched(self, name: str, body: Any) -> tuple[int, Any]:
        self._check("SearchRequest", body)
        found, asked = self.state.found, body.get("filter", "")
        if found is None:
            found = [{"@search.score": 1.0, **it} for it in self.state.documents[name].values()]
        if between := re.fullmatch(r"parent_id ge '(.+)' and parent_id lt '(.+)'", asked):
            found = [it for it in found if between[1] <= it["parent_id"] < between[2]]
        count = self.state.told if self.state.told and not asked else len(found)
        counted = {"@odata.count": count} if body.get("count") else {}
        return 200, {"value": found[: body.get("top")], **counted}

    def _check(self, shape: str, body: Any) -> None:
        schema = {"$ref": f"#/$defs/{shape}", "$defs": _SHAPES["$defs"]}
        errors = jsonschema.Draft202012Validator(schema).iter_errors(body)
        self.state.misfits += [f"{shape}{error.json_path[1:]}: {error.message}" for error in errors]


def _error(code: str, message: str) -> dict[str, Any]:
    return {"error": {"code": code, "message": message}}
