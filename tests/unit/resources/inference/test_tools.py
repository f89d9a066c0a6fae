"""What is said of tools is held against OpenAI's rules, and refused in OpenAI's words."""

import json

import pytest

from linarite.errors import InferenceRefused
from linarite.resources.inference.tools import check_tools

USER = {"role": "user", "content": "Sun?"}
SUN = {"name": "sun", "description": "Whether it shines", "parameters": {"type": "object"}}
TOOLS = [{"type": "function", "function": SUN}]
NAMED = {"type": "function", "function": {"name": "sun"}}


def call(call_id="call_1", **function):
    called = {"name": "sun", "arguments": "{}"} | function
    return {"id": call_id, "type": "function", "function": called}


def called(*calls, **more):
    return {"role": "assistant", "tool_calls": list(calls), **more}


def answered(call_id="call_1", **more):
    return {"role": "tool", "content": "yes", "tool_call_id": call_id, **more}


def body(*messages, **more):
    return {"messages": [USER, *messages], **more}


def function(**changes):
    """A chat whose tool is changed."""
    return body(tools=[{"type": "function", "function": SUN | changes}])


@pytest.mark.parametrize(
    "chat",
    [
        body(),
        body(tools=TOOLS),
        body(tools=[{"type": "function", "function": {"name": "a-_9" * 16}}]),
        body(tools=TOOLS, tool_choice="required", parallel_tool_calls=False),
        body(tools=TOOLS, tool_choice=NAMED),
        body(functions=[SUN], function_call={"name": "sun"}),
        body(called(call(), content=None), answered(), {"role": "assistant", "content": "It does"}),
        body(called(call("a"), call("b")), answered("b"), answered("a"), called(call("a")),
             answered("a")),
        body(
            {"role": "assistant", "function_call": {"name": "sun", "arguments": "not JSON"}},
            {"role": "function", "name": "sun", "content": "yes"},
        ),
    ],
)  # fmt: skip
def test_what_openai_takes_is_taken(chat):
    check_tools(chat)


@pytest.mark.parametrize(
    ("chat", "param", "told"),
    [
        (
            body(tools=[]),
            "tools",
            "Invalid 'tools': empty array. Expected an array with minimum length 1, but got an "
            "empty array instead.",
        ),
        (body(tools=[{}]), "tools[0].type", "Missing required parameter: 'tools[0].type'."),
        (
            body(tools=[{"type": "custom", "custom": {}}]),
            "tools[0].type",
            "Invalid value: 'custom'. Supported values are: 'function'.",
        ),
        (
            body(tools=[{"type": "function"}]),
            "tools[0].function",
            "Missing required parameter: 'tools[0].function'.",
        ),
        (
            body(tools=[*TOOLS, {"type": "function", "function": {}}]),
            "tools[1].function.name",
            "Missing required parameter: 'tools[1].function.name'.",
        ),
        (
            function(name=5),
            "tools[0].function.name",
            "Invalid type for 'tools[0].function.name': expected a string, but got an integer "
            "instead.",
        ),
        (
            function(name="the sun"),
            "tools[0].function.name",
            "Invalid 'tools[0].function.name': string does not match pattern. Expected a string "
            "that matches the pattern '^[a-zA-Z0-9_-]+$'.",
        ),
        (
            function(name="a" * 65),
            "tools[0].function.name",
            "Invalid 'tools[0].function.name': string too long. Expected a string with maximum "
            "length 64, but got a string with length 65 instead.",
        ),
        (
            function(description=["x"]),
            "tools[0].function.description",
            "Invalid type for 'tools[0].function.description': expected a string, but got an "
            "array instead.",
        ),
        (
            function(strict="yes"),
            "tools[0].function.strict",
            "Invalid type for 'tools[0].function.strict': expected a boolean, but got a string "
            "instead.",
        ),
        (
            function(parameters={"type": "string"}),
            "tools[0].function.parameters",
            "Invalid schema for function 'sun': schema must be a JSON Schema of 'type: "
            "\"object\"', got 'type: \"string\"'.",
        ),
        (
            function(strict=True, parameters={"type": "object", "properties": {}}),
            "tools[0].function.parameters",
            "Invalid schema for function 'sun': In context=(), 'additionalProperties' is required "
            "to be supplied and to be false.",
        ),
        (
            body(tool_choice="none"),
            "tool_choice",
            "Invalid value for 'tool_choice': 'tool_choice' is only allowed when 'tools' are "
            "specified.",
        ),
        (
            body(parallel_tool_calls=True),
            "parallel_tool_calls",
            "Invalid value for 'parallel_tool_calls': 'parallel_tool_calls' is only allowed when "
            "'tools' are specified.",
        ),
        (
            body(function_call="auto"),
            "function_call",
            "Invalid value for 'function_call': 'function_call' is only allowed when 'functions' "
            "are specified.",
        ),
        (
            body(tools=TOOLS, tool_choice="any"),
            "tool_choice",
            "Invalid value: 'any'. Supported values are: 'none', 'auto', and 'required'.",
        ),
        (
            body(tools=TOOLS, tool_choice=NAMED | {"function": {"name": "moon"}}),
            "tool_choice",
            "Invalid value for 'tool_choice': no function named 'moon' was specified in the "
            "'tools' parameter.",
        ),
        (
            body(functions=[SUN], function_call={"name": "moon"}),
            "function_call",
            "Invalid value for 'function_call': no function named 'moon' was specified in the "
            "'functions' parameter.",
        ),
        (
            body(tools=TOOLS, functions=[SUN]),
            "functions",
            "Only one of 'tools' and 'functions' is allowed.",
        ),
        (
            body(called()),
            "messages[1].tool_calls",
            "Invalid 'messages[1].tool_calls': empty array. Expected an array with minimum length "
            "1, but got an empty array instead.",
        ),
        (
            body(called(call(arguments={}))),
            "messages[1].tool_calls[0].function.arguments",
            "Invalid type for 'messages[1].tool_calls[0].function.arguments': expected a string, "
            "but got an object instead.",
        ),
        (
            body(called({"type": "function", "function": {}})),
            "messages[1].tool_calls[0].id",
            "Missing required parameter: 'messages[1].tool_calls[0].id'.",
        ),
        (
            {"messages": [USER | {"tool_calls": [call()]}]},
            "messages[0].tool_calls",
            "Invalid value for 'tool_calls': only messages with role 'assistant' may have it.",
        ),
        (
            {"messages": [USER | {"tool_call_id": "call_1"}]},
            "messages[0].tool_call_id",
            "Invalid value for 'tool_call_id': only messages with role 'tool' may have it.",
        ),
        (
            body(called(call(), function_call={"name": "sun", "arguments": "{}"}), answered()),
            "messages[1].function_call",
            "Only one of 'tool_calls' and 'function_call' is allowed.",
        ),
        (
            body(answered()),
            "messages.[1].role",
            "Invalid parameter: messages with role 'tool' must be a response to a preceeding "
            "message with 'tool_calls'.",
        ),
        (
            body(called(call()), answered(None)),
            "messages.[2].tool_call_id",
            "Missing parameter 'tool_call_id': messages with role 'tool' must have a "
            "'tool_call_id'.",
        ),
        (
            body(called(call()), answered("call_2")),
            "messages.[2].tool_call_id",
            "Invalid parameter: 'tool_call_id' of 'call_2' not found in 'tool_calls' of previous "
            "message.",
        ),
        (
            body(called(call("a"), call("b"), call("c")), answered("b"), USER),
            "messages.[3].role",
            "An assistant message with 'tool_calls' must be followed by tool messages responding "
            "to each 'tool_call_id'. The following tool_call_ids did not have response messages: "
            "a, c",
        ),
        (
            body(called(call())),
            "messages.[1].role",
            "An assistant message with 'tool_calls' must be followed by tool messages responding "
            "to each 'tool_call_id'. The following tool_call_ids did not have response messages: "
            "call_1",
        ),
        (
            body({"role": "function", "content": "yes"}),
            "messages.[1].name",
            "Missing parameter 'name': messages with role 'function' must have a 'name'.",
        ),
    ],
)  # fmt: skip
def test_what_openai_refuses_is_refused_in_its_words(chat, param, told):
    with pytest.raises(InferenceRefused) as refused:
        check_tools(chat)

    assert (refused.value.message, refused.value.param) == (told, param)
    assert refused.value.status == 400


@pytest.mark.parametrize(
    ("chat", "param"),
    [
        (body(functions=[{"name": f"f{at}"} for at in range(129)]), "functions"),
        (body(tools=[{"type": "function", "function": {"name": f"f{at}"}} for at in range(129)]),
         "tools"),
        (body(called(*(call(str(at)) for at in range(129)))), "messages[1].tool_calls"),
    ],
)  # fmt: skip
def test_there_are_128_of_each_at_most(chat, param):
    with pytest.raises(InferenceRefused) as refused:
        check_tools(chat)

    assert (refused.value.param, refused.value.openai_code) == (param, "array_above_max_length")


def test_all_tools_together_have_a_bound_of_bytes():
    large = {"name": "f", "description": "x" * 100_000}

    check_tools(body(functions=[large] * 2))
    with pytest.raises(InferenceRefused, match=r"300[0-9]{3} bytes in all; at most 262144"):
        check_tools(body(functions=[large] * 3))


def test_tools_that_nest_too_deep_are_refused():
    deep = json.loads('{"a":' * 300 + "{}" + "}" * 300)

    with pytest.raises(InferenceRefused, match="nested too deep"):
        check_tools(body(functions=[{"name": "f", "parameters": deep}]))
