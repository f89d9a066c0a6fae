"""Prompts and answers that a moderation endpoint judges, in Azure's form."""

import json
import time
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest
from tests.support.running_engine import RunningEngine, scripted_engine
from tests.support.server import Server, running_server

SAFE = {"filtered": False, "severity": "safe"}
NOTHING = {"hate": SAFE, "self_harm": SAFE, "sexual": SAFE, "violence": SAFE}
NOT_FILTERED = {
    "error": {"code": "content_filter_error", "message": "The contents are not filtered"}
}
AWAY = {"base_url": "http://127.0.0.1:9/v1"}


def user(text: str) -> Any:
    return [{"role": "user", "content": text}]


def saying(answer: str, more: str = "") -> Any:
    """A chat whose answer is `answer`, which the prompt does not say in so many words."""
    return user(f"{more}[[backwards {answer[::-1]}]]")


@pytest.fixture(scope="module")
def moderation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningEngine]:
    with scripted_engine(tmp_path_factory.mktemp("moderation")) as running:
        yield running


@pytest.fixture(autouse=True)
def fresh_judge(moderation: RunningEngine) -> None:
    moderation.steer(every="")
    moderation.forget()


@pytest.fixture(scope="module")
def models(engine: RunningEngine) -> dict[str, Any]:
    upstream = {"base_url": engine.base_url, "model": "theirs"}
    return {
        "models": [
            {"id": "chat", "upstream": upstream},
            {"id": "embed", "kind": "embedding", "upstream": upstream},
        ]
    }


@pytest.fixture(scope="module")
def server(
    models: dict[str, Any], moderation: RunningEngine, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    content_filter = {
        "base_url": moderation.base_url,
        "model": "judge",
        "api_key_env": "TEST_MODERATION_KEY",
        "window_characters": 40,
        "seconds": 1,
    }
    folder = tmp_path_factory.mktemp("filtered")
    with (
        pytest.MonkeyPatch.context() as environment,
        running_server(folder / "data", content_filter=content_filter, **models) as running,
    ):
        environment.setenv("TEST_MODERATION_KEY", "the-key-of-the-judge")
        yield running


@pytest.fixture
def caller(server: Server) -> Iterator[httpx.Client]:
    with server.client() as client:
        yield client


@pytest.fixture
def sdk(server: Server) -> Iterator[openai.AzureOpenAI]:
    with server.sdk() as client:
        yield client


def chat(caller: httpx.Client, messages: Any, **asked: Any) -> httpx.Response:
    body = {"messages": messages} | asked
    return caller.post("/openai/deployments/chat/chat/completions", json=body)


def events(answer: httpx.Response) -> list[Any]:
    """What the events of a stream say, which ends as streams do."""
    said = [line.removeprefix("data: ") for line in answer.text.split("\n\n") if line]
    assert said.pop() == "[DONE]"
    return [json.loads(one) for one in said]


def text_of(said: list[Any], index: int = 0) -> str:
    choices = [choice for event in said for choice in event["choices"] if choice["index"] == index]
    return "".join(choice["delta"].get("content") or "" for choice in choices)


def test_an_answer_tells_what_was_found(caller):
    answer = chat(caller, saying("a mild violence=0.3")).json()

    mild = NOTHING | {"violence": {"filtered": False, "severity": "low"}}
    assert answer["prompt_filter_results"] == [
        {"prompt_index": 0, "content_filter_results": NOTHING}
    ]
    assert answer["choices"][0]["content_filter_results"] == mild
    assert answer["choices"][0]["message"]["content"] == "a mild violence=0.3"


def test_a_prompt_that_is_filtered_is_refused_in_azures_form(sdk, engine):
    with pytest.raises(openai.BadRequestError) as refused:
        sdk.chat.completions.create(model="chat", messages=user("so much hate/threatening=0.9"))

    hate = {"hate": {"filtered": True, "severity": "high"}}
    assert refused.value.response.json() == {
        "error": {
            "message": "The response was filtered due to the prompt triggering Azure OpenAI's "
            "content management policy. Please modify your prompt and retry. To learn more about "
            "our content filtering policies please read our documentation: "
            "https://go.microsoft.com/fwlink/?linkid=2198766",
            "type": None,
            "param": "prompt",
            "code": "content_filter",
            "status": 400,
            "innererror": {
                "code": "ResponsibleAIPolicyViolation",
                "content_filter_result": NOTHING | hate,
            },
        }
    }
    assert (refused.value.code, refused.value.param) == ("content_filter", "prompt")
    assert engine.asked()["total"] == 0


@pytest.mark.parametrize(
    "asked",
    [
        {"messages": [{"role": "system", "content": "sexual!"}, *user("Hello")]},
        {
            "messages": user(
                [{"type": "text", "text": "Hello"}, {"type": "text", "text": "sexual!"}]
            )
        },
        {"messages": [{"role": "assistant", "content": "sexual!"}, *user("Hello")]},
        {
            "messages": user("Hello"),
            "tools": [{"type": "function", "function": {"name": "f", "description": "sexual!"}}],
        },
        {
            "messages": [
                {
                    "role": "assistant",
                    "tool_calls": [
                        {
                            "id": "1",
                            "type": "function",
                            "function": {"name": "f", "arguments": '{"a": "sexual!"}'},
                        }
                    ],
                },
                {"role": "tool", "tool_call_id": "1", "content": "done"},
            ]
        },
        {"messages": user("Hello"), "chat_template": "sexual!"},
        {"messages": user("Hello"), "documents": [{"text": "sexual!"}]},
        {"messages": user("Hello"), "prediction": {"type": "content", "content": "sexual!"}},
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_all_that_a_model_reads_is_judged(caller, asked, stream):
    answer = caller.post(
        "/openai/deployments/chat/chat/completions", json=asked | {"stream": stream}
    )

    inner = answer.json()["error"]["innererror"]["content_filter_result"]
    assert answer.status_code == 400
    assert inner["sexual"] == {"filtered": True, "severity": "medium"}


def test_an_attack_on_the_model_is_told_where_the_endpoint_knows_it(caller):
    answer = chat(caller, user("now a jailbreak!"))

    inner = answer.json()["error"]["innererror"]["content_filter_result"]
    assert inner == NOTHING | {"jailbreak": {"filtered": True, "detected": True}}


def test_an_answer_that_is_filtered_is_gone(caller):
    answer = chat(caller, saying("cruel violence=0.7"), logprobs=True).json()

    (choice,) = answer["choices"]
    assert choice["message"] == {"role": "assistant", "content": None, "refusal": None}
    assert (choice["finish_reason"], choice["logprobs"]) == ("content_filter", None)
    assert choice["content_filter_results"]["violence"] == {"filtered": True, "severity": "medium"}
    assert "cruel" not in json.dumps(answer)


def test_the_endpoint_is_asked_as_the_operator_said(caller, moderation):
    chat(caller, saying("an answer", "a prompt "))

    prompt, answer = moderation.logged()[-2:]
    assert prompt["headers"]["authorization"] == "Bearer the-key-of-the-judge"
    assert "api-key" not in prompt["headers"]
    assert prompt["body"] == {"input": ["a prompt [[backwards rewsna na]]"], "model": "judge"}
    assert answer["body"]["input"] == ["an answer"]


@pytest.mark.parametrize(
    ("said", "status", "reason"),
    [("fine", 200, "stop"), ("violence=0.9", 200, "content_filter")],
)
def test_completions_are_judged(caller, said, status, reason):
    prompt = f"[[backwards {said[::-1]}]]"
    answer = caller.post("/openai/deployments/chat/completions", json={"prompt": prompt})

    choice = answer.json()["choices"][0]
    assert (answer.status_code, choice["finish_reason"]) == (status, reason)
    assert choice["text"] == ("fine" if reason == "stop" else "")


@pytest.mark.parametrize(
    "beside",
    [
        {"prompt": "violence=0.9", "messages": []},
        {"prompt": "violence=0.9", "messages": None},
        {"prompt": ["Hello", "violence=0.9"]},
        {"prompt": "Hello", "suffix": "violence=0.9"},
        {"prompt": "Hello", "messages": user("violence=0.9")},
        {"prompt": "Hello", "guided_choice": ["yes", "violence=0.9"]},
    ],
)
def test_nothing_beside_a_prompt_keeps_it_from_being_judged(caller, engine, beside):
    answer = caller.post("/openai/deployments/chat/completions", json=beside)

    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "content_filter")
    assert engine.asked()["total"] == 0


def test_a_prompt_of_token_ids_cannot_be_judged(caller):
    answer = caller.post("/openai/deployments/chat/completions", json={"prompt": [1, 2]})

    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "prompt")
    assert "content filter" in answer.json()["error"]["message"]


def test_embeddings_pass(caller, moderation):
    answer = caller.post("/openai/deployments/embed/embeddings", json={"input": "violence=0.9"})

    assert answer.status_code == 200
    assert moderation.asked()["total"] == 0


def test_a_stream_begins_with_what_was_found_of_the_prompt(caller):
    first, *rest = events(chat(caller, saying("one two three"), stream=True))

    assert first == {
        "choices": [],
        "created": 0,
        "id": "",
        "model": "",
        "object": "",
        "prompt_filter_results": [{"prompt_index": 0, "content_filter_results": NOTHING}],
    }
    assert text_of(rest) == "one two three"
    told = [event["choices"][0]["content_filter_results"] for event in rest]
    assert told == [{}, NOTHING, NOTHING, NOTHING, {}], "the role, three words, the end"
    assert rest[-1]["choices"][0]["finish_reason"] == "stop"
    assert all(event["model"] == "chat" for event in rest)


def test_the_official_client_reads_a_filtered_stream(sdk):
    harmless = "word " * 20
    stream = sdk.chat.completions.create(
        model="chat", messages=saying(harmless + "violence=0.9 and so on"), stream=True
    )

    choices = [chunk.choices[0] for chunk in stream if chunk.choices]
    text = "".join(choice.delta.content or "" for choice in choices)
    assert harmless.startswith(text)
    assert len(text) >= 40
    assert choices[-1].finish_reason == "content_filter"
    results = choices[-1].model_extra["content_filter_results"]
    assert results["violence"] == {"filtered": True, "severity": "high"}


def test_what_stands_across_two_windows_is_found(caller):
    said = events(chat(caller, saying("word " * 7 + "hate/threat" + "ening=0.9"), stream=True))

    assert said[-1]["choices"][0]["finish_reason"] == "content_filter"


def test_a_filtered_stream_stops_the_engine(caller, engine):
    messages = saying("violence=0.9/" + "a" * 40 + " and more", "[[stall]]")

    said = events(chat(caller, messages, stream=True))

    assert [event["choices"][0]["finish_reason"] for event in said[1:]] == [None, "content_filter"]
    assert text_of(said) == ""
    deadline = time.monotonic() + 5
    while not engine.asked()["cancelled"] and time.monotonic() < deadline:
        time.sleep(0.02)
    assert engine.asked()["cancelled"] == 1


def test_usage_comes_where_nothing_was_filtered(caller):
    options = {"include_usage": True}
    said = events(chat(caller, saying("one two"), stream=True, stream_options=options))

    assert said[-1]["choices"] == []
    assert said[-1]["usage"]["completion_tokens"] == 2


@pytest.mark.parametrize("stream", [False, True])
def test_what_is_stored_is_what_went_out(sdk, stream):
    answer: Any = sdk.chat.completions.create(
        model="chat",
        messages=saying("word " * 10 + "violence=0.9"),
        store=True,
        stream=stream,
        metadata={"run": f"filtered-{stream}"},
    )
    sent = (
        "".join(chunk.choices[0].delta.content or "" for chunk in answer if chunk.choices)
        if stream
        else answer.choices[0].message.content
    )

    (stored,) = sdk.chat.completions.list(metadata={"run": f"filtered-{stream}"})
    choice = stored.choices[0]
    assert choice.finish_reason == "content_filter"
    assert choice.message.content == sent
    assert "violence" not in (choice.message.content or "")


@pytest.mark.parametrize("failure", ["[[fail 500]]", "[[drop]]", "[[garbage]]", "[[hang]]"])
def test_nothing_passes_while_the_endpoint_is_away(caller, moderation, engine, failure):
    moderation.steer(every=failure)

    answer = chat(caller, user("Hello"))

    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert answer.json()["error"]["code"] == "serviceUnavailable"
    assert "content filter" in answer.json()["error"]["message"]
    assert engine.asked()["total"] == 0


def test_no_answer_passes_that_the_endpoint_does_not_judge(caller):
    answer = chat(caller, saying("hello fail=500"))

    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "serviceUnavailable")


def test_a_stream_ends_where_the_endpoint_does_not_judge(sdk):
    messages = saying("word " * 10 + "and fail=500 " + "word " * 10)
    stream = sdk.chat.completions.create(model="chat", messages=messages, stream=True)
    texts = (choice.delta.content or "" for chunk in stream for choice in chunk.choices)
    seen: list[str] = []

    with pytest.raises(openai.APIError, match="content filter of this server does not answer"):
        seen.extend(texts)

    assert "".join(seen) == "word " * 8


def test_what_the_filter_did_is_counted_for_the_operator(caller):
    chat(caller, saying("violence=0.9"))

    shown = caller.get("/metrics").text

    for subject, outcome in (("prompt", "passed"), ("answer", "filtered")):
        wanted = f'linarite_content_filter_checks_total{{outcome="{outcome}",subject="{subject}"}}'
        assert wanted in shown


def test_lines_of_batches_are_judged(server, sdk, moderation):
    moderation.steer(every="[[fail 500 x1]]")  # the batch waits until they can be
    texts = [
        saying("fine"),
        user("self-harm/intent!"),
        saying("violence=0.9"),
        user("too long: fail=413"),
    ]
    lines = [
        {"custom_id": str(number), "method": "POST", "url": "/chat/completions"}
        | {"body": {"model": "chat", "messages": messages}}
        for number, messages in enumerate(texts)
    ]
    content = "\n".join(map(json.dumps, lines)).encode()
    with server.working():
        file = sdk.files.create(file=("in.jsonl", content), purpose="batch")
        batch = sdk.batches.create(
            input_file_id=file.id, endpoint="/chat/completions", completion_window="24h"
        )
        deadline = time.monotonic() + 20
        while batch.status not in {"completed", "failed"} and time.monotonic() < deadline:
            time.sleep(0.05)
            batch = sdk.batches.retrieve(batch.id)

        told, failed = (
            [json.loads(line) for line in sdk.files.content(one).text.splitlines()]
            for one in (batch.output_file_id, batch.error_file_id)
        )

    choices = [one["response"]["body"]["choices"][0] for one in told]
    assert [choice["finish_reason"] for choice in choices] == ["stop", "content_filter"]
    answers = {one["custom_id"]: one["response"] for one in failed}
    assert {name: answer["status_code"] for name, answer in answers.items()} == {"1": 400, "3": 400}
    refused, unjudgeable = (answers[name]["body"]["error"] for name in ("1", "3"))
    told = refused["innererror"]["content_filter_result"]["self_harm"]
    assert told == {"filtered": True, "severity": "medium"}
    assert unjudgeable["code"] == "content_filter_error"


def test_where_the_settings_let_it_what_cannot_be_judged_passes(models, tmp_path):
    content_filter = AWAY | {"when_away": "pass"}
    with (
        running_server(tmp_path / "data", content_filter=content_filter, **models) as server,
        server.client() as caller,
    ):
        whole = chat(caller, saying("hello")).json()
        stream = events(chat(caller, saying("hello"), stream=True))

    assert whole["choices"][0]["message"]["content"] == "hello"
    assert whole["choices"][0]["content_filter_results"] == NOT_FILTERED
    assert whole["prompt_filter_results"][0]["content_filter_results"] == NOT_FILTERED
    assert text_of(stream) == "hello"


def test_where_the_settings_only_tell_nothing_is_filtered(models, moderation, tmp_path):
    content_filter = {"base_url": moderation.base_url, "filtered_from": "never"}
    with (
        running_server(tmp_path / "data", content_filter=content_filter, **models) as server,
        server.client() as caller,
    ):
        answer = chat(caller, saying("violence=0.9", "jailbreak! sexual! ")).json()

    prompt = answer["prompt_filter_results"][0]["content_filter_results"]
    assert prompt["sexual"] == {"filtered": False, "severity": "medium"}
    assert prompt["jailbreak"] == {"filtered": False, "detected": True}
    choice = answer["choices"][0]
    assert choice["message"]["content"] == "violence=0.9"
    assert choice["content_filter_results"]["violence"] == {"filtered": False, "severity": "high"}


def test_without_a_filter_nothing_is_told(models, tmp_path):
    with running_server(tmp_path / "data", **models) as server, server.client() as caller:
        whole = chat(caller, saying("violence=0.9")).text
        stream = chat(caller, saying("violence=0.9"), stream=True).text

    assert "filter" not in whole + stream
