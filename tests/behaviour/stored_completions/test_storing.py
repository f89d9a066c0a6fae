"""What is stored of a chat, and when."""

import json

import httpx
import openai
import pytest
import sqlalchemy as sa
from tests.behaviour.stored_completions.conftest import MODEL
from tests.support.files import until
from tests.support.stored import export

from linarite.http.metrics import Metrics

TOOL = {"type": "function", "function": {"name": "look_up", "parameters": {"type": "object"}}}


def test_a_stored_chat_is_read_back_with_all_that_was_asked(caller):
    answer = caller.store(
        metadata={"run": "1"},
        temperature=0.5,
        seed=-7,
        user="somebody",
        tools=[TOOL],
        tool_choice={"type": "function", "function": {"name": "look_up"}},
    )

    stored = caller.sdk.chat.completions.retrieve(answer.id)

    assert stored.object == "chat.completion"
    assert (stored.model, stored.created) == (MODEL, answer.created)
    assert stored.choices[0].message.content == "Answer to: Hello"
    assert stored.choices[0].finish_reason == "stop"
    assert stored.usage.total_tokens == answer.usage.total_tokens
    assert (stored.metadata, stored.seed, stored.input_user) == ({"run": "1"}, -7, "somebody")
    assert (stored.temperature, stored.top_p, stored.presence_penalty) == (0.5, 1, 0)
    assert stored.tools[0]["function"]["name"] == "look_up"
    assert json.loads(stored.tool_choice)["function"] == {"name": "look_up"}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_a_stored_call_of_a_tool_is_read_back(caller, stream):
    answer = caller.store('[[call look_up {"a": 1}]]', tools=[TOOL], stream=stream)
    completion_id = [*answer][-1].id if stream else answer.id

    [choice] = caller.sdk.chat.completions.retrieve(completion_id).choices

    assert (choice.finish_reason, choice.message.content) == ("tool_calls", None)
    [call] = choice.message.tool_calls
    assert (call.id, call.type) == ("call_scripted", "function")
    assert (call.function.name, call.function.arguments) == ("look_up", '{"a": 1}')


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_a_stored_call_of_an_older_function_is_read_back_and_exported(caller, server, stream):
    """`functions` and `function_call` are told in the words of tools, which the contract has."""
    earlier = [
        {"role": "user", "content": "Look it up."},
        {
            "role": "assistant",
            "content": None,
            "function_call": {"name": "look_up", "arguments": "{}"},
        },
        {"role": "function", "name": "look_up", "content": "Nothing."},
    ]
    answer = caller.store(
        messages=[*earlier, {"role": "user", "content": '[[call look_up {"a": 1}]]'}],
        functions=[TOOL["function"]],
        function_call={"name": "look_up"},
        stream=stream,
    )
    completion_id = [*answer][-1].id if stream else answer.id

    stored = caller.sdk.chat.completions.retrieve(completion_id)
    sent = list(caller.sdk.chat.completions.messages.list(completion_id))
    _, [line] = export(server, caller.http)

    assert stored.tools[0]["function"]["name"] == "look_up"
    assert json.loads(stored.tool_choice) == {"type": "function", "function": {"name": "look_up"}}
    [choice] = stored.choices
    assert (choice.finish_reason, choice.message.content) == ("function_call", None)
    [call] = choice.message.tool_calls
    assert (call.function.name, call.function.arguments) == ("look_up", '{"a": 1}')
    [earlier_call] = sent[1].to_dict()["tool_calls"]
    assert earlier_call["function"] == {"name": "look_up", "arguments": "{}"}
    assert (sent[2].role, sent[2].name) == ("function", "look_up")
    assert line["tools"] == [TOOL]
    assert line["messages"][-1]["tool_calls"][0]["function"] == call.function.to_dict()
    assert line["messages"][1] == {
        "role": "assistant",
        "function_call": {"name": "look_up", "arguments": "{}"},
        "weight": 0,
    }


def test_the_tier_that_answered_is_stored(caller):
    asked = caller.store(service_tier="default")

    assert caller.sdk.chat.completions.retrieve(asked.id).service_tier == "default"


def test_a_stored_chat_has_the_id_of_its_http_request_and_a_seed(caller):
    with caller.sdk.chat.completions.with_streaming_response.create(
        model="chat", messages=[{"role": "user", "content": "Hello"}], store=True
    ) as answer:
        completion, request_id = answer.parse(), answer.headers["apim-request-id"]

    stored = caller.sdk.chat.completions.retrieve(completion.id)

    assert stored.request_id == request_id
    assert isinstance(stored.seed, int)


def test_every_answer_has_an_id_of_its_own_though_the_engines_is_always_the_same(caller):
    ids = {caller.store().id for _ in range(5)}

    assert len(ids) == 5
    assert set(caller.ids()) == ids


def test_an_engine_is_sent_neither_store_nor_metadata(caller, engine):
    caller.store("nothing of it", metadata={"a": "b"})

    sent = engine.logged()[-1]["body"]
    assert sent["messages"][0]["content"] == "nothing of it"
    assert not {"store", "metadata"} & set(sent)


@pytest.mark.parametrize("shows_usage", [False, True], ids=["without usage", "with usage"])
def test_a_streamed_chat_is_stored_before_its_end_comes(caller, shows_usage):
    options = {"stream_options": {"include_usage": True}} if shows_usage else {}
    body = {"messages": [{"role": "user", "content": "[[say one two three]]"}], "store": True}
    url = "/openai/deployments/chat/chat/completions"

    with caller.http.stream("POST", url, json=body | options | {"stream": True}) as answer:
        lines = answer.iter_lines()
        events = []
        for line in lines:
            if line == "data: [DONE]":
                found = caller.page()["data"]
                break
            if line:
                events.append(json.loads(line.removeprefix("data: ")))

    [stored] = found
    assert {event["id"] for event in events} == {stored["id"]}
    assert {event["model"] for event in events} == {MODEL}
    assert stored["choices"][0]["message"]["content"] == "one two three"
    assert stored["usage"]["completion_tokens"] == 3
    assert any(event.get("usage") for event in events) is shows_usage


def test_an_answer_that_breaks_off_or_fails_is_not_stored(caller):
    with pytest.raises(openai.APIError):
        list(caller.store("[[cut]] [[say a b c]]", stream=True))
    with pytest.raises(openai.APIStatusError):
        caller.store("[[fail 400]]")

    assert caller.page()["data"] == []


def test_a_chat_that_does_not_ask_for_it_is_not_stored(caller):
    caller.sdk.chat.completions.create(
        model="chat", messages=[{"role": "user", "content": "Hello"}], store=False
    )

    assert caller.page() == {
        "object": "list",
        "data": [],
        "total": 0,
        "first_id": None,
        "last_id": None,
        "has_more": False,
    }


def test_an_answer_that_cannot_be_stored_goes_out_and_says_so(caller, server):
    failed = server.built.parts[Metrics].stored_completions.labels("failed")
    before = failed._value.get()
    tables = server.built.database
    with tables.transaction() as tx:
        tx.execute(sa.text("ALTER TABLE stored_completion_usage RENAME TO away"))
    try:
        body = {"messages": [{"role": "user", "content": "Hello"}], "store": True}
        url = "/openai/deployments/chat/chat/completions"
        whole = caller.http.post(url, json=body)
        streamed = caller.http.post(url, json=body | {"stream": True})
    finally:
        with tables.transaction() as tx:
            tx.execute(sa.text("ALTER TABLE away RENAME TO stored_completion_usage"))

    assert whole.json()["choices"][0]["message"]["content"] == "Answer to: Hello"
    assert whole.headers["x-linarite-stored"] == "false"
    assert streamed.text.endswith("data: [DONE]\n\n")
    assert failed._value.get() - before == 2
    assert caller.page()["total"] == 0


@pytest.mark.parametrize(
    ("metadata", "told"),
    [
        ({"k" * 65: "v"}, "key too long. Expected a string with maximum length 64"),
        ({"k": "v" * 513}, "string too long. Expected a string with maximum length 512"),
        ({str(n): "v" for n in range(17)}, "too many properties"),
        ({"k": 1}, "Invalid type for 'metadata.k': expected a string, but got an integer"),
    ],
    ids=["key", "value", "count", "type"],
)
def test_metadata_is_held_against_openais_rules(caller, metadata, told):
    with pytest.raises(openai.BadRequestError) as refusal:
        caller.store(metadata=metadata)

    assert told in refusal.value.message
    assert refusal.value.param.startswith("metadata")


@pytest.mark.parametrize("path", ["completions", "embeddings"])
def test_only_chats_can_be_stored(caller, path):
    body = {"prompt": "Hello", "input": "Hello", "store": True}

    answer = caller.http.post(f"/openai/deployments/chat/{path}", json=body)

    assert answer.status_code == 400


def test_the_lines_of_a_batch_are_stored_too(caller, server):
    line = {
        "custom_id": "one",
        "method": "POST",
        "url": "/v1/chat/completions",
        "body": {
            "model": "chat",
            "messages": [{"role": "user", "content": "from a batch"}],
            "store": True,
            "metadata": {"from": "batch"},
        },
    }
    file = caller.sdk.files.create(file=("in.jsonl", json.dumps(line).encode()), purpose="batch")
    with server.working():
        batch = caller.sdk.batches.create(
            input_file_id=file.id,
            endpoint="/v1/chat/completions",
            completion_window="24h",
        )
        until(
            lambda: caller.sdk.batches.retrieve(batch.id).status == "completed",
            "the batch is over",
        )

    output = caller.sdk.batches.retrieve(batch.id).output_file_id
    response = json.loads(caller.sdk.files.content(output).text)["response"]
    said = response["body"]
    [stored] = caller.page(metadata="from:batch")["data"]
    assert stored["request_id"] == response["request_id"]
    assert stored["id"] == said["id"]
    assert stored["choices"][0]["message"]["content"] == "Answer to: from a batch"


def test_the_outcome_is_counted(caller):
    caller.store()

    shown = caller.http.get("/metrics").text

    assert 'linarite_stored_completions_total{outcome="stored"}' in shown


def test_who_leaves_before_the_answer_stores_nothing(caller):
    body = {"messages": [{"role": "user", "content": "[[hang]]"}], "store": True}

    with pytest.raises(httpx.ReadTimeout):
        caller.http.post("/openai/deployments/chat/chat/completions", json=body, timeout=0.3)

    assert caller.page()["data"] == []
