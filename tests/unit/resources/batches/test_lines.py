import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from linarite.resources.batches.lines import (
    BadLine,
    InputLine,
    bare_path,
    input_lines,
    mark_of,
    prefix_of,
    read_request,
)

GOOD = {"custom_id": "a", "method": "POST", "url": "/chat/completions", "body": {"model": "m"}}


def cut(data: bytes, size: int) -> list[bytes]:
    return [data[i : i + size] for i in range(0, len(data), size)]


def read(value: object) -> object:
    return read_request(InputLine(0, 7, orjson.dumps(value)), 1000)


@given(st.lists(st.binary(max_size=12).map(lambda b: b.replace(b"\n", b""))), st.integers(1, 9))
def test_lines_are_the_same_however_the_stream_is_cut(lines, size):
    data = b"\n".join(lines)
    expected = [(n, text) for n, text in enumerate(data.split(b"\n"), 1) if text.strip()]

    found = list(input_lines(cut(data, size), longest=100))

    assert [(line.line, line.text) for line in found] == expected
    assert [line.number for line in found] == list(range(len(expected)))


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_a_line_that_is_too_long_is_passed_over_and_the_next_one_read(size):
    data = b"{}\n" + b"x" * 50 + b"\n\n{}\n" + b"y" * 50

    found = list(input_lines(cut(data, size), longest=20))

    assert [(line.line, line.text) for line in found] == [
        (1, b"{}"),
        (2, None),
        (4, b"{}"),
        (5, None),
    ]


def test_a_good_line_is_read():
    request = read(GOOD)

    assert (request.custom_id, request.url, request.body) == (
        "a",
        "/chat/completions",
        {"model": "m"},
    )


@pytest.mark.parametrize(
    ("value", "code", "param"),
    [
        ([], "invalid_json_line", None),
        ("text", "invalid_json_line", None),
        (None, "invalid_json_line", None),
        ({**GOOD, "custom_id": 5}, "invalid_request", "custom_id"),
        ({**GOOD, "custom_id": ""}, "invalid_request", "custom_id"),
        ({**GOOD, "method": "GET"}, "invalid_request", "method"),
        ({**GOOD, "url": None}, "invalid_request", "url"),
        ({**GOOD, "body": "text"}, "invalid_request", "body"),
        ({k: v for k, v in GOOD.items() if k != "body"}, "invalid_request", "body"),
    ],
)
def test_a_bad_line_says_which_line_and_what_is_wrong(value, code, param):
    with pytest.raises(BadLine) as refusal:
        read(value)

    fault = refusal.value.fault
    assert (fault.code, fault.param, fault.line) == (code, param, 7)


def test_a_line_that_is_not_json_has_openais_words():
    with pytest.raises(BadLine, match="This line is not parseable as valid JSON"):
        read_request(InputLine(0, 1, b"{'a': 1}"), 1000)


@pytest.mark.parametrize(
    ("path", "bare"),
    [
        ("/chat/completions", "/chat/completions"),
        ("/v1/chat/completions", "/chat/completions"),
        ("/openai/v1/embeddings", "/embeddings"),
        ("/openai/completions", "/completions"),
        ("/v1chat", "/v1chat"),
    ],
)
def test_prefixes_of_clients_do_not_count(path, bare):
    assert bare_path(path) == bare


def test_marks_tell_custom_ids_apart():
    assert mark_of("a") == mark_of("a")
    assert mark_of("a") != mark_of("b")


def test_prompts_that_begin_alike_have_one_prefix():
    def chat(system: str, user: str) -> dict[str, object]:
        turns = [{"role": "system", "content": system}, {"role": "user", "content": user}]
        return {"messages": turns}

    assert prefix_of(chat("be brief", "one")) == prefix_of(chat("be brief", "two"))
    assert prefix_of(chat("be brief", "one")) != prefix_of(chat("be long", "one"))
    assert prefix_of({"prompt": "x" * 600 + "a"}) == prefix_of({"prompt": "x" * 600 + "b"})
    assert prefix_of({"input": "text"}) is None
    assert (
        prefix_of(orjson.loads(b'{"messages":[{"content":%b%b}]}' % (b"[" * 1015, b"]" * 1015)))
        is None
    )


def test_what_is_nested_too_deep_is_named_without_being_shown():
    deep = b'{"custom_id":%b%b}' % (b"[" * 400, b"]" * 400)

    with pytest.raises(BadLine, match="nested too deep"):
        read_request(InputLine(0, 7, deep), 1000)
