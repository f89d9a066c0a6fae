"""The least that a batch can cost: an aiohttp client straight to the engine, nothing durable."""

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path

import aiohttp
import orjson
import uvloop

_HEADERS = {"content-type": "application/json", "x-linarite-priority": "batch"}
"""Marked as our own batches are, so that an embedded engine admits both alike."""


def run(
    url: str,
    lines: Sequence[bytes],
    output: Path,
    *,
    in_flight: int,
    unix_socket: Path | None = None,
) -> float:
    """Ask every line's body of the engine and write output lines as they come; gives the seconds.

    Args:
        url: where the engine takes chats.
        lines: of a batch's input.
        output: file for the answers.
        in_flight: requests that are out at once.
        unix_socket: where the engine listens, if not at the host of `url`.

    Raises:
        RuntimeError: an answer was not 200.
    """
    began = time.monotonic()
    uvloop.run(_ask_all(url, lines, output, in_flight, unix_socket))
    return time.monotonic() - began


async def _ask_all(
    url: str, lines: Sequence[bytes], output: Path, in_flight: int, unix_socket: Path | None
) -> None:
    waiting = iter(lines)
    with output.open("wb") as file:
        async with aiohttp.ClientSession(
            connector=_connector(in_flight, unix_socket),
            headers=_HEADERS,
            timeout=aiohttp.ClientTimeout(),
        ) as session:

            async def work() -> None:
                for line in waiting:
                    asked = orjson.loads(line)
                    async with session.post(url, data=orjson.dumps(asked["body"])) as answer:
                        body = await answer.read()
                    if answer.status != 200:
                        raise RuntimeError(f"The engine answered {answer.status}: {body!r}")
                    file.write(_output_line(asked["custom_id"], body))

            await asyncio.gather(*(work() for _ in range(in_flight)))


def _connector(in_flight: int, unix_socket: Path | None) -> aiohttp.BaseConnector:
    if unix_socket is None:
        return aiohttp.TCPConnector(limit=in_flight)
    return aiohttp.UnixConnector(str(unix_socket), limit=in_flight)


def _output_line(custom_id: str, body: bytes) -> bytes:
    response = {"status_code": 200, "request_id": custom_id, "body": orjson.Fragment(body)}
    line = {"id": custom_id, "custom_id": custom_id, "response": response, "error": None}
    return orjson.dumps(line) + b"\n"
