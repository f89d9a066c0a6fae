"""The client reaches an engine of someone else: bytes through, faults told, keys kept apart."""

import asyncio
import json

import pytest
from aiohttp import web
from tests.support.running_engine import scripted_engine

from linarite.engines.client import Engines
from linarite.engines.place import ModelPlace
from linarite.engines.refusals import EngineFailure, EngineUnreachable
from linarite.settings import Upstream


@pytest.fixture(scope="module")
def upstream(tmp_path_factory):
    with scripted_engine(tmp_path_factory.mktemp("engine")) as running:
        yield running


@pytest.fixture
def with_engine(upstream, tmp_path):
    """Run a coroutine function with the engine of a model behind `upstream`."""

    def run(work, **changes):
        async def go():
            async with Engines(tmp_path / "no-host") as engines:
                stated = {"base_url": upstream.base_url, "model": "theirs", **changes}
                place = ModelPlace("ours", upstream=Upstream(**stated))
                return await work(await engines.reach(place))

        return asyncio.run(go())

    return run


def chat(text, **more):
    return json.dumps(
        {"model": "ours", "messages": [{"role": "user", "content": text}], **more}
    ).encode()


def test_an_answer_comes_through(with_engine, upstream):
    reply = with_engine(lambda engine: engine.post("/chat/completions", chat("[[say hello]]")))

    assert reply.status == 200
    assert json.loads(reply.body)["choices"][0]["message"]["content"] == "hello"
    assert "authorization" not in upstream.logged()[-1]["headers"]


def test_a_status_comes_through_with_its_headers(with_engine):
    text = "[[fail 429]] [[retry-after 7]]"

    reply = with_engine(lambda engine: engine.post("/chat/completions", chat(text)))

    assert (reply.status, reply.headers["retry-after"]) == (429, "7")


def test_the_upstreams_key_is_sent(with_engine, upstream, monkeypatch):
    monkeypatch.setenv("UP_KEY", "their-key")

    with_engine(
        lambda engine: engine.post("/chat/completions", chat("keyed")), api_key_env="UP_KEY"
    )

    assert upstream.logged()[-1]["headers"]["authorization"] == "Bearer their-key"


def test_a_key_that_is_not_set_is_named(with_engine, monkeypatch):
    monkeypatch.delenv("UP_KEY", raising=False)

    with pytest.raises(EngineFailure, match="UP_KEY"):
        with_engine(
            lambda engine: engine.post("/chat/completions", chat("x")), api_key_env="UP_KEY"
        )


@pytest.mark.parametrize("text", ["[[drop]]", "[[hang]]"])
def test_an_answer_that_does_not_come_is_unreachable(with_engine, text):
    with pytest.raises(EngineUnreachable) as unreachable:
        with_engine(
            lambda engine: engine.post("/chat/completions", chat(text), silence_seconds=0.3)
        )

    assert (unreachable.value.status, unreachable.value.headers) == (503, {"retry-after": "1"})


def test_an_engine_that_does_not_run_is_unreachable(with_engine):
    with pytest.raises(EngineUnreachable):
        with_engine(
            lambda engine: engine.post("/chat/completions", chat("x")),
            base_url="http://127.0.0.1:9/v1",
        )


def test_a_stream_comes_through_as_bytes(with_engine):
    async def work(engine):
        body = chat("[[tokens 3]]", stream=True)
        async with engine.stream("/chat/completions", body) as reply:
            return reply.status, b"".join([chunk async for chunk in reply.chunks])

    status, whole = with_engine(work)

    assert status == 200
    assert whole.count(b"word") == 3
    assert whole.endswith(b"data: [DONE]\n\n")


def test_a_stream_that_breaks_is_told(with_engine):
    async def work(engine):
        body = chat("[[tokens 3]] [[cut]]", stream=True)
        async with engine.stream("/chat/completions", body) as reply:
            return [chunk async for chunk in reply.chunks]

    with pytest.raises(EngineUnreachable):
        with_engine(work)


def test_leaving_a_stream_stops_the_engine(with_engine, upstream):
    async def work(engine):
        upstream.forget()
        async with engine.stream("/chat/completions", chat("[[stall]]", stream=True)):
            assert upstream.asked()["in_flight"] == 1
        return await _is_cancelled(upstream)

    assert with_engine(work)


def test_an_asker_who_leaves_stops_the_engine(with_engine, upstream):
    async def work(engine):
        upstream.forget()
        asked = asyncio.create_task(engine.post("/chat/completions", chat("[[hang]]")))
        while not upstream.asked()["in_flight"]:
            await asyncio.sleep(0.02)
        asked.cancel()
        return await _is_cancelled(upstream)

    assert with_engine(work)


async def _is_cancelled(upstream):
    for _ in range(100):
        if upstream.asked()["cancelled"]:
            return True
        await asyncio.sleep(0.02)
    return False


@pytest.mark.parametrize(
    ("batch", "priority", "sent"), [(False, True, None), (True, True, 10), (False, False, -5)]
)
def test_a_callers_priority_does_not_pass_where_chats_pass_batches_by_it(
    with_engine, upstream, batch, priority, sent
):
    body = chat("first, please", priority=-5)

    with_engine(
        lambda engine: engine.post("/chat/completions", body, batch=batch), priority=priority
    )

    assert upstream.logged()[-1]["body"].get("priority") == sent


def test_the_slots_of_an_upstream_are_not_known(with_engine):
    assert with_engine(lambda engine: engine.slots()) is None


def test_without_a_host_an_embedded_engine_is_unreachable(tmp_path):
    async def go():
        async with Engines(tmp_path / "no-host", host_seconds=0) as engines:
            await engines.reach(ModelPlace("m", folder=tmp_path))

    with pytest.raises(EngineUnreachable, match="engine host does not answer"):
        asyncio.run(go())


def test_a_host_that_is_still_starting_is_waited_for(tmp_path):
    socket = tmp_path / "host"

    async def engines_of_the_host(_request):
        return web.json_response({"engines": []})

    async def go():
        runner = web.ServerRunner(web.Server(engines_of_the_host))
        await runner.setup()
        async with Engines(socket) as engines:
            asking = asyncio.create_task(engines.state())
            await asyncio.sleep(0.1)
            await web.UnixSite(runner, socket).start()
            try:
                return await asking
            finally:
                await runner.cleanup()

    assert asyncio.run(go()) == []
