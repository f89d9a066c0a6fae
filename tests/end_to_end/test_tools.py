"""Tools on the embedded model through the newest official SDK: the loop, streams, batches, stores.

The model is too small to choose well, so the choice is made for it, by `tool_choice` or by example.
"""

import json
from typing import Any

import jsonschema
import openai
import pytest
from openai.lib.streaming.chat import ChatCompletionStreamState
from tests.end_to_end.conftest import CHAT_BATCH, Sdk, settled
from tests.support.embedded import CHAT

WEATHER = {
    "type": "object",
    "properties": {
        "city": {"type": "string", "maxLength": 12},
        "unit": {"enum": ["celsius", "fahrenheit"]},
        "days": {"type": "array", "items": {"type": "integer", "minimum": 1, "maximum": 7}},
    },
    "required": ["city", "unit", "days"],
    "additionalProperties": False,
}
WEATHER["properties"]["days"] |= {"minItems": 1, "maxItems": 3}  # type: ignore[index]
TOOLS: Any = [
    {
        "type": "function",
        "function": {"name": "weather", "description": "The weather", "parameters": WEATHER},
    },
    {"type": "function", "function": {"name": "now"}},
]
NAMED: Any = {"type": "function", "function": {"name": "weather"}}
QUESTION: Any = [{"role": "user", "content": "What is the weather in Paris, in celsius?"}]
ASKED: Any = {"model": CHAT, "messages": QUESTION, "tools": TOOLS, "temperature": 0}


@pytest.fixture
def plain(served: Any) -> Any:
    """One client, for what does not differ between its variants."""
    from tests.support.sdk_variants import sdk_client

    with sdk_client("azure", served.ready) as one:
        yield one


def test_the_loop_of_calls_and_answers_comes_to_an_end(sdk: Sdk):
    messages: Any = [*QUESTION]

    said = sdk.client.chat.completions.create(**ASKED, tool_choice=NAMED).choices[0]
    call = said.message.tool_calls[0]
    messages += [
        said.message,
        {"role": "tool", "tool_call_id": call.id, "content": "18 degrees and sunny"},
    ]
    final = sdk.client.chat.completions.create(
        **ASKED | {"messages": messages}, tool_choice="none", max_tokens=16
    ).choices[0]

    assert (call.type, call.function.name, said.message.content) == ("function", "weather", None)
    assert said.finish_reason == "stop"
    jsonschema.validate(json.loads(call.function.arguments), WEATHER)
    assert final.message.content
    assert not final.message.tool_calls


def test_where_a_call_is_required_the_model_chooses_which(plain: Any):
    asked = ASKED | {"tool_choice": "required", "parallel_tool_calls": False}

    said = plain.chat.completions.create(**asked, stop=["\n", "weather", '"']).choices[0]

    [call] = said.message.tool_calls
    assert (said.finish_reason, said.message.content) == ("tool_calls", None)
    schema = WEATHER if call.function.name == "weather" else {"maxProperties": 0}
    jsonschema.validate(json.loads(call.function.arguments), schema)


def test_streamed_deltas_come_to_the_same_call(plain: Any):
    asked = ASKED | {"tool_choice": NAMED}
    whole = plain.chat.completions.create(**asked).choices[0].message.tool_calls[0]
    state = ChatCompletionStreamState(input_tools=TOOLS)

    chunks = list(plain.chat.completions.create(**asked, stream=True))

    for chunk in chunks:
        state.handle_chunk(chunk)
    [streamed] = state.get_final_completion().choices[0].message.tool_calls or []
    assert (streamed.function.name, streamed.function.arguments) == (
        whole.function.name,
        whole.function.arguments,
    )
    deltas = [chunk.choices[0].delta for chunk in chunks]
    told = [delta.tool_calls[0] for delta in deltas if delta.tool_calls]
    assert (told[0].id, told[0].function.name, told[0].function.arguments) == (
        streamed.id,
        "weather",
        "",
    )
    assert len(told) > 5
    assert not any(delta.content for delta in deltas)


def test_by_example_the_model_calls_of_itself_and_several_tools_at_once(plain: Any):
    """What it has seen done three times it does itself."""
    city = {"type": "string", "maxLength": 12}
    schema = {"type": "object", "properties": {"city": city}, "required": ["city"]}
    tool = {"type": "function", "function": {"name": "weather", "parameters": schema}}
    messages: Any = [
        message for place in ("Rome", "Oslo", "Lima") for message in _example(place, "Cairo")
    ]
    messages.append({"role": "user", "content": "Weather in Paris and Cairo?"})
    asked = ASKED | {"messages": messages, "tools": [tool], "max_tokens": 60}

    several = plain.chat.completions.create(**asked).choices[0].message.tool_calls
    one = plain.chat.completions.create(**asked, parallel_tool_calls=False).choices[0]

    cities = [json.loads(call.function.arguments)["city"] for call in several]
    assert cities == ["Paris", "Cairo"]
    assert several[0].id != several[1].id
    assert one.finish_reason == "tool_calls"
    assert [call.function.arguments for call in one.message.tool_calls] == [
        several[0].function.arguments
    ]


def _example(*cities: str) -> list[dict[str, Any]]:
    """A chat in which the weather of each city is looked up at once."""
    calls = [
        {
            "id": f"call_{city}",
            "type": "function",
            "function": {"name": "weather", "arguments": json.dumps({"city": city})},
        }
        for city in cities
    ]
    return [
        {"role": "user", "content": f"Weather in {' and '.join(cities)}?"},
        {"role": "assistant", "tool_calls": calls},
        *({"role": "tool", "tool_call_id": call["id"], "content": "Sunny"} for call in calls),
        {"role": "assistant", "content": "It is sunny."},
    ]


def test_beside_a_response_format_an_answer_fits_it_or_calls(plain: Any):
    schema = {"type": "object", "properties": {"sunny": {"type": "boolean"}}, "required": ["sunny"]}
    form = {"type": "json_schema", "json_schema": {"name": "sky", "schema": schema}}

    said = plain.chat.completions.create(**ASKED, response_format=form).choices[0]

    if said.finish_reason == "tool_calls":
        assert said.message.content is None
        assert len(said.message.tool_calls) == 1
    else:
        assert said.finish_reason == "stop"
        jsonschema.validate(json.loads(said.message.content), schema)


def test_functions_are_answered_in_their_own_form(plain: Any):
    asked = {"model": CHAT, "messages": QUESTION, "temperature": 0}
    functions = [TOOLS[0]["function"]]

    said = plain.chat.completions.create(
        **asked, functions=functions, function_call={"name": "weather"}
    ).choices[0]

    assert said.message.tool_calls is None
    jsonschema.validate(json.loads(said.message.function_call.arguments), WEATHER)


def test_a_strict_schema_that_cannot_be_followed_is_refused_with_its_place(plain: Any):
    odd = {
        "type": "object",
        "properties": {"a": {"type": "string", "pattern": "a+"}},
        "required": ["a"],
        "additionalProperties": False,
    }
    tool = {"type": "function", "function": {"name": "odd", "parameters": odd, "strict": True}}

    with pytest.raises(openai.BadRequestError) as refused:
        plain.chat.completions.create(**ASKED | {"tools": [TOOLS[1], tool]})

    assert refused.value.param == "tools[1].function.parameters"
    assert refused.value.code == "invalid_function_parameters"
    assert "In context=('properties', 'a')" in refused.value.message


def test_a_call_is_stored_with_its_tools(plain: Any):
    said = plain.chat.completions.create(**ASKED, tool_choice=NAMED, store=True)

    stored = plain.chat.completions.retrieve(said.id)

    [call] = stored.choices[0].message.tool_calls
    assert call.model_dump() == said.choices[0].message.tool_calls[0].model_dump()
    assert [tool["function"]["name"] for tool in stored.tools] == ["weather", "now"]
    assert json.loads(stored.tool_choice) == NAMED


def test_the_line_of_a_batch_calls_too(plain: Any):
    line = {"custom_id": "a", "method": "POST", "url": "/v1/chat/completions"}
    body = ASKED | {"tool_choice": "required", "parallel_tool_calls": False}
    text = json.dumps({**line, "body": body}).encode()
    file = plain.files.create(file=("in.jsonl", text), purpose="batch")

    done = settled(plain, plain.batches.create(input_file_id=file.id, **CHAT_BATCH).id)

    answered = json.loads(plain.files.content(done.output_file_id).text)["response"]["body"]
    assert answered["choices"][0]["finish_reason"] == "tool_calls"
    assert answered["choices"][0]["message"]["tool_calls"][0]["function"]["name"]
