"""Chats asked of any server in OpenAI's dialect, by a client that costs next to nothing."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import aiohttp
import orjson
import uvloop


@dataclass(frozen=True)
class Way:
    """One way to an engine: straight, or through a server.

    Args:
        name: for the reader.
        url: where chats are posted.
        headers: with the key, where one is wanted.
        model: who is asked.
    """

    name: str
    url: str
    headers: dict[str, str]
    model: str


@dataclass(frozen=True)
class Asked:
    """What a number of chats took, in seconds."""

    first_bytes: list[float]
    """Of each, from the request to the first byte of the answer's body."""
    in_all: float

    @property
    def chats(self) -> int:
        """How many there were."""
        return len(self.first_bytes)


def ask(
    way: Way,
    text: str,
    count: int,
    *,
    at_once: int,
    stream: bool = False,
    spread_seconds: float = 0.0,
) -> Asked:
    """Ask `count` times, once the connections are open.

    Args:
        way: who is asked.
        text: the chat's one message.
        count: how many chats.
        at_once: how many of them are out at the same time.
        stream: whether answers come as they are made.
        spread_seconds: within this time the first chats begin, evenly one after the other.

    Raises:
        RuntimeError: an answer is no 200, or a stream does not end as it should.
    """
    body = {"model": way.model, "messages": [{"role": "user", "content": text}], "stream": stream}
    ends_with = b"[DONE]" if stream else b"}"
    pause = spread_seconds / at_once
    return uvloop.run(_ask(way, orjson.dumps(body), count, at_once, ends_with, pause))


async def _ask(
    way: Way, body: bytes, count: int, at_once: int, ends_with: bytes, pause: float
) -> Asked:
    first_bytes: list[float] = []
    headers = {"content-type": "application/json", **way.headers}
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=at_once),
        headers=headers,
        timeout=aiohttp.ClientTimeout(),
    ) as session:

        async def one() -> None:
            began = time.perf_counter()
            async with session.post(way.url, data=body) as answer:
                last = piece = await answer.content.readany()
                first_bytes.append(time.perf_counter() - began)
                while piece:
                    last, piece = piece, await answer.content.readany()
            if answer.status != 200 or not last.rstrip().endswith(ends_with):
                raise RuntimeError(f"{way.name} answered {answer.status}: {last[-300:]!r}")

        await _at_once(one, at_once, at_once, 0.0)  # opens the connections
        first_bytes.clear()
        began = time.perf_counter()
        await _at_once(one, count, at_once, pause)
        return Asked(first_bytes, time.perf_counter() - began)


async def _at_once(
    one: Callable[[], Awaitable[None]], count: int, at_once: int, pause: float
) -> None:
    waiting = iter(range(count))

    async def work(number: int) -> None:
        await asyncio.sleep(number * pause)
        for _ in waiting:
            await one()

    await asyncio.gather(*(work(number) for number in range(at_once)))
