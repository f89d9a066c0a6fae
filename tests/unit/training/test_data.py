"""A training file is read line by line, and what is at fault is told by its line."""

import json
from pathlib import Path

import pytest
from tests.support.training_jobs import chats, preferences

from linarite.training.data import (
    BadLine,
    Completion,
    DataFile,
    preference,
    read_examples,
    supervised,
)
from linarite.training.faults import TrainingFailure

USER = {"role": "user", "content": "Hi"}
ANSWER = {"role": "assistant", "content": "Yo"}
IMAGE = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}


def _file(folder: Path, text: str, **role: bool) -> DataFile:
    path = folder / "data.jsonl"
    path.write_text(text, "utf-8")
    return DataFile(path, **role)


def _lines(objects: list[object]) -> str:
    return "".join(f"{json.dumps(one)}\n" for one in objects)


def test_a_file_with_a_mark_and_empty_lines_is_read(tmp_path):
    text = "\ufeff" + _lines(chats(9)) + "\n  \n" + _lines(chats(1))

    examples, left_out = read_examples(_file(tmp_path, text), supervised)

    assert (len(examples), left_out) == (10, 0)


def test_faults_are_told_by_line_and_the_many_are_counted(tmp_path):
    bad = [{"messages": []} for _ in range(7)]
    text = _lines([*chats(10), *bad]) + "{no\n"

    with pytest.raises(TrainingFailure) as told:
        read_examples(_file(tmp_path, text), supervised)

    message = 'Training data validation failed. Line 11: "messages" must be a list of messages'
    assert told.value.message.startswith(message)
    assert told.value.message.endswith("3 more lines are at fault.")
    assert (told.value.code, told.value.param) == ("invalid_training_file", "training_file")


def _calling(name: str, arguments: str) -> dict[str, object]:
    call = {"id": "1", "function": {"name": name, "arguments": arguments}}
    return {"messages": [USER, {"role": "assistant", "tool_calls": [call]}]}


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (_calling("f", "[" * 9_000 + "]" * 9_000), "Line 11: it is nested too deeply."),
        (_calling("f" * 300_000, "{"), "Line 11: messages[1] calls fff"),
        ({**chats(1)[0], "functions": 5}, 'Line 11: "functions" must be a list of objects.'),
    ],
    ids=["deep", "long", "no list"],
)
def test_a_line_that_is_beyond_measure_is_told_in_short(tmp_path, line, words):
    with pytest.raises(TrainingFailure) as told:
        read_examples(_file(tmp_path, _lines([*chats(10), line])), supervised)

    assert words in told.value.message
    assert len(told.value.message) < 500


def test_a_validation_file_needs_one_example(tmp_path):
    examples, _ = read_examples(_file(tmp_path, _lines(chats(1)), is_validation=True), supervised)
    assert len(examples) == 1

    with pytest.raises(TrainingFailure, match="Validation data validation failed") as told:
        read_examples(_file(tmp_path, "", is_validation=True), supervised)
    assert told.value.param == "validation_file"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ({"messages": [USER]}, "no assistant message"),
        ({"messages": [{"role": "king", "content": "x"}, ANSWER]}, "known role"),
        ({"messages": [{"role": "user"}, ANSWER]}, 'has no "content"'),
        ({"messages": [{"role": "user", "content": [IMAGE]}, ANSWER]}, "is an image"),
        ({"messages": [USER, {**ANSWER, "weight": 2}]}, "it must be 0 or 1"),
        ({"prompt": "x", "completion": 3}, "must be strings"),
        ({"input": {"messages": [USER]}, "preferred_output": [ANSWER]}, "is a preference"),
        ({}, 'has no "messages"'),
    ],
)
def test_a_line_at_fault_is_refused(line, words):
    with pytest.raises(BadLine, match=words):
        supervised(line)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"input": 3}, '"input" must be'),
        ({"preferred_output": []}, "must be a list"),
        ({"non_preferred_output": [USER]}, "must be assistant messages"),
        ({"input": None, "messages": [USER, ANSWER]}, 'for the method "supervised"'),
    ],
)
def test_a_preference_at_fault_is_refused(change, words):
    with pytest.raises(BadLine, match=words):
        preference(preferences(1)[0] | change)


def test_what_is_learned_is_the_assistants_and_has_weight():
    silent = {**ANSWER, "weight": 0}
    heavy = {**ANSWER, "weight": 1}

    chat = supervised({"messages": [USER, silent, USER, heavy, USER, ANSWER]})

    assert chat.learned == [False, False, False, True, False, True]


def test_older_forms_are_read():
    assert supervised({"prompt": "a", "completion": "b"}) == Completion("a", "b")
    call = {"role": "assistant", "function_call": {"name": "f", "arguments": '{"a": 1}'}}
    result = {"role": "function", "name": "f", "content": "2"}

    chat = supervised({"messages": [USER, call, result, ANSWER], "functions": [{"name": "f"}]})

    assert chat.messages[1]["tool_calls"][0]["function"] == {"name": "f", "arguments": {"a": 1}}
    assert chat.messages[2]["role"] == "tool"
    assert chat.tools == [{"type": "function", "function": {"name": "f"}}]


def test_parts_are_put_together_and_the_developer_speaks_for_the_system():
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]

    chat = supervised({"messages": [{"role": "developer", "content": parts}, USER, ANSWER]})

    assert chat.messages[0] == {"role": "system", "content": "ab"}


def test_how_an_assistant_refused_is_learned_in_either_form():
    refused = [
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]},
        {"role": "assistant", "refusal": "No."},
    ]

    chats = [supervised({"messages": [USER, message]}) for message in refused]

    assert [chat.messages[1]["content"] for chat in chats] == ["No.", "No."]
    assert [chat.learned for chat in chats] == [[False, True]] * 2


def test_only_the_end_of_a_preference_is_learned():
    line = preferences(1)[0]
    line["input"]["messages"] += [ANSWER, USER]

    read = preference(line)

    assert read.preferred.learned == [False, False, False, True]
    assert read.rejected.messages[-1]["content"] == "Look it up yourself."
