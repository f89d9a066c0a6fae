"""What a deployment answers in a minute, whoever asks and whichever process."""

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import openai
import pytest
import sqlalchemy as sa
from tests.support.running_engine import RunningEngine
from tests.support.server import Server, running_server

from linarite.storage.tables import rate_windows

HELLO: Any = [{"role": "user", "content": "[[say hello there]]"}]
DEPLOYMENTS = "/openai/deployments"


@pytest.fixture(scope="module")
def settings(engine: RunningEngine, shared_database_url: str | None) -> dict[str, Any]:
    upstream = {"base_url": engine.base_url, "model": "theirs"}
    return {
        "database_url": shared_database_url,
        "models": [
            {"id": "chat-model", "upstream": upstream},
            {"id": "embedding-model", "kind": "embedding", "upstream": upstream},
        ],
        "deployments": [{"name": "everyones", "model": "chat-model", "requests_per_minute": 2}],
    }


@pytest.fixture(scope="module")
def server(settings: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running_server(tmp_path_factory.mktemp("limited") / "data", **settings) as running:
        yield running


@pytest.fixture
def caller(server: Server) -> Iterator[httpx.Client]:
    with server.client() as client:
        yield client


@pytest.fixture
def deploy(caller: httpx.Client) -> Callable[..., str]:
    """Makes a deployment with the limits it is given, of a name of its own."""

    def make(model: str = "chat-model", **limits: Any) -> str:
        made = caller.post(DEPLOYMENTS, json={"model": model} | limits)
        assert made.status_code == 201, made.text
        return str(made.json()["id"])

    return make


def ask(caller: httpx.Client, name: str, **asked: Any) -> httpx.Response:
    body = {"messages": HELLO, "max_tokens": 10} | asked
    return caller.post(f"{DEPLOYMENTS}/{name}/chat/completions", json=body)


def count_elsewhere(server: Server, name: str, requests: int, *, seconds_ago: int) -> None:
    """Let another process have counted requests in a minute that began so long ago."""
    row = {"resource": "default", "deployment": name, "requests": requests, "tokens": 0}
    with server.built.database.transaction() as tx:
        began_at = int(time.time()) - seconds_ago
        tx.execute(sa.insert(rate_windows).values(row | {"began_at": began_at}))


def told(answer: httpx.Response) -> dict[str, int]:
    """The headers about limits, without what they all begin with."""
    prefix = "x-ratelimit-"
    return {
        name.removeprefix(prefix): int(value)
        for name, value in answer.headers.items()
        if name.startswith(prefix)
    }


def test_nothing_is_told_of_limits_where_there_are_none(caller, deploy):
    answer = ask(caller, deploy())

    assert (answer.status_code, told(answer)) == (200, {})


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_tells_what_is_left(caller, deploy, stream):
    name = deploy(requests_per_minute=5, tokens_per_minute=100)

    answer = ask(caller, name, stream=stream)

    left = told(answer)
    assert 58 <= left.pop("reset-requests") <= 60
    assert 58 <= left.pop("reset-tokens") <= 60
    # a prompt of 19 letters in one message, and an answer of ten tokens
    assert left == {
        "limit-requests": 5,
        "remaining-requests": 4,
        "limit-tokens": 100,
        "remaining-tokens": 100 - (5 + 4 + 10),
    }


@pytest.mark.parametrize("stream", [False, True])
def test_what_an_engine_refuses_was_counted_and_says_so(caller, deploy, stream):
    name = deploy(requests_per_minute=5)
    refused: Any = [{"role": "user", "content": "[[fail 400]]"}]

    answer = ask(caller, name, messages=refused, stream=stream)

    assert answer.status_code == 400
    assert told(answer)["remaining-requests"] == 4


def test_tools_and_every_prompt_count(caller, deploy):
    name = deploy(tokens_per_minute=1000)
    tool = {"type": "function", "function": {"name": "sun", "description": "x" * 400}}

    plain, with_tools = ask(caller, name), ask(caller, name, tools=[tool])
    prompts = caller.post(
        f"{DEPLOYMENTS}/{name}/completions", json={"prompt": ["a"] * 99, "max_tokens": 10}
    )

    assert told(plain)["remaining-tokens"] - told(with_tools)["remaining-tokens"] > 19 + 100
    assert prompts.status_code == 429


def test_a_request_too_many_is_refused_in_the_services_words(caller, deploy, engine):
    name = deploy(requests_per_minute=2)
    for _ in range(2):
        assert ask(caller, name).status_code == 200
    engine.forget()

    answer = ask(caller, name)

    wait = int(answer.headers["retry-after"])
    assert (answer.status_code, 58 <= wait <= 60) == (429, True)
    assert answer.headers["retry-after-ms"] == f"{wait}000"
    assert told(answer) == {
        "limit-requests": 2,
        "remaining-requests": 0,
        "reset-requests": wait,
    }
    assert answer.json()["error"] == {
        "code": "429",
        "message": "Requests to the ChatCompletions_Create Operation under Azure OpenAI API "
        "version 2025-02-01-preview have exceeded call rate limit of your current OpenAI S0 "
        f"pricing tier. Please retry after {wait} seconds. The deployment's "
        "`requests_per_minute` is 2.",
    }
    assert engine.asked()["total"] == 0


@pytest.mark.parametrize(
    ("asked", "tokens"),
    [
        ({"max_tokens": 40}, 9 + 40),
        ({"max_completion_tokens": 20, "max_tokens": None, "n": 2}, 9 + 40),
        ({"max_tokens": None}, 9 + 1024),
    ],
)
def test_tokens_are_the_prompt_and_the_longest_answers(caller, deploy, asked, tokens):
    name = deploy(tokens_per_minute=2000)
    body = {key: value for key, value in asked.items() if value is not None}
    if asked.get("max_tokens", 0) is None:
        answer = caller.post(
            f"{DEPLOYMENTS}/{name}/chat/completions", json={"messages": HELLO} | body
        )
    else:
        answer = ask(caller, name, **body)

    assert told(answer)["remaining-tokens"] == 2000 - tokens


def test_tokens_of_completions_and_embeddings_count(caller, deploy):
    text, vectors = deploy(tokens_per_minute=100), deploy("embedding-model", tokens_per_minute=100)

    completion = caller.post(f"{DEPLOYMENTS}/{text}/completions", json={"prompt": "a" * 40})
    embedding = caller.post(f"{DEPLOYMENTS}/{vectors}/embeddings", json={"input": [[1, 2], [3]]})

    assert told(completion)["remaining-tokens"] == 100 - 10 - 16
    assert told(embedding)["remaining-tokens"] == 97


def test_tokens_too_many_are_refused_by_their_own_limit(caller, deploy):
    name = deploy(requests_per_minute=10, tokens_per_minute=50)
    ask(caller, name, max_tokens=30)

    refused, answered = ask(caller, name, max_tokens=3), ask(caller, name, max_tokens=2)

    assert (refused.status_code, answered.status_code) == (429, 200)
    assert "exceeded token rate limit" in refused.json()["error"]["message"]
    assert told(answered)["remaining-tokens"] == 0
    assert told(answered)["remaining-requests"] == 8, "what is refused is not counted"


def test_what_no_minute_has_room_for_is_not_tried_again(server, deploy):
    name = deploy(tokens_per_minute=50)
    before = len(server.answers)

    with server.sdk(max_retries=2) as sdk, pytest.raises(openai.RateLimitError) as refused:
        sdk.chat.completions.create(model=name, messages=HELLO, max_tokens=51)

    assert len(server.answers) == before + 1
    assert refused.value.response.headers["retry-after"] == "86400"
    assert "this request may come to 60 of them" in refused.value.message


def test_the_official_client_waits_as_it_is_told(server, deploy):
    name = deploy(requests_per_minute=1)
    count_elsewhere(server, name, 1, seconds_ago=58)
    with server.sdk() as sdk:
        with pytest.raises(openai.RateLimitError) as refused:
            sdk.chat.completions.create(model=name, messages=HELLO)
        began = time.monotonic()

        patient = sdk.with_options(max_retries=1)
        answer = patient.chat.completions.create(model=name, messages=HELLO)

    assert refused.value.code == "429"
    assert answer.choices[0].message.content == "hello there"
    assert 0.9 < time.monotonic() - began < 3
    assert server.answers[-2].status == 429


def test_a_minute_later_everything_is_open_again(server, caller, deploy):
    name = deploy(requests_per_minute=1)
    count_elsewhere(server, name, 1, seconds_ago=60)

    answers = [ask(caller, name) for _ in range(2)]

    assert [answer.status_code for answer in answers] == [200, 429]


def test_a_request_that_is_not_valid_is_not_counted(caller, deploy):
    name = deploy(requests_per_minute=1)

    invalid, valid = ask(caller, name, temperature=3), ask(caller, name)

    assert (invalid.status_code, valid.status_code) == (400, 200)


def test_a_limit_that_is_raised_counts_at_once(caller, deploy):
    name = deploy(requests_per_minute=1)
    ask(caller, name)
    assert ask(caller, name).status_code == 429

    caller.patch(f"{DEPLOYMENTS}/{name}", json={"requests_per_minute": 2})

    assert ask(caller, name).status_code == 200


def test_all_resources_share_what_is_everyones(server, caller):
    with server.client(key=server.add_key("stranger")) as stranger:
        answers = [ask(one, "everyones") for one in (caller, stranger, caller, stranger)]

    assert [answer.status_code for answer in answers] == [200, 200, 429, 429]


def test_deployments_of_one_name_are_counted_apart(server, caller):
    with server.client(key=server.add_key("another")) as another:
        for one in (caller, another):
            one.post(
                DEPLOYMENTS, json={"id": "same", "model": "chat-model", "requests_per_minute": 1}
            )

        answers = [ask(one, "same") for one in (caller, another, caller)]

    assert [answer.status_code for answer in answers] == [200, 200, 429]


def test_plain_clients_are_limited_alike(server, deploy):
    name = deploy(requests_per_minute=1)
    with server.v1() as sdk:
        sdk.chat.completions.create(model=name, messages=HELLO)
        with pytest.raises(openai.RateLimitError, match="under Azure OpenAI API version v1 have"):
            sdk.chat.completions.create(model=name, messages=HELLO)


def test_several_processes_let_no_more_in_than_one(server, caller, deploy, settings, tmp_path):
    name = deploy(requests_per_minute=10)
    url = settings["database_url"] or server.settings.resolved_database_url
    with (
        running_server(tmp_path / "data", **settings | {"database_url": url}) as second,
        second.client() as other,
        ThreadPoolExecutor(8) as pool,
    ):
        answers = list(pool.map(lambda number: ask((caller, other)[number % 2], name), range(40)))

    statuses = [answer.status_code for answer in answers]
    assert (statuses.count(200), statuses.count(429)) == (10, 30)


def test_refused_requests_are_counted_for_the_operator(caller, deploy):
    name = deploy(requests_per_minute=1)
    for _ in range(2):
        ask(caller, name)

    shown = caller.get("/metrics").text

    line = (
        'linarite_rate_limited_requests_total{limit="requests",operation="ChatCompletions_Create"}'
    )
    assert line in shown


def test_batches_are_not_counted(server, caller, deploy):
    name = deploy(requests_per_minute=1, tokens_per_minute=50)
    lines = [
        {
            "custom_id": str(number),
            "method": "POST",
            "url": "/chat/completions",
            "body": {"model": name, "messages": HELLO, "max_tokens": 100},
        }
        for number in range(3)
    ]
    with server.sdk() as sdk, server.working():
        content = "\n".join(map(json.dumps, lines)).encode()
        file = sdk.files.create(file=("in.jsonl", content), purpose="batch")
        batch = sdk.batches.create(
            input_file_id=file.id, endpoint="/chat/completions", completion_window="24h"
        )
        deadline = time.monotonic() + 20
        while batch.status not in {"completed", "failed"} and time.monotonic() < deadline:
            time.sleep(0.05)
            batch = sdk.batches.retrieve(batch.id)
        answer = ask(caller, name)

    assert batch.request_counts is not None
    assert (batch.status, batch.request_counts.completed) == ("completed", 3)
    assert answer.status_code == 200
