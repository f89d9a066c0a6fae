"""An embeddings endpoint in OpenAI's form, on loopback: it answers with vectors that tell the text
apart, and refuses as it is told to.
"""

import json
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = tuple[int, dict[str, str], Any]
"""Status, headers and body."""


@dataclass
class EmbeddingsService:
    """The running endpoint, and what was asked of it."""

    url: str = ""
    seen: list[tuple[str, dict[str, str], dict[str, Any]]] = field(default_factory=list)
    """Path with its query, headers, and body."""
    answers: list[Answer] = field(default_factory=list)
    """What the next requests get instead of vectors."""
    most_texts: int = 2048
    """A request with more of them gets 400, as Azure's does."""
    most_characters: int = 30_000
    """A text with more of them gets 400."""
    vector: Callable[[str], Sequence[float]] = lambda text: [float(len(text)), 1.0, 0.5]
    pause: Callable[[], None] = lambda: None
    """Called before each answer."""

    @property
    def batches(self) -> list[int]:
        """How many texts each request had."""
        return [len(body["input"]) for _path, _headers, body in self.seen]


@contextmanager
def embeddings_service() -> Iterator[EmbeddingsService]:
    """Run the endpoint until the block ends."""
    service = EmbeddingsService()

    class Handler(_Handler):
        state = service

    server = _Server(("127.0.0.1", 0), Handler)
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


class _Server(ThreadingHTTPServer):
    def handle_error(self, *_args: object) -> None:
        """Say nothing where the caller is gone, which tests kill."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(*_args)


class _Handler(BaseHTTPRequestHandler):
    state: EmbeddingsService
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.state.seen.append((self.path, headers, body))
        self.state.pause()
        status, told, answer = self._decided(body["input"])
        content = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        self.send_response(status)
        for name, value in told.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_args: object) -> None:
        """Say nothing."""

    def _decided(self, texts: list[str]) -> Answer:
        if self.state.answers:
            return self.state.answers.pop(0)
        if len(texts) > self.state.most_texts:
            return refusal(400, f"Too many inputs. The max number is {self.state.most_texts}.")
        if any(len(text) > self.state.most_characters for text in texts):
            return refusal(400, "This model's maximum context length is 8192 tokens")
        return 200, {}, vectors([self.state.vector(text) for text in texts])


def vectors(given: Sequence[Sequence[float]]) -> dict[str, Any]:
    """The body of an answer; the last comes first, as an order is not promised."""
    data = [
        {"object": "embedding", "index": place, "embedding": list(vector)}
        for place, vector in enumerate(given)
    ]
    return {"object": "list", "data": data[::-1], "model": "m", "usage": {"prompt_tokens": 1}}


def refusal(status: int, message: str = "scripted", **headers: str) -> Answer:
    """An error in OpenAI's form; header names are written with underscores."""
    told = {name.replace("_", "-"): value for name, value in headers.items()}
    return status, told, {"error": {"message": message, "code": str(status)}}
