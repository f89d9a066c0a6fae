"""Two hundred streams at once through a real server: none fails, and memory stays where it was."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import psutil
import pytest
from tests.support.running_engine import scripted_engine
from tests.support.serving import Serving, serving

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

MIB = 1 << 20


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """A server whose model `chat` is the scripted engine."""
    folder = tmp_path_factory.mktemp("streams")
    with scripted_engine(folder, "--no-count") as engine:
        settings = folder / "linarite.toml"
        settings.write_text(
            f'[[models]]\nid = "chat"\nupstream = {{ base_url = "{engine.base_url}" }}\n'
        )
        with serving(folder, "--config", str(settings)) as one:
            yield one


def memory(server: Serving) -> int:
    """Bytes that the API process holds."""
    return int(psutil.Process(server.processes()["api"]).memory_info().rss)


@asynccontextmanager
async def asking(server: Serving) -> AsyncIterator[Callable[[str], Any]]:
    """What asks for a streamed chat; the answer is still to be read."""
    url = f"{server.endpoint}/openai/v1/chat/completions"

    def ask(text: str) -> Any:
        messages = [{"role": "user", "content": text}]
        return session.post(url, json={"model": "chat", "messages": messages, "stream": True})

    connector = aiohttp.TCPConnector(limit=0)
    headers = {"api-key": server.ready["api_key"]}
    async with aiohttp.ClientSession(connector=connector, headers=headers) as session:
        yield ask


async def two_hundred(server: Serving) -> list[str]:
    """As many answers of 40 words, a second's worth each, all at the same time."""

    async def one(ask: Callable[[str], Any]) -> str:
        async with ask("[[tokens 40]] [[pace 25]]") as answer:
            return str(await answer.text())

    async with asking(server) as ask:
        return await asyncio.gather(*(one(ask) for _ in range(200)))


async def memory_while_unread(server: Serving, streams: int) -> int:
    """What the server holds while nobody reads as many answers of 60 MB."""
    async with asking(server) as ask:
        answers = await asyncio.gather(*(ask("[[tokens 400000]]") for _ in range(streams)))
        await asyncio.sleep(2)
        held = memory(server)
        for answer in answers:
            answer.close()
        return held


def test_many_streams_at_once_all_end_well_and_leave_no_memory(server: Serving):
    asyncio.run(two_hundred(server))
    before = memory(server)

    answers = [answer for _ in range(5) for answer in asyncio.run(two_hundred(server))]

    assert all(answer.endswith("data: [DONE]\n\n") for answer in answers)
    assert len(answers) == 1000
    assert {answer.count('"content":"word') for answer in answers} == {40}
    assert memory(server) - before < 12 * MIB


def test_an_answer_that_nobody_reads_waits_at_its_engine(server: Serving):
    asyncio.run(two_hundred(server))
    before = memory(server)

    held = asyncio.run(memory_while_unread(server, streams=10))

    assert held - before < 20 * MIB
