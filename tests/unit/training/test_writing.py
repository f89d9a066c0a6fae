"""A chat becomes the tokens that the engine would show, and only the assistant's are learned."""

import json
from pathlib import Path

import pytest
from tests.support.tiny_models import tiny_config, write_tiny_model
from tests.support.tool_templates import HERMES, LLAMA3, SMOLLM

from linarite.engines.capabilities import EMBEDDED_CHAT
from linarite.engines.dialect import read_chat
from linarite.engines.templates import ChatTemplate
from linarite.training.data import BadLine, Chat, Completion, preference, supervised
from linarite.training.writing import Tokens, Writer

MARKED = (
    "{% for m in messages %}<{{ m.role }}>{{ m.content }}<end>\n{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)
FORGETFUL = (
    "{% for m in messages %}<{{ m.role }}>"
    "{% if m.role == 'assistant' and not loop.last %}...{% else %}{{ m.content }}{% endif %}"
    "<end>{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}"
)
TOOLS = "{% if tools %}[{{ tools[0].function.name }}]{% endif %}" + MARKED
CHAT = Chat(
    [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Yo é"},
        {"role": "user", "content": "So"},
        {"role": "assistant", "content": "No"},
    ],
    [False, True, False, True],
)


def _writer(folder: Path, template: str | None, longest: int = 512) -> Writer:
    write_tiny_model(folder / "hf", tiny_config())
    stated = {"eos_token": "<end>"} | ({"chat_template": template} if template else {})
    (folder / "hf" / "tokenizer_config.json").write_text(json.dumps(stated))
    return Writer.of_model(folder / "hf", longest)


def _text(writer: Writer, tokens: Tokens) -> str:
    return str(writer._tokenizer.decode(list(tokens.ids)))


def _learned(writer: Writer, tokens: Tokens) -> str:
    return str(writer._tokenizer.decode([tokens.ids[place] for place in tokens.targets]))


def test_the_assistants_words_and_the_ends_of_its_turns_are_learned(tmp_path):
    writer = _writer(tmp_path, MARKED)

    tokens = writer.write(CHAT)

    chat = "<user>Hi<end>\n<assistant>Yo é<end>\n<user>So<end>\n<assistant>No<end>\n"
    assert _text(writer, tokens) == chat
    assert _learned(writer, tokens) == "Yo é<end>No<end>"


def test_of_a_preference_both_answers_are_learned_to_the_end_of_their_turn(tmp_path):
    """A model that is not told where the preferred answer ends never learns to stop."""
    writer = _writer(tmp_path, MARKED)
    pair = preference(
        {
            "input": {"messages": [{"role": "user", "content": "Hi"}]},
            "preferred_output": [{"role": "assistant", "content": "Yo"}],
            "non_preferred_output": [{"role": "assistant", "content": "No"}],
        }
    )

    ends = [writer.write_chat(end) for end in (pair.preferred, pair.rejected)]

    assert [_learned(writer, end) for end in ends] == ["Yo<end>", "No<end>"]


def test_a_turn_without_weight_is_seen_and_not_learned(tmp_path):
    writer = _writer(tmp_path, MARKED)

    tokens = writer.write(Chat(CHAT.messages, [False, False, False, True]))

    assert _learned(writer, tokens) == "No<end>"


def test_a_chat_whose_template_ends_no_turn_gets_an_end(tmp_path):
    endless = "{% for m in messages %}<{{ m.role }}>{{ m.content }}\n{% endfor %}<assistant>"
    writer = _writer(tmp_path, endless.replace("<assistant>", ""))

    tokens = writer.write(CHAT)

    assert _text(writer, tokens).endswith("<assistant>No<end>")
    assert _learned(writer, tokens).endswith("No<end>")


def test_a_turn_that_the_template_forgets_is_counted(tmp_path):
    writer = _writer(tmp_path, FORGETFUL)

    tokens = writer.write(CHAT)

    assert tokens.turns_left_out == 1
    assert _learned(writer, tokens) == "No<end>"


def test_a_long_chat_is_cut_off(tmp_path):
    writer = _writer(tmp_path, MARKED, longest=30)

    tokens = writer.write(CHAT)

    assert len(tokens) == 30
    assert tokens.is_truncated
    assert _learned(writer, tokens).startswith("Yo")


def test_a_completion_is_learned_to_its_end(tmp_path):
    writer = _writer(tmp_path, None)

    tokens = writer.write(Completion("ab", " cd"))

    assert _text(writer, tokens) == "ab cd<end>"
    assert _learned(writer, tokens) == " cd<end>"


def test_a_model_without_a_template_learns_no_chats(tmp_path):
    with pytest.raises(BadLine, match="no chat template"):
        _writer(tmp_path, None).write(CHAT)


def test_a_template_that_refuses_is_told(tmp_path):
    writer = _writer(tmp_path, "{{ raise_exception('roles must alternate') }}")

    with pytest.raises(BadLine, match="roles must alternate"):
        writer.write(CHAT)


@pytest.mark.parametrize("template", [MARKED, TOOLS], ids=["unaware", "aware"])
def test_tools_are_told_and_calls_are_learned(tmp_path, template):
    writer = _writer(tmp_path, template)
    call = {"type": "function", "function": {"name": "sun", "arguments": {"day": 1}}}
    chat = Chat(
        [
            {"role": "user", "content": "Sun?"},
            {"role": "assistant", "content": "", "tool_calls": [call]},
            {"role": "tool", "content": "yes", "tool_call_id": "1"},
            {"role": "assistant", "content": "Sunny"},
        ],
        [False, True, False, True],
        [{"type": "function", "function": {"name": "sun"}}],
    )

    tokens = writer.write(chat)

    assert "sun" in _text(writer, tokens)
    assert _learned(writer, tokens).endswith("Sunny<end>")
    if template == MARKED:
        told = '<tool_call>{"name": "sun", "arguments": {"day": 1}}</tool_call><end>'
        assert _learned(writer, tokens).startswith(told)
        assert "<tool_response>yes</tool_response>" in _text(writer, tokens)


@pytest.mark.parametrize("template", [SMOLLM, HERMES, LLAMA3], ids=["SmolLM", "Hermes", "Llama 3"])
def test_a_chat_with_tools_is_learned_as_an_engine_shows_it(tmp_path, template):
    """Up to where the assistant speaks; what it is to say then is how calls are read."""
    tools = [{"type": "function", "function": {"name": "sun", "parameters": {"type": "object"}}}]
    call = {"name": "sun", "arguments": '{"day": 1}'}
    calls = "1" if template == LLAMA3 else "12"  # it writes one at a time
    asked = [
        {"role": "user", "name": "Ada", "content": "Sun?"},
        {
            "role": "assistant",
            "name": "Bot",
            "content": None,
            "tool_calls": [{"id": id_, "type": "function", "function": call} for id_ in calls],
        },
        *({"role": "tool", "content": "yes", "tool_call_id": id_} for id_ in calls),
    ]
    line = {"messages": [*asked, {"role": "assistant", "content": "Sunny"}], "tools": tools}
    writer = _writer(tmp_path, template, longest=4096)

    learned = _text(writer, writer.write(supervised(line)))
    messages, wanted = read_chat({"messages": asked, "tools": tools}, EMBEDDED_CHAT)
    engine = ChatTemplate(template, {"eos_token": "<end>"})
    shown = engine.render(messages, wanted.calling.tools)
    assert learned.startswith(shown + "Sunny")
    assert "Ada: Sun?" in shown
    assert "Bot" not in shown
    form = engine.form
    assert form.opening + "sun" + form.middle + '{"day": 1}' + form.closing in shown


def test_turns_are_learned_whatever_is_joined_before_them(tmp_path):
    call = {"type": "function", "function": {"name": "sun", "arguments": {}}}
    answer = {"role": "tool", "content": "yes"}
    chat = Chat(
        [
            {"role": "user", "content": "Sun?"},
            {"role": "assistant", "content": "", "tool_calls": [call, call]},
            answer,
            answer,
            {"role": "assistant", "content": "Sunny"},
        ],
        [False, False, False, False, True],
    )
    writer = _writer(tmp_path, MARKED)

    tokens = writer.write(chat)

    assert _learned(writer, tokens) == "Sunny<end>"
    assert _text(writer, tokens).count("<user>") == 2


def test_a_name_that_the_template_writes_is_not_written_twice(tmp_path):
    writer = _writer(tmp_path, MARKED.replace("{{ m.content }}", "{{ m.name }}|{{ m.content }}"))
    named = [{"role": "user", "name": "Ada", "content": "Hi"}, CHAT.messages[1]]

    assert "<user>Ada|Hi<end>" in _text(writer, writer.write(Chat(named, [False, True])))
