import json

import pytest

from linarite.resources.files.examples import FORMS
from linarite.resources.files.jsonl import GOOD, judge
from linarite.storage.blobs import LineTooLong
from linarite.wire.errors import ErrorCode
from linarite.wire.files import Purpose

CHAT = {"messages": [{"role": "user", "content": "?"}, {"role": "assistant", "content": "!"}]}
PREFERENCE = {
    "input": {"messages": [{"role": "user", "content": "?"}]},
    "preferred_output": [{"role": "assistant", "content": "good"}],
    "non_preferred_output": [{"role": "assistant", "content": "bad"}],
}
COMPLETION = {"prompt": "a", "completion": "b"}


def details(purpose: Purpose, *lines: object) -> str:
    texts = [x if isinstance(x, bytes) else json.dumps(x).encode() for x in lines]
    verdict = judge(purpose, texts)
    assert verdict.code == ErrorCode.JSONL_VALIDATION_FAILED
    prefix = "Validation of jsonl file failed: "
    assert verdict.details.startswith(prefix)
    return verdict.details.removeprefix(prefix)


def chat(*messages: object, **more: object) -> dict[str, object]:
    return {"messages": list(messages), **more}


def said(role: str, content: object = "x", **more: object) -> dict[str, object]:
    return {"role": role, "content": content, **more}


ASKED, ANSWERED = said("user"), said("assistant")
CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
REFUSED = {"type": "refusal", "refusal": "No."}
IMAGE = {"type": "image_url", "image_url": {"url": "https://x/y.png"}}


@pytest.mark.parametrize(
    "lines",
    [
        [],
        [b'{"a":1}'],
        [b'{"a":1}', b"", b"  \t\r", b"{}"],
        [b'{"a":1}\r'],
    ],
    ids=["empty", "object", "blank lines", "carriage return"],
)
def test_a_batch_file_is_any_objects(lines):
    assert judge(Purpose.BATCH, lines) == GOOD


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        (b"[1]", 'it is not a JSON object; it starts with: "[1]".'),
        (b"{", "it is not valid JSON"),
        (b'{"a":\xff}', "it is not valid JSON"),
        (b'{"a":NaN}', "it is not valid JSON"),
        (b"[" * 5000, "it is not valid JSON"),
        (b"\x00\x1b[31m", 'it starts with: "??[31m"'),
    ],
    ids=["array", "cut off", "not UTF-8", "NaN", "deep", "control characters"],
)
def test_a_line_of_a_batch_file_that_is_no_object_is_named(line, fault):
    said = details(Purpose.BATCH, b"{}", line)

    assert said.startswith("Line 2: ")
    assert fault in said


def test_a_batch_file_may_not_start_with_a_byte_order_mark():
    assert details(Purpose.BATCH, b"\xef\xbb\xbf{}").startswith(
        "Line 1: it starts with a byte order mark"
    )


def test_a_line_that_is_too_long_is_named_by_its_number():
    def lines():
        yield b"{}"
        raise LineTooLong(1, 100)

    verdict = judge(Purpose.BATCH, lines())

    assert verdict.details.endswith("Line 2: it is longer than 100 bytes.")


def test_few_faults_are_shown_and_the_others_counted():
    said = details(Purpose.BATCH, *[b"x"] * 7)

    assert said.count("Line ") == 5
    assert said.endswith("2 more lines are at fault.")


def test_a_file_of_nothing_but_faults_is_not_read_to_its_end():
    def lines():
        for _ in range(100):
            yield b"x"
        raise AssertionError("read on")

    verdict = judge(Purpose.BATCH, lines())

    assert verdict.details.endswith("More than 99 lines are at fault; the rest was not read.")


@pytest.mark.parametrize(
    "example", [CHAT, PREFERENCE, COMPLETION, {"context": "a", "completion": "b"}]
)
def test_a_training_file_has_one_of_three_forms(example):
    line = json.dumps(example).encode()

    assert judge(Purpose.FINE_TUNE, [b"\xef\xbb\xbf" + line, line, b""]) == GOOD


@pytest.mark.parametrize(
    "lines", [[], [b""], [b"\xef\xbb\xbf"]], ids=["empty", "blank", "BOM only"]
)
def test_a_training_file_without_an_example_is_refused_in_the_services_words(lines):
    said = details(Purpose.FINE_TUNE, *lines)

    assert said == f"No valid json line found in file. {FORMS}"


def test_a_training_file_keeps_to_its_first_form():
    assert details(Purpose.FINE_TUNE, CHAT, COMPLETION) == (
        'Line 2: it is a prompt with its "completion", but the lines before are a chat with '
        '"messages".'
    )


GOOD_CHATS = {
    "system and weight": chat(said("system"), ASKED, said("assistant", weight=0)),
    "name": chat(said("user", name="ann"), ANSWERED),
    "tools": chat(
        ASKED,
        {"role": "assistant", "tool_calls": [CALL]},
        said("tool", tool_call_id="c"),
        ANSWERED,
        tools=[{"type": "function"}],
        parallel_tool_calls=False,
    ),
    "function": chat(ASKED, {"role": "assistant", "content": None, "function_call": {"name": "f"}}),
    "image": chat(said("user", [{"type": "text", "text": "?"}, IMAGE]), ANSWERED),
    "refusal": chat(ASKED, said("assistant", [REFUSED])),
    "other keys": chat(ASKED, ANSWERED, note="mine"),
}


@pytest.mark.parametrize("example", GOOD_CHATS.values(), ids=GOOD_CHATS.keys())
def test_chats_that_can_be_learned_from(example):
    assert judge(Purpose.FINE_TUNE, [json.dumps(example).encode()]) == GOOD


BAD_EXAMPLES = [
    ("hello", "it is not a JSON object"),
    ({"text": "x"}, "it is no training example"),
    (chat(), '"messages" must be a list of messages that is not empty.'),
    ({"messages": {}}, '"messages" must be a list of messages'),
    (chat(ASKED), '"messages" has no assistant message'),
    (chat("x", ANSWERED), "messages[0] must be an object."),
    (chat(ASKED, {"content": "x"}), 'messages[1] has no "role"; it must be one of system,'),
    (chat(said("bot"), ANSWERED), "messages[0] has the unknown role 'bot'"),
    (chat(said(["user"]), ANSWERED), "messages[0] has the unknown role ['user']"),
    (chat(said("user", text="x"), ANSWERED), "messages[0] has the unknown key 'text'."),
    (chat({"role": "user"}, ANSWERED), 'messages[0] has no "content".'),
    (chat({"role": "assistant"}), 'messages[0] has no "content".'),
    (chat(said("user", 5), ANSWERED), "messages[0].content must be a string or a list of parts."),
    (chat(said("user", ["x"]), ANSWERED), "messages[0].content[0] must be an object whose type"),
    (chat(said("user", [{"type": []}]), ANSWERED), "messages[0].content[0] must be an object"),
    (chat(said("user", [{"type": "text"}]), ANSWERED), "messages[0].content[0].text must be"),
    (chat(said("user", [REFUSED]), ANSWERED), "messages[0].content[0] is a refusal, which only"),
    (chat(ASKED, said("assistant", [{"type": "refusal"}])), "content[0].refusal must be a string."),
    (chat(ASKED, said("assistant", [IMAGE])), "is an image in an assistant message."),
    (
        chat(said("user", [{"type": "image_url", "image_url": {"url": "ftp://x"}}]), ANSWERED),
        "image_url.url must be an http or https URL",
    ),
    (chat(said("user", [IMAGE] * 65), ANSWERED), '"messages" has more than 64 images.'),
    (chat(said("user", weight=1), ANSWERED), 'has a "weight", which only assistant messages'),
    (chat(ASKED, said("assistant", weight=2)), "messages[1].weight is 2; it must be 0 or 1."),
    (chat(ASKED, said("assistant", weight=True)), "messages[1].weight is True"),
    (chat(said("user", tool_calls=[CALL]), ANSWERED), 'has "tool_calls", which only assistant'),
    (chat(ASKED, said("assistant", tool_calls=[{}])), "messages[1].tool_calls[0] must have"),
    (chat(said("tool"), ANSWERED), 'is a tool message without "tool_call_id".'),
    (chat(said("user", name=5), ANSWERED), "messages[0].name must be a string."),
    (chat(ASKED, ANSWERED, tools={}), '"tools" must be a list of objects.'),
    (chat(ASKED, ANSWERED, parallel_tool_calls=1), '"parallel_tool_calls" must be true or false.'),
    ({"preferred_output": [ANSWERED]}, '"input" is missing.'),
    ({**PREFERENCE, "input": [ASKED]}, '"input" must be an object with "messages".'),
    ({**PREFERENCE, "input": {"messages": []}}, '"input.messages" must be a list'),
    ({**PREFERENCE, "preferred_output": ANSWERED}, '"preferred_output" must be a list'),
    (
        {**PREFERENCE, "non_preferred_output": [said("tool", tool_call_id="c")]},
        '"non_preferred_output" has no assistant message.',
    ),
    (
        {**PREFERENCE, "preferred_output": [ASKED, ANSWERED]},
        "preferred_output[0] must have the role assistant or tool.",
    ),
    ({"prompt": "a"}, "it may only contain two properties"),
    ({**COMPLETION, "id": 1}, "it may only contain two properties"),
    ({"prompt": "a", "completion": 5}, '"completion" must be a string, not 5.'),
]


@pytest.mark.parametrize(("example", "fault"), BAD_EXAMPLES, ids=[f for _, f in BAD_EXAMPLES])
def test_an_example_that_cannot_be_learned_from_is_told_why(example, fault):
    said = details(Purpose.FINE_TUNE, example)

    assert said.startswith("Line 1: ")
    assert fault in said
