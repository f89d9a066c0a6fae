"""Tools reach an upstream as they were given, and its calls reach the caller as it made them."""

import pytest
from openai.lib.streaming.chat import ChatCompletionStreamState

SUN = {"name": "sun", "parameters": {"type": "object", "properties": {"day": {"type": "integer"}}}}
TOOLS = [{"type": "function", "function": SUN}]
ASKED = [{"role": "user", "content": '[[call sun {"day": 1}]]'}]


@pytest.fixture
def client(server):
    with server.sdk() as one:
        yield one


def test_a_call_and_its_answer_pass_as_they_are(client, engine):
    asked = {"model": "chat", "tools": TOOLS, "tool_choice": "required"}

    said = client.chat.completions.create(
        messages=ASKED, parallel_tool_calls=False, **asked
    ).choices[0]
    call = said.message.tool_calls[0]
    answered = {"role": "tool", "tool_call_id": call.id, "content": "[[say It shines.]]"}
    final = client.chat.completions.create(messages=[*ASKED, said.message, answered], **asked)

    assert (said.finish_reason, said.message.content) == ("tool_calls", None)
    assert (call.id, call.function.name) == ("call_scripted", "sun")
    assert call.function.arguments == '{"day": 1}'
    assert final.choices[0].message.content == "It shines."
    first, second = (entry["body"] for entry in engine.logged()[-2:])
    assert first["tools"] == TOOLS
    assert (first["tool_choice"], first["parallel_tool_calls"]) == ("required", False)
    assert second["messages"][1]["tool_calls"] == [call.model_dump()]
    assert second["messages"][2] == answered


def test_a_streamed_call_is_put_together_by_the_official_client(client):
    asked = {"model": "chat", "messages": ASKED, "tools": TOOLS}
    whole = client.chat.completions.create(**asked).choices[0].message
    state = ChatCompletionStreamState(input_tools=TOOLS)

    for chunk in client.chat.completions.create(**asked, stream=True):
        state.handle_chunk(chunk)

    streamed = state.get_final_completion().choices[0]
    assert streamed.finish_reason == "tool_calls"
    [call], [expected] = streamed.message.tool_calls, whole.tool_calls
    assert (call.id, call.function.name) == (expected.id, "sun")
    assert call.function.arguments == expected.function.arguments
