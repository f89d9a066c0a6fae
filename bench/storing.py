"""What does it cost a chat to be stored?

The same chat, stored and not, in turn on one connection. On the engine that costs nothing: how
much later its last byte comes, on SQLite and on PostgreSQL, whole and streamed, alone and while
eight others chat as fast as they are answered. On the embedded engine: what that is of a chat of 64
tokens.
"""

import argparse
import asyncio
import json
import multiprocessing
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.client import HTTPConnection
from multiprocessing.synchronize import Event
from pathlib import Path

import aiohttp
import uvloop
from tests.support.postgres import running_postgres

from bench import lean_client, script
from bench.measure import Finding, Limit, compared, interleaved, percentile, quantity
from bench.processes import scripted_engine
from bench.servers import Linarite, linarite, upstream_model

MODEL = "smollm2-135m-instruct"
_ADDED = Limit(at_most=0.5)
_SHARE = Limit(at_most=1.02)
_TOKENS = 64
_OTHERS = 8
_WARM_UP = 50
_STORED = {
    "store": True,
    "metadata": {"run": "2026-05", "kind": "science", "user": "somebody"},
}

Pair = tuple[list[float], list[float]]
"""Milliseconds of stored chats and of those that are not, asked in turn."""


def measure(options: argparse.Namespace, folder: Path) -> list[Finding]:
    """The engine that costs nothing over both databases, and the embedded one."""
    with scripted_engine(folder / "scripted") as base_url:
        config = upstream_model("chat", base_url)
        with linarite(folder / "sqlite", config) as server:
            findings = _on_no_cost("SQLite", server, options, limit=_ADDED)
        with (
            running_postgres(Path("/tmp")) as postgres,
            postgres.database() as url,
            linarite(folder / "pg", config, database_url=url) as server,
        ):
            findings += _on_no_cost("PostgreSQL", server, options, limit=None)
    with linarite(folder / "embedded") as server:
        findings.append(_on_embedded(server, options))
    return findings


def _on_no_cost(
    database: str, server: Linarite, options: argparse.Namespace, limit: Limit | None
) -> list[Finding]:
    body = {"messages": [{"role": "user", "content": "Why is the sky blue?"}]}
    what = f"{database}: what storing adds to a"
    findings = []
    for form, is_streamed in (("whole", False), ("streamed", True)):
        pairs = _pairs(server, "chat", body | {"stream": is_streamed}, options, options.chats)
        findings += _added(f"{what} {form} chat on a zero-cost engine", pairs, limit)
    with _others_chatting(server, "chat", body):
        pairs = _pairs(server, "chat", body, options, options.chats // 4)
    return findings + _added(f"{what} whole chat while {_OTHERS} others chat", pairs, None)


def _added(what: str, pairs: Sequence[Pair], limit: Limit | None) -> list[Finding]:
    """How much more the median and the p95 of stored chats are."""
    return [
        quantity(
            f"{what}, {name}",
            [percentile(stored, share) - percentile(plain, share) for stored, plain in pairs],
            unit="ms",
            limit=bound,
            note=f"not stored {statistics.median(percentile(of[1], share) for of in pairs):.2g} ms",
        )
        for name, share, bound in (("median", 0.5, None), ("p95", 0.95, limit))
    ]


def _on_embedded(server: Linarite, options: argparse.Namespace) -> Finding:
    body = {
        "messages": [{"role": "user", "content": "Tell me about the sea."}],
        "max_tokens": _TOKENS,
        "temperature": 0,
    }
    connection = lean_client.connect(server)
    plain = _asking(connection, server, MODEL, body)
    stored = _asking(connection, server, MODEL, body | _STORED)
    plain(), stored()  # start the engine
    pairs = interleaved(stored, plain, options.long_chats)
    connection.close()
    return compared(
        f"chat of {_TOKENS} tokens on the embedded engine, stored against not",
        pairs,
        limit=_SHARE,
        unit="ms",
        names=("stored", "not stored"),
    )


@contextmanager
def _others_chatting(server: Linarite, model: str, body: dict[str, object]) -> Iterator[None]:
    """Chats of others, while the block lasts, from a process of their own."""
    context = multiprocessing.get_context("spawn")
    begun = context.Event()
    url = server.endpoint + _path(server, model)
    others = context.Process(target=_chat_on, args=(url, server.api_key, body, begun), daemon=True)
    others.start()
    begun.wait()
    try:
        yield
    finally:
        others.terminate()
        others.join()


def _chat_on(url: str, api_key: str, body: dict[str, object], begun: Event) -> None:
    async def ask(session: aiohttp.ClientSession) -> None:
        while True:
            async with session.post(url, json=body) as answer:
                await answer.read()
            begun.set()

    async def ask_all() -> None:
        async with aiohttp.ClientSession(headers={"api-key": api_key}) as session:
            await asyncio.gather(*(ask(session) for _ in range(_OTHERS)))

    uvloop.run(ask_all())


def _pairs(
    server: Linarite, model: str, body: dict[str, object], options: argparse.Namespace, chats: int
) -> list[Pair]:
    connection = lean_client.connect(server)
    plain = _asking(connection, server, model, body)
    stored = _asking(connection, server, model, body | _STORED)
    for _ in range(min(_WARM_UP, chats)):
        stored(), plain()
    pairs = []
    for _ in range(options.pairs):
        one: Pair = ([], [])
        for _ in range(chats):
            one[0].append(stored())
            one[1].append(plain())
        pairs.append(one)
    connection.close()
    return pairs


def _asking(
    connection: HTTPConnection, server: Linarite, model: str, body: dict[str, object]
) -> Callable[[], float]:
    """What asks once and tells the milliseconds to the last byte."""
    path, sent = _path(server, model), json.dumps(body)
    headers = {"api-key": server.api_key, "content-type": "application/json"}

    def ask() -> float:
        began = time.perf_counter()
        connection.request("POST", path, sent, headers)
        answer = connection.getresponse()
        said = answer.read()
        taken = (time.perf_counter() - began) * 1e3
        if answer.status != 200 or answer.headers.get("x-linarite-stored"):
            raise RuntimeError(f"POST {path}: {answer.status} {said[:300]!r}")
        return taken

    return ask


def _path(server: Linarite, model: str) -> str:
    return server.path(f"/deployments/{model}/chat/completions")


if __name__ == "__main__":
    options = script.parser(__doc__, chats=1_000, long_chats=60).parse_args()
    script.run("storing", options, measure)
