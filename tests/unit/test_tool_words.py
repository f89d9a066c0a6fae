"""How calls are written is told from a template, and what no template tells is put in words."""

import pytest
from tests.support.tool_templates import HERMES, LLAMA3, SMOLLM

from linarite import tool_words

TOOL = {"type": "function", "function": {"name": "sun", "description": "Über die Sonne"}}
CALL = {"type": "function", "function": {"name": "sun", "arguments": {"day": 1}}, "id": "call_1"}


@pytest.mark.parametrize(
    ("template", "form"),
    [
        (SMOLLM, tool_words.WORDS),
        (HERMES, tool_words.HERMES),
        (LLAMA3, tool_words.LLAMA3),
        (HERMES.replace("tools", "things"), tool_words.WORDS),
        (HERMES + "<function=", tool_words.WORDS),
        ("{% if tools %}[AVAILABLE_TOOLS]{% endif %}[TOOL_CALLS]", tool_words.WORDS),
    ],
    ids=["none", "Hermes", "Llama 3", "not tools", "another of Qwen's", "Mistral"],
)
def test_a_template_tells_how_calls_are_written(template, form):
    assert tool_words.form_of(template) == form


def test_tools_are_told_in_the_system_message():
    system = {"role": "system", "content": "Be brief."}
    asked = {"role": "user", "content": "Sun?"}

    written = tool_words.in_words([system, asked], [TOOL])

    assert len(written) == 2
    assert written[0]["content"] == (
        "Be brief.\n\nYou may call these functions:\n<tools>\n"
        '{"type": "function", "function": {"name": "sun", "description": "Über die Sonne"}}\n'
        "</tools>\n"
        'To call one, write <tool_call>{"name": ..., "arguments": {...}}</tool_call>.'
    )
    assert system["content"] == "Be brief."


def test_without_a_system_message_there_will_be_one():
    written = tool_words.in_words([{"role": "user", "content": "Sun?"}], [TOOL])

    assert [message["role"] for message in written] == ["system", "user"]


def test_calls_and_their_answers_are_said_by_those_who_can_speak():
    called = {"role": "assistant", "content": "Let me see.", "tool_calls": [CALL, CALL]}
    answered = {"role": "tool", "content": "yes", "tool_call_id": "call_1"}

    written = tool_words.in_words([called, answered, answered], [])

    call = '<tool_call>{"name": "sun", "arguments": {"day": 1}}</tool_call>'
    assert written == [
        {"role": "assistant", "content": f"Let me see.\n{call}\n{call}"},
        {
            "role": "user",
            "content": "<tool_response>yes</tool_response>\n<tool_response>yes</tool_response>",
        },
    ]


def test_a_message_without_calls_may_say_so():
    silent = {"role": "assistant", "content": "Yes.", "tool_calls": None}

    assert tool_words.in_words([silent], []) == [{"role": "assistant", "content": "Yes."}]


def test_who_speaks_is_left_to_the_template_but_for_the_answers_of_tools():
    asked = {"role": "user", "content": "Sun?", "name": "Ada"}
    answered = {"role": "tool", "content": "yes", "name": "sun"}

    written = tool_words.in_words([asked, answered], [])

    assert written[0] == asked
    assert "name" not in written[1]


def test_a_name_stands_before_what_is_said_and_nowhere_else():
    said = [
        {"role": "user", "content": "Sun?", "name": "Ada"},
        {"role": "assistant", "content": "", "name": "Bot", "tool_calls": [CALL]},
        {"role": "tool", "content": "yes", "name": "sun"},
    ]

    written = tool_words.with_names(said)

    assert [message["content"] for message in written] == ["Ada: Sun?", "", "yes"]
