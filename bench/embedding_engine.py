"""An embedding model that costs nothing: ``python -m bench.embedding_engine READY_FILE``.

It answers in OpenAI's dialect with one of a few vectors made beforehand, and counts what it is
asked: ``GET /count`` tells the texts so far.
"""

import argparse
import base64
import json
import random
import zlib
from array import array
from pathlib import Path

import orjson
import uvloop
from aiohttp import web

from bench.processes import free_port

DIMENSIONS = 384
_VECTORS = 64
_MOST_BYTES = 64 << 20


def main() -> None:
    """Serve until the process is ended."""
    parser = argparse.ArgumentParser()
    parser.add_argument("ready", type=Path)
    options = parser.parse_args()
    app = web.Application(client_max_size=_MOST_BYTES)
    engine = _Engine()
    app.add_routes([web.post("/v1/embeddings", engine.embed), web.get("/count", engine.tell)])
    port = free_port()

    async def note(_app: web.Application) -> None:
        options.ready.write_text(json.dumps({"url": f"http://127.0.0.1:{port}"}))

    app.on_startup.append(note)
    web.run_app(app, host="127.0.0.1", port=port, loop=uvloop.new_event_loop(), print=None)


class _Engine:
    def __init__(self) -> None:
        drawn = random.Random(1)
        self._vectors = [[drawn.uniform(-1, 1) for _ in range(DIMENSIONS)] for _ in range(_VECTORS)]
        self._packed = [
            base64.b64encode(array("f", vector).tobytes()).decode() for vector in self._vectors
        ]
        self._count = 0

    async def embed(self, request: web.Request) -> web.Response:
        asked = orjson.loads(await request.read())
        texts = [asked["input"]] if isinstance(asked["input"], str) else asked["input"]
        self._count += len(texts)
        shown = self._packed if asked.get("encoding_format") == "base64" else self._vectors
        data = [
            {
                "object": "embedding",
                "index": at,
                "embedding": shown[zlib.crc32(str(text).encode()) % _VECTORS],
            }
            for at, text in enumerate(texts)
        ]
        usage = {"prompt_tokens": len(texts), "total_tokens": len(texts)}
        answer = {"object": "list", "data": data, "model": asked["model"], "usage": usage}
        return web.Response(body=orjson.dumps(answer), content_type="application/json")

    async def tell(self, _request: web.Request) -> web.Response:
        return web.json_response({"texts": self._count})


if __name__ == "__main__":
    main()
