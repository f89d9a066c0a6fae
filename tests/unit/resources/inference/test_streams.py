"""Callers who leave take their work along."""

import asyncio
from contextlib import AsyncExitStack

import pytest
from starlette.requests import ClientDisconnect

from linarite.engines.refusals import EngineUnreachable
from linarite.resources.inference.streams import PassedStream, while_there

GONE = {"type": "http.disconnect"}


async def stays():
    await asyncio.Event().wait()


async def leaves():
    return GONE


class Sent(list):
    """Messages to the caller; `text` is the body so far."""

    async def send(self, message):
        self.append(message)

    @property
    def text(self):
        return b"".join(message.get("body", b"") for message in self)


async def answered(chunks, receive=stays):
    """Send a stream of `chunks` over a connection; what was sent, and whether it was closed."""
    sent, closed = Sent(), []
    connection = AsyncExitStack()
    connection.callback(lambda: closed.append(True))
    await PassedStream(chunks, connection)({"type": "http"}, receive, sent.send)
    return sent, bool(closed)


def test_work_is_done_while_the_caller_waits():
    async def work():
        return 5

    assert asyncio.run(while_there(stays, work())) == 5


def test_work_ends_when_the_caller_leaves():
    ended = []

    async def work():
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    with pytest.raises(ClientDisconnect):
        asyncio.run(while_there(leaves, work()))
    assert ended


def test_a_failure_of_the_work_is_the_callers():
    async def work():
        raise EngineUnreachable("gone")

    with pytest.raises(EngineUnreachable, match="gone"):
        asyncio.run(while_there(stays, work()))


def test_chunks_pass_one_by_one_and_the_connection_is_closed():
    async def chunks():
        yield b"data: 1\n\n"
        yield b"data: 2\n\n"

    sent, closed = asyncio.run(answered(chunks()))

    assert [message.get("body") for message in sent] == [None, b"data: 1\n\n", b"data: 2\n\n", b""]
    headers = dict(sent[0]["headers"])
    assert headers[b"content-type"].startswith(b"text/event-stream")
    assert headers[b"x-accel-buffering"] == b"no"
    assert b"content-length" not in headers
    assert closed


def test_a_stream_that_breaks_off_says_so():
    async def chunks():
        yield b'data: {"a'
        raise EngineUnreachable("10.0.0.7 went away")

    sent, closed = asyncio.run(answered(chunks()))

    assert b'\n\ndata: {"error":{"message":' in sent.text
    assert b"10.0.0.7" not in sent.text
    assert closed


def test_a_caller_who_leaves_early_closes_the_connection():
    async def chunks():
        await asyncio.Event().wait()
        yield b""

    sent, closed = asyncio.run(answered(chunks(), leaves))

    assert closed
    assert sent.text == b""
