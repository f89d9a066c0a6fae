"""The embedded engines answer as OpenAI's do, and come back when they die."""

import asyncio
import base64
import contextlib
import json
import os
import signal
import struct
import subprocess
import sys
import time

import numpy as np
import psutil
import pytest
from tests.support.embedded import CHAT, EMBEDDING, engine_host, models_folder, pulled

from linarite.engines import agreement, architecture, making
from linarite.engines.client import Engines
from linarite.engines.place import host_socket
from linarite.engines.refusals import EngineFailure, EngineUnreachable, ModelMissing

pytestmark = [pytest.mark.model, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    pulled(CHAT)
    pulled(EMBEDDING)
    folder = tmp_path_factory.mktemp("data")
    with engine_host(folder):
        yield folder


@pytest.fixture
def ask(data):
    """Ask a model: `ask(path, body, model=CHAT)` gives the reply and its JSON."""

    def one(path, body, model=CHAT, **options):
        async def go():
            async with Engines(host_socket(data)) as engines:
                engine = await engines.reach(pulled(model))
                reply = await engine.post(path, json.dumps(body).encode(), **options)
                return reply, json.loads(reply.body)

        return asyncio.run(go())

    return one


def user(text, **more):
    return {"messages": [{"role": "user", "content": text}], "temperature": 0, **more}


async def streamed(engine, body):
    """The events of a streamed answer."""
    async with engine.stream("/chat/completions", json.dumps(body).encode()) as reply:
        whole = b"".join([chunk async for chunk in reply.chunks])
    return [line.removeprefix("data: ") for line in whole.decode().split("\n\n") if line]


def test_the_converted_model_agrees_with_the_reference():
    folder = pulled(CHAT).folder
    stated = json.loads((folder / "hf" / "config.json").read_text())
    arch = architecture.from_hf_config(stated)

    agreed = agreement.check(
        arch, folder / "hf", folder / "ir", making.agreement_prompts(folder / "hf")
    )

    assert agreed >= 0.8


def test_a_chat_is_answered_and_counted(ask):
    reply, answer = ask("/chat/completions", user("What is the capital of France?"))

    assert reply.status == 200
    assert "Paris" in answer["choices"][0]["message"]["content"]
    assert answer["choices"][0]["finish_reason"] == "stop"
    usage = answer["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]


def test_max_tokens_is_kept_to_the_token(ask):
    _, answer = ask("/chat/completions", user("Tell a long story.", max_completion_tokens=7, n=2))

    assert [choice["finish_reason"] for choice in answer["choices"]] == ["length", "length"]
    assert answer["usage"]["completion_tokens"] == 14


def test_a_stop_string_ends_the_answer_and_is_not_part_of_it(ask):
    _, plain = ask("/chat/completions", user("What is the capital of France?"))
    _, stopped = ask("/chat/completions", user("What is the capital of France?", stop=["France"]))

    text = plain["choices"][0]["message"]["content"]
    assert stopped["choices"][0]["message"]["content"] == text.split("France")[0]
    assert stopped["choices"][0]["finish_reason"] == "stop"


def test_the_same_seed_gives_the_same_answer(ask):
    body = user("Invent a name.", max_tokens=12) | {"temperature": 1.2, "seed": 11}

    texts = {ask("/chat/completions", body)[1]["choices"][0]["message"]["content"] for _ in "ab"}

    assert len(texts) == 1


@pytest.mark.parametrize(
    "extreme",
    [
        {"top_p": 0},
        {"temperature": 1e-40},
        {"temperature": 2, "presence_penalty": -2, "frequency_penalty": 2},
        {"seed": -(2**63)},
        {"max_tokens": 4, "stop": [""]},
    ],
    ids=["top_p", "cold", "hot", "seed", "stop"],
)
def test_values_at_the_edge_are_answered(ask, extreme):
    reply, answer = ask("/chat/completions", user("Hi", max_tokens=4) | extreme)

    assert reply.status == 200
    assert answer["usage"]["completion_tokens"] <= 4


def test_a_stream_says_the_same_as_a_whole_answer(ask, data):
    body = user("Write one sentence about the sea 🌊.", max_tokens=30)
    _, whole = ask("/chat/completions", body)

    async def go():
        async with Engines(host_socket(data)) as engines:
            more = {"stream": True, "stream_options": {"include_usage": True}}
            return await streamed(await engines.reach(pulled(CHAT)), body | more)

    events = asyncio.run(go())
    chunks = [json.loads(event) for event in events[:-1]]
    said = [chunk["choices"][0]["delta"].get("content", "") for chunk in chunks[:-1]]

    assert events[-1] == "[DONE]"
    assert chunks[0]["choices"][0]["delta"]["role"] == "assistant"
    assert "".join(said) == whole["choices"][0]["message"]["content"]
    assert chunks[-2]["choices"][0]["finish_reason"] == whole["choices"][0]["finish_reason"]
    assert (chunks[-1]["choices"], chunks[-1]["usage"]) == ([], whole["usage"])


def test_a_prompt_over_the_context_is_refused_not_cut(ask):
    reply, answer = ask("/chat/completions", user("word " * 9000))

    assert reply.status == 400
    assert answer["error"]["code"] == "context_length_exceeded"
    assert "maximum context length is 8192 tokens. However, your" in answer["error"]["message"]


def test_completions_take_several_prompts_and_tokens(ask):
    body = {"prompt": ["The sky is", "Two plus two is"], "max_tokens": 3, "temperature": 0}

    _, answer = ask("/completions", body)
    _, tokens = ask("/completions", body | {"prompt": [504, 6376, 314]})

    assert [choice["index"] for choice in answer["choices"]] == [0, 1]
    assert answer["usage"]["completion_tokens"] == 6
    assert tokens["usage"]["prompt_tokens"] == 3


def test_embeddings_are_near_for_texts_that_mean_the_same(ask):
    texts = ["A man is eating food.", "Someone is having a meal.", "The stock market fell."]

    _, answer = ask("/embeddings", {"input": texts, "encoding_format": "base64"}, EMBEDDING)

    raw = [base64.b64decode(item["embedding"]) for item in answer["data"]]
    meal, same, other = (np.array(struct.unpack("<384f", one)) for one in raw)
    assert meal @ meal == pytest.approx(1, abs=1e-3)
    assert meal @ same > 0.5 > meal @ other


def test_an_input_over_the_context_is_refused(ask):
    reply, answer = ask("/embeddings", {"input": "word " * 600}, EMBEDDING)

    assert (reply.status, answer["error"]["code"]) == (400, "context_length_exceeded")


def test_an_operation_that_a_model_has_not_is_refused(ask):
    assert ask("/chat/completions", user("x"), EMBEDDING)[0].status == 404


def test_a_client_that_leaves_stops_the_generation(data):
    async def go():
        async with Engines(host_socket(data)) as engines:
            engine = await engines.reach(pulled(CHAT))
            body = json.dumps(user("Count to a thousand.", max_tokens=4000, stream=True)).encode()
            async with engine.stream("/chat/completions", body) as reply:
                await anext(reply.chunks)
            deadline = time.monotonic() + 10
            while time.monotonic() < deadline:
                if not any((await engine.in_use()).values()):
                    return True
                await asyncio.sleep(0.1)
        return False

    assert asyncio.run(go())


def test_concurrent_askers_share_one_start(tmp_path):
    pulled(CHAT)

    async def go():
        async with Engines(host_socket(tmp_path)) as engines:
            await asyncio.gather(*(Engines.reach(engines, pulled(CHAT)) for _ in range(8)))
            return await engines.state()

    with engine_host(tmp_path, slots=8):
        running = asyncio.run(go())

    assert [engine["id"] for engine in running] == [CHAT]


def test_a_killed_engine_is_replaced_and_its_callers_are_told(data):
    async def go():
        async with Engines(host_socket(data)) as engines:
            engine = await engines.reach(pulled(CHAT))
            body = json.dumps(user("Count to a thousand.", max_tokens=2000)).encode()
            asked = asyncio.create_task(engine.post("/chat/completions", body))
            for _ in range(500):
                if (await engine.in_use()).get("interactive"):
                    break
                await asyncio.sleep(0.02)
            (first,) = [one for one in await engines.state() if one["id"] == CHAT]
            stepper = psutil.Process(first["pid"]).children()[0]
            os.kill(stepper.pid, signal.SIGKILL)
            try:
                interrupted = (await asked).status
            except EngineUnreachable as error:
                interrupted = error.status
            engine = await engines.reach(pulled(CHAT))
            again = await engine.post("/chat/completions", json.dumps(user("Hi")).encode())
            (second,) = [one for one in await engines.state() if one["id"] == CHAT]
            return interrupted, again.status, first["pid"], second["pid"]

    interrupted, again, first, second = asyncio.run(go())

    assert (interrupted, again) == (503, 200)
    assert first != second


def test_after_a_kill_at_most_one_ask_fails(data):
    async def go():
        async with Engines(host_socket(data)) as engines:
            engine = await engines.reach(pulled(CHAT))
            (running,) = [one for one in await engines.state() if one["id"] == CHAT]
            os.kill(running["pid"], signal.SIGKILL)
            body = json.dumps(user("Hi")).encode()
            with contextlib.suppress(EngineUnreachable):
                await engine.post("/chat/completions", body)
            return await engine.post("/chat/completions", body)

    assert asyncio.run(go()).status == 200


def test_the_least_used_engine_is_evicted_under_a_memory_budget(tmp_path):
    pulled(EMBEDDING)

    async def go():
        async with Engines(host_socket(tmp_path)) as engines:
            seen = []
            for model in (CHAT, EMBEDDING):
                await engines.reach(pulled(model))
                seen.append([engine["id"] for engine in await engines.state()])
            return seen

    with engine_host(tmp_path, slots=8, memory_bytes=2_100_000_000):
        assert asyncio.run(go()) == [[CHAT], [EMBEDDING]]


def test_an_engine_that_keeps_much_of_structures_is_renewed_and_nobody_notices(tmp_path):
    place = pulled(CHAT)

    async def answered(engine, value):
        form = {"name": "one", "schema": {"const": value}}
        asked = user("Hello", response_format={"type": "json_schema", "json_schema": form})
        reply = await engine.post("/chat/completions", json.dumps(asked).encode())
        assert reply.status == 200, reply.body
        return json.loads(json.loads(reply.body)["choices"][0]["message"]["content"])

    async def others(engines, known):
        """The processes that there are beside known ones, once there are some."""
        for _ in range(100):
            if found := {one["pid"] for one in await engines.state()} - known:
                return found
            await asyncio.sleep(0.2)
        return set()

    async def go():
        async with Engines(host_socket(tmp_path)) as engines:
            engine = await engines.reach(place)
            pids, said = {one["pid"] for one in await engines.state()}, []
            for value in range(2):
                said.append(await answered(engine, value))
                pids |= await others(engines, pids)
            at_once = await asyncio.gather(*(answered(engine, value) for value in range(8)))
            return pids, said, at_once

    with engine_host(tmp_path, structures_bytes=1):
        pids, said, at_once = asyncio.run(go())

    assert said == [0, 1]
    assert at_once == list(range(8))
    assert len(pids) > 1


@pytest.mark.slow
def test_an_engine_that_is_renewed_ends_its_answers_where_memory_is_for_one_alone(tmp_path):
    place = pulled(CHAT)
    counting = {"prompt": "1, 2, 3, 4, 5, 6, 7, 8,", "temperature": 0, "max_tokens": 300}
    form = {"name": "one", "schema": {"const": 1}}
    held = user("Hi", response_format={"type": "json_schema", "json_schema": form})

    async def go():
        async with Engines(host_socket(tmp_path)) as early, Engines(host_socket(tmp_path)) as late:
            engine = await early.reach(place)
            long = asyncio.create_task(engine.post("/completions", json.dumps(counting).encode()))
            await asyncio.sleep(0.5)
            await engine.post("/chat/completions", json.dumps(held).encode())
            await asyncio.sleep(0.5)  # by now it takes leave
            assert not long.done()
            other = await late.reach(place)
            answer = await other.post("/chat/completions", json.dumps(user("Hi")).encode())
            return answer.status, json.loads((await long).body)["usage"]["completion_tokens"]

    with engine_host(tmp_path, structures_bytes=1, memory_bytes=2_100_000_000):
        assert asyncio.run(go()) == (200, 300)


def test_two_who_stop_an_engine_at_once_are_both_answered(tmp_path):
    place = pulled(CHAT)

    async def go():
        async with Engines(host_socket(tmp_path)) as engines:
            await engines.reach(place)
            await asyncio.gather(*(engines.stop(place) for _ in range(2)))
            return await engines.state()

    with engine_host(tmp_path):
        assert asyncio.run(go()) == []


def test_a_model_without_files_is_missing(data):
    async def go():
        async with Engines(host_socket(data)) as engines:
            await engines.reach(pulled(CHAT).__class__("ghost", folder=models_folder() / "ghost"))

    with pytest.raises(ModelMissing):
        asyncio.run(go())


def test_a_fault_of_the_host_is_told_in_a_form_that_is_read(data, tmp_path):
    (tmp_path / "model.json").write_text("{")

    async def go():
        async with Engines(host_socket(data)) as engines:
            await engines.reach(pulled(CHAT).__class__("half", folder=tmp_path))

    with pytest.raises(EngineFailure, match="its log tells why"):
        asyncio.run(go())


def test_engines_end_with_a_host_that_is_killed(tmp_path):
    async def go():
        async with Engines(host_socket(tmp_path)) as engines:
            await engines.reach(pulled(CHAT))

    with engine_host(tmp_path, slots=8) as host:
        asyncio.run(go())
        family = psutil.Process(host.pid).children(recursive=True)
        host.kill()
        _, left = psutil.wait_procs(family, timeout=5)

    assert len(family) == 2
    assert left == []


def test_a_child_does_not_see_the_servers_secrets(tmp_path, monkeypatch):
    monkeypatch.setenv("LINARITE_API_KEY", "a-secret-that-stays-here")
    code = (
        "import os; from linarite.lifeline import child_environment as c;"
        "print('LINARITE_API_KEY' in os.environ, 'LINARITE_API_KEY' in c())"
    )

    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert told.stdout.split() == ["True", "False"]
