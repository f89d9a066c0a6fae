"""A server that loads adapters while it runs: as far as that goes, vLLM."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web


class AdapterServer:
    """404 for what it has not loaded, 400 for what it has."""

    def __init__(self) -> None:
        self.loaded: dict[str, str] = {}
        self.told: list[dict[str, str]] = []
        self.unloaded: list[dict[str, str]] = []
        self.takes = True

    async def load(self, request: web.Request) -> web.Response:
        asked = await request.json()
        self.told.append(asked)
        if not self.takes:
            return web.json_response({"error": "cannot read /secret"}, status=500)
        if asked["lora_name"] in self.loaded:
            return web.json_response({"error": "has already been loaded"}, status=400)
        self.loaded[asked["lora_name"]] = asked["lora_path"]
        return web.Response(text="Success")

    async def unload(self, request: web.Request) -> web.Response:
        asked = await request.json()
        if not self.takes:
            return web.json_response({"error": "no"}, status=500)
        self.unloaded.append(asked)
        if self.loaded.pop(asked["lora_name"], None) is None:
            return web.json_response({"error": "cannot be found"}, status=404)
        return web.Response(text="Success")

    async def chat(self, request: web.Request) -> web.Response:
        asked = await request.json()
        if asked["model"] not in self.loaded:
            return web.json_response({"error": {"message": "no such model"}}, status=404)
        return web.json_response({"model": asked["model"]})

    @asynccontextmanager
    async def running(self) -> AsyncIterator[str]:
        """Listen until the block ends; gives its address."""
        app = web.Application()
        app.add_routes(
            [
                web.post("/v1/load_lora_adapter", self.load),
                web.post("/v1/unload_lora_adapter", self.unload),
                web.post("/v1/chat/completions", self.chat),
            ]
        )
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        try:
            yield f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
        finally:
            await runner.cleanup()
