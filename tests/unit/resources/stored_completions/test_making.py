"""What is stored of answers that the scripted engine does not give: tools, logprobs, streams."""

import json

import orjson
import pytest

from linarite.resources.stored_completions.making import (
    NotStorable,
    StreamedAnswer,
    completion_of,
)
from linarite.resources.stored_completions.messages import flattened

ASKED = {"messages": [{"role": "user", "content": "Hello"}]}
CALL = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}
TOKEN = {"token": "Hi", "logprob": -0.5, "bytes": [72, 105], "top_logprobs": []}


def answer(**message):
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": "Hi"} | message,
        "finish_reason": "stop",
        "logprobs": {"content": [TOKEN | {"theirs": 1}], "refusal": None},
    }
    return {"id": "chatcmpl-1", "created": 5, "choices": [choice], "theirs": True}


CUSTOM = {"id": "call_1", "type": "custom", "custom": {"name": "sql", "input": "SELECT 1"}}


def stored(asked, said):
    made = completion_of(asked, said, model="m", deployment="d", request_id="r")
    return orjson.loads(made.completion)


def streamed(*choices, **head):
    answer = StreamedAnswer()
    for choice in choices:
        answer.add({"id": "chatcmpl-1", "created": 5, "choices": [{"index": 0, **choice}], **head})
    return answer


def called(*calls):
    deltas = [{"delta": {"tool_calls": [{"index": 0} | call]}} for call in calls]
    return streamed(*deltas, {"delta": {}, "finish_reason": "tool_calls"})


def test_tool_calls_and_logprobs_are_stored_in_openais_form():
    choice = stored(ASKED, answer(content=None, tool_calls=[CALL]))["choices"][0]

    assert choice["message"]["content"] is None
    assert choice["message"]["tool_calls"] == [CALL]
    assert choice["logprobs"] == {"content": [TOKEN], "refusal": None}


def test_a_seed_that_nobody_gave_is_made_for_the_record():
    seeds = {stored(ASKED, answer())["seed"] for _ in range(20)}

    assert len(seeds) == 20
    assert all(-(2**63) <= seed < 2**63 for seed in seeds)
    assert stored(ASKED | {"seed": 7}, answer())["seed"] == 7


@pytest.mark.parametrize("given", ["auto", {"type": "function", "function": {"name": "f"}}])
def test_a_choice_of_tools_is_text(given):
    kept = stored(ASKED | {"tool_choice": given}, answer())["tool_choice"]

    assert kept == given or json.loads(kept) == given


OLDER_CALL = {"name": "f", "arguments": '{"a":1}'}


@pytest.mark.parametrize(
    "said",
    [
        answer(content=None, function_call=OLDER_CALL),
        streamed(
            {"delta": {"role": "assistant", "content": ""}},
            {"delta": {"function_call": {"name": "f", "arguments": ""}}},
            {"delta": {"function_call": {"arguments": '{"a"'}}},
            {"delta": {"function_call": {"arguments": ":1}"}}},
            {"delta": {}, "finish_reason": "function_call"},
        ),
    ],
    ids=["whole", "streamed"],
)
def test_older_functions_and_their_calls_are_stored_as_tools_and_theirs(said):
    function = {"name": "f", "parameters": {"type": "object"}}
    asked = ASKED | {"functions": [function], "function_call": {"name": "f"}}

    kept = stored(asked, said)

    assert kept["tools"] == [
        {"type": "function", "function": function | {"description": None, "strict": None}}
    ]
    assert json.loads(kept["tool_choice"]) == {"type": "function", "function": {"name": "f"}}
    message = kept["choices"][0]["message"]
    assert message["content"] is None
    assert message["tool_calls"] == [CALL | {"id": "call_chatcmpl-1"}]
    assert stored(ASKED | {"function_call": "none"}, said)["tool_choice"] == "none"


def test_the_pieces_of_a_stream_make_the_answer_that_would_have_come_whole():
    whole = streamed(
        {"delta": {"role": "assistant", "content": "H"}, "logprobs": {"content": [TOKEN]}},
        {"delta": {"content": "i"}, "logprobs": {"content": [TOKEN]}},
        {"delta": {}, "finish_reason": "stop"},
        system_fingerprint="fp",
    )

    kept = stored(ASKED, whole)

    assert kept["choices"][0]["message"]["content"] == "Hi"
    assert kept["choices"][0]["logprobs"]["content"] == [TOKEN, TOKEN]
    assert (kept["system_fingerprint"], kept["usage"]) == ("fp", None)


def test_streamed_tool_calls_are_put_together_by_their_index():
    def delta(index, **said):
        return {"delta": {"tool_calls": [{"index": index, **said}]}}

    whole = streamed(
        delta(0, id="call_1", type="function", function={"name": "f", "arguments": ""}),
        delta(1, id="call_2", function={"name": "g", "arguments": "{}"}),
        delta(0, function={"arguments": '{"a"'}),
        delta(0, function={"arguments": ":1}"}),
        {"delta": {}, "finish_reason": "tool_calls"},
    )

    message = stored(ASKED, whole)["choices"][0]["message"]

    assert message["content"] is None
    assert message["tool_calls"][0] == CALL
    assert message["tool_calls"][1]["function"] == {"name": "g", "arguments": "{}"}


def test_streamed_calls_that_have_no_index_are_whole_ones():
    calls = [{"id": f"call_{n}", "function": {"name": f"f{n}", "arguments": "{}"}} for n in (1, 2)]
    deltas = [{"delta": {"tool_calls": [call]}} for call in calls]

    whole = streamed(*deltas, {"delta": {}, "finish_reason": "tool_calls"})

    kept = stored(ASKED, whole)["choices"][0]["message"]["tool_calls"]
    assert [call["function"]["name"] for call in kept] == ["f1", "f2"]


def test_a_usage_without_a_total_has_the_sum_of_its_parts():
    said = answer() | {"usage": {"prompt_tokens": 3, "completion_tokens": 4}}

    assert stored(ASKED, said)["usage"]["total_tokens"] == 7


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"id": "x", "created": 5, "choices": [None]},
        answer(content=7),
        answer() | {"id": None},
        answer(content=None, tool_calls=[CUSTOM]),
        streamed({"delta": {"content": "cut sho"}}),
        called(CUSTOM),
        called({"function": CALL["function"]}),
        called({**CALL, "function": {"name": "f", "arguments": {"a": 1}}}),
    ],
    ids=[
        "nothing",
        "no choice",
        "no text",
        "no id",
        "a call of no known type",
        "a stream without an end",
        "a streamed call of no known type",
        "a streamed call without an id",
        "a streamed call whose arguments are no text",
    ],
)
def test_what_is_no_answer_cannot_be_stored(said):
    with pytest.raises(NotStorable):
        stored(ASKED, said)


def test_parts_that_are_no_text_are_named():
    parts = [{"type": "text", "text": "This:"}, {"type": "image_url", "image_url": {}}]
    parts += [{"type": "refusal", "refusal": "No."}]

    assert flattened(parts) == "This:\n[image_url]\nNo."
