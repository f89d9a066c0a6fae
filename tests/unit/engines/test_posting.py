"""Posts against servers of a few lines that say exactly what a test wants."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import pytest
import uvloop

from linarite.engines.posting import Answer, NotConnected, Posts

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nX-Request-Id: abc\r\n\r\n{}"


class Server:
    """Says `answers` one after the other, each to a request; notes what it was sent."""

    def __init__(self, *answers: bytes) -> None:
        self._all_answers = answers
        self.begin_anew()

    def begin_anew(self) -> None:
        self.answers = list(self._all_answers)
        self.requests: list[bytes] = []
        self.connections = 0
        self.serving: list[asyncio.Task[None]] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.serving.append(asyncio.current_task())
        with contextlib.suppress(ConnectionError):
            await self._talk(reader, writer)
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while self.answers:
            try:
                head = await reader.readuntil(b"\r\n\r\n")
            except asyncio.IncompleteReadError:
                break
            self.requests.append(head + await reader.readexactly(2))
            said = self.answers.pop(0)
            if said == b"silence":
                await reader.read()
            writer.write(said)
            await writer.drain()


def run(server: Server, use: Callable[[Posts], Awaitable[object]], kept_seconds: float = 5) -> None:
    async def go() -> None:
        async with await asyncio.start_server(server.serve, "127.0.0.1", 0) as listening:
            port = listening.sockets[0].getsockname()[1]
            posts = Posts(f"http://127.0.0.1:{port}/v1", kept_seconds)
            try:
                await use(posts)
            finally:
                posts.close()
                await asyncio.gather(*server.serving)

    for loop in (asyncio.new_event_loop, uvloop.new_event_loop):
        server.begin_anew()
        with asyncio.Runner(loop_factory=loop) as runner:
            runner.run(go())


async def post(posts: Posts, silence_seconds: float = 5, **headers: str) -> Answer:
    return await posts.post("/chat", headers, b"{}", silence_seconds)


def test_an_answer_has_its_status_headers_and_body():
    server = Server(OK)

    async def use(posts: Posts) -> None:
        answer = await post(posts, authorization="Bearer x")
        assert (answer.status, answer.body) == (200, b"{}")
        assert answer.headers["x-request-id"] == "abc"

    run(server, use)
    [request] = server.requests
    assert request.startswith(b"POST /v1/chat HTTP/1.1\r\nhost: 127.0.0.1:")
    assert b"authorization: Bearer x\r\n" in request
    assert request.endswith(b"content-length: 2\r\n\r\n{}")


def test_a_connection_is_used_again():
    server = Server(OK, OK, OK)

    async def use(posts: Posts) -> None:
        for _ in range(3):
            await post(posts)

    run(server, use)
    assert server.connections == 1


def test_requests_that_are_out_at_once_have_connections_of_their_own():
    server = Server(OK, OK)

    async def use(posts: Posts) -> None:
        await asyncio.gather(post(posts), post(posts))

    run(server, use)
    assert server.connections == 2


@pytest.mark.parametrize("kept_seconds", [0.0, 5.0])
def test_a_connection_that_may_be_gone_is_not_used_again(kept_seconds):
    closing = OK.replace(b"X-Request-Id: abc", b"connection: close")
    server = Server(OK if kept_seconds == 0 else closing, OK)

    async def use(posts: Posts) -> None:
        await post(posts)
        await post(posts)

    run(server, use, kept_seconds)
    assert server.connections == 2


@pytest.mark.parametrize(
    "said",
    [
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\n{\r\n1\r\n}\r\n0\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" + OK,
        b"HTTP/1.0 200 OK\r\n\r\n{}",
    ],
    ids=["chunked", "after a 100", "ended by the connection"],
)
def test_an_answer_is_read_in_every_form_it_may_have(said):
    async def use(posts: Posts) -> None:
        answer = await post(posts)
        assert (answer.status, answer.body) == (200, b"{}")

    run(Server(said), use)


@pytest.mark.parametrize(
    "said", [b"", b"no http\r\n\r\n", OK[:-1], b"HTTP/1.1 200 OK\r\ncontent-le"]
)
def test_an_answer_that_is_not_whole_is_none(said):
    async def use(posts: Posts) -> None:
        with pytest.raises(ConnectionError) as broken:
            await post(posts)
        assert not isinstance(broken.value, NotConnected)

    run(Server(said), use)


def test_silence_is_not_waited_for_without_end():
    async def use(posts: Posts) -> None:
        with pytest.raises(TimeoutError):
            await post(posts, silence_seconds=0.05)

    run(Server(b"silence"), use)


def test_a_connection_whose_asker_left_is_not_used_again():
    server = Server(b"silence", OK)

    async def use(posts: Posts) -> None:
        leaving = asyncio.create_task(post(posts))
        await asyncio.sleep(0.05)
        leaving.cancel()
        assert (await post(posts)).body == b"{}"

    run(server, use)
    assert server.connections == 2


def test_nobody_at_the_address_is_told_apart():
    async def use() -> None:
        with pytest.raises(NotConnected):
            await post(Posts("http://127.0.0.1:1", 5))

    asyncio.run(use())


def test_a_header_cannot_smuggle_another():
    async def use(posts: Posts) -> None:
        with pytest.raises(ValueError, match="line break"):
            await post(posts, authorization="x\r\nevil: 1")

    run(Server(OK), use)
