"""An upstream that loads adapters is told a tuned model's before it is asked for it."""

import asyncio
import json

import pytest
from structlog.testing import capture_logs
from tests.support.adapter_server import AdapterServer

from linarite.engines.client import Engines
from linarite.engines.place import ModelPlace
from linarite.engines.refusals import EngineFailure
from linarite.settings import Upstream

TUNED = "base.ft-1"
CHAT = json.dumps({"model": TUNED, "messages": []}).encode()


@pytest.fixture
def theirs():
    return AdapterServer()


@pytest.fixture
def with_engines(tmp_path, theirs):
    """Run a coroutine function with the client and the tuned model's place."""
    (tmp_path / "tuned" / "adapter").mkdir(parents=True)

    def run(work):
        async def go():
            async with theirs.running() as url, Engines(tmp_path / "no-host") as engines:
                upstream = Upstream(base_url=url, model=TUNED, adapters=True)
                place = ModelPlace(TUNED, folder=tmp_path / "tuned", upstream=upstream)
                return await work(engines, place)

        return asyncio.run(go())

    return run


async def asked(engines, place):
    engine = await engines.reach(place)
    return await engine.post("/chat/completions", CHAT)


def test_the_adapter_is_told_once(with_engines, theirs, tmp_path):
    async def work(engines, place):
        return [(await asked(engines, place)).status for _ in range(3)]

    assert with_engines(work) == [200, 200, 200]
    assert theirs.told == [{"lora_name": TUNED, "lora_path": str(tmp_path / "tuned" / "adapter")}]


def test_an_adapter_that_another_process_told_is_no_fault(with_engines, theirs):
    theirs.loaded[TUNED] = "as it is"

    assert with_engines(asked).status == 200


def test_a_server_that_started_anew_is_told_again(with_engines, theirs):
    async def work(engines, place):
        await asked(engines, place)
        theirs.loaded.clear()
        return await asked(engines, place)

    assert with_engines(work).status == 200
    assert len(theirs.told) == 2


def test_a_stream_tells_it_again_too(with_engines, theirs):
    async def work(engines, place):
        engine = await engines.reach(place)
        theirs.loaded.clear()
        async with engine.stream("/chat/completions", CHAT) as reply:
            return reply.status, b"".join([chunk async for chunk in reply.chunks])

    status, body = with_engines(work)
    assert (status, json.loads(body)) == (200, {"model": TUNED})


def test_a_server_that_does_not_take_it_is_told_apart(with_engines, theirs):
    theirs.takes = False

    with pytest.raises(EngineFailure, match=r"did not load its adapter \(status 500\)") as failed:
        with_engines(asked)

    assert "/secret" not in failed.value.message


def test_a_base_model_tells_nothing(with_engines, theirs, tmp_path):
    (tmp_path / "base").mkdir()

    async def work(engines, place):
        base = ModelPlace("base", folder=tmp_path / "base", upstream=place.upstream)
        return await asked(engines, base)

    assert with_engines(work).status == 404
    assert theirs.told == []


def test_what_is_served_no_more_is_unloaded(with_engines, theirs):
    async def work(engines, place):
        await asked(engines, place)
        await engines.forget(place)
        unloaded = dict(theirs.loaded)
        return unloaded, (await asked(engines, place)).status

    assert with_engines(work) == ({}, 200)
    assert theirs.unloaded == [{"lora_name": TUNED}]
    assert len(theirs.told) == 2


@pytest.mark.parametrize("fault", ["refused", "gone", "unknown"])
def test_what_cannot_be_unloaded_is_no_fault(with_engines, theirs, fault):
    theirs.takes = fault != "refused"

    async def work(engines, place):
        if fault == "gone":
            nowhere = Upstream(base_url="http://127.0.0.1:9/v1", model=TUNED, adapters=True)
            place = ModelPlace(TUNED, folder=place.folder, upstream=nowhere)
        with capture_logs() as logs:
            await engines.forget(place)
        return [entry["event"] for entry in logs]

    told = [] if fault == "unknown" else ["an adapter stays loaded"]
    assert with_engines(work) == told
