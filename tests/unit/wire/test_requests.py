"""What callers may send: exact types, documented ranges, unknown keys ignored."""

import pytest
from pydantic import ValidationError

from linarite.wire.batches import BatchCreateRequest
from linarite.wire.files import FileImport, Purpose
from linarite.wire.inference import ChatCompletionRequest, CompletionRequest, EmbeddingRequest
from linarite.wire.shapes import Incoming
from linarite.wire.uploads import UploadFileStartBody

UPLOAD = {"purpose": "batch", "filename": "a.jsonl", "bytes": 5, "mime_type": "text/plain"}
CHAT = {"messages": [{"role": "user", "content": "Hello"}]}
BATCH = {"input_file_id": "file-1", "endpoint": "/chat/completions", "completion_window": "24h"}


def faults(shape: type[Incoming], body: object) -> list[tuple[str, str]]:
    """Where a body is wrong, and how."""
    with pytest.raises(ValidationError) as caught:
        shape.model_validate(body)
    return [(".".join(map(str, f["loc"])), f["type"]) for f in caught.value.errors()]


@pytest.mark.parametrize("value", ["5", 5.0, True, None, -1, 2**63])
def test_a_size_is_a_whole_number_and_nothing_like_it(value):
    assert [where for where, _ in faults(UploadFileStartBody, UPLOAD | {"bytes": value})] == [
        "bytes"
    ]


@pytest.mark.parametrize("value", [1, None, "", ["a"], "\ud800"])
def test_a_name_is_a_string_of_text_and_nothing_like_it(value):
    assert [where for where, _ in faults(UploadFileStartBody, UPLOAD | {"filename": value})] == [
        "filename"
    ]


def test_an_enum_is_read_from_its_string_by_both_ways_in():
    body = FileImport.model_validate(
        {"purpose": "batch", "filename": "a.jsonl", "content_url": "https://example.com/a"}
    )

    assert body.purpose is Purpose.BATCH
    assert FileImport.model_validate_json(body.model_dump_json()) == body


@pytest.mark.parametrize("value", ["Batch", "", 1, None])
def test_an_unknown_purpose_is_refused(value):
    assert faults(UploadFileStartBody, UPLOAD | {"purpose": value}) == [("purpose", "enum")]


def test_unknown_keys_are_ignored():
    assert not hasattr(BatchCreateRequest.model_validate(BATCH | {"input_blob": "x"}), "input_blob")


def test_every_fault_of_a_body_is_named():
    assert faults(UploadFileStartBody, {"bytes": "5"}) == [
        ("purpose", "missing"),
        ("filename", "missing"),
        ("bytes", "int_type"),
        ("mime_type", "missing"),
    ]


@pytest.mark.parametrize(
    "metadata",
    [{f"k{i}": "v" for i in range(17)}, {"k" * 65: "v"}, {"k": "v" * 513}, {"k": 1}, "text"],
    ids=["17 pairs", "key of 65", "value of 513", "a number", "not an object"],
)
def test_metadata_has_bounds(metadata):
    assert faults(BatchCreateRequest, BATCH | {"metadata": metadata})


@pytest.mark.parametrize(
    ("field", "lowest", "highest", "step"),
    [
        ("temperature", 0.0, 2.0, 0.01),
        ("top_p", 0.0, 1.0, 0.01),
        ("presence_penalty", -2.0, 2.0, 0.01),
        ("frequency_penalty", -2.0, 2.0, 0.01),
        ("n", 1, 128, 1),
        ("seed", -(2**63), 2**63 - 1, 1),
    ],
)
def test_sampling_has_its_documented_ranges(field, lowest, highest, step):
    for value in (lowest, highest, None):
        assert getattr(ChatCompletionRequest.model_validate(CHAT | {field: value}), field) == value
    for value in (lowest - step, highest + step, True, "1", float("nan")):
        assert [where for where, _ in faults(ChatCompletionRequest, CHAT | {field: value})] == [
            field
        ]


@pytest.mark.parametrize("field", ["max_tokens", "max_completion_tokens"])
def test_an_answer_of_no_tokens_cannot_be_asked_for(field):
    assert faults(ChatCompletionRequest, CHAT | {field: 0}) == [(field, "greater_than_equal")]


def test_one_stop_string_reads_like_a_list_of_one():
    assert ChatCompletionRequest.model_validate(CHAT | {"stop": "\n"}).stop == ["\n"]
    assert faults(ChatCompletionRequest, CHAT | {"stop": ["a", "b", "c", "d", "e"]})


def test_a_message_may_come_in_text_parts():
    parts = [{"type": "text", "text": "Hello"}, {"type": "text", "text": "there"}]

    chat = ChatCompletionRequest.model_validate({"messages": [{"role": "user", "content": parts}]})

    assert [part.text for part in chat.messages[0].content or ()] == ["Hello", "there"]


def test_an_assistant_may_have_refused_in_parts():
    parts = [{"type": "text", "text": "Hm."}, {"type": "refusal", "refusal": "No."}]
    said = {"role": "assistant", "content": parts}

    chat = ChatCompletionRequest.model_validate({"messages": [*CHAT["messages"], said]})

    assert [part.type for part in chat.messages[1].content or ()] == ["text", "refusal"]


@pytest.mark.parametrize(
    ("message", "where"),
    [
        ({"role": "user"}, "messages.0.content"),
        ({"role": "system", "content": None}, "messages.0.content"),
        ({"role": "user", "content": []}, "messages.0.content"),
        ({"role": "user", "content": 5}, "messages.0.content"),
        ({"role": "wizard", "content": "Hello"}, "messages.0.role"),
        ({"role": "user", "content": [{"type": "text"}]}, "messages.0.content.0.text"),
        ({"role": "user", "content": [{"type": "image_url"}]}, "messages.0.content.0.type"),
        ({"role": "user", "content": [{"type": "refusal", "refusal": "No"}]}, "messages.0.content"),
        (
            {"role": "assistant", "content": [{"type": "refusal", "text": "No"}]},
            "messages.0.content.0.refusal",
        ),
    ],
)
def test_a_fault_in_a_message_is_named_by_its_place(message, where):
    assert [place for place, _ in faults(ChatCompletionRequest, {"messages": [message]})] == [where]


def test_only_an_assistant_may_be_silent():
    messages = [*CHAT["messages"], {"role": "assistant", "content": None}]

    chat = ChatCompletionRequest.model_validate({"messages": messages})

    assert chat.messages[1].content is None


@pytest.mark.parametrize(
    "extra", [{"stream_options": {}}, {"top_logprobs": 3}, {"stream_options": {}, "stream": False}]
)
def test_an_option_of_something_that_is_off_is_refused(extra):
    assert len(faults(ChatCompletionRequest, CHAT | extra)) == 1


def test_best_of_is_at_least_n():
    assert CompletionRequest.model_validate({"prompt": "a", "n": 2, "best_of": 2})
    assert faults(CompletionRequest, {"prompt": "a", "n": 2, "best_of": 1}) == [
        ("best_of", "best_of_below_n")
    ]


def test_keys_a_model_server_may_know_are_kept():
    chat = ChatCompletionRequest.model_validate(CHAT | {"top_k": 40})

    assert chat.model_extra == {"top_k": 40}


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ("a", ["a"]),
        (["a", "b"], ["a", "b"]),
        ([1, 2], [[1, 2]]),
        ([[1, 2], [3]], [[1, 2], [3]]),
    ],
    ids=["string", "strings", "tokens", "lists of tokens"],
)
def test_a_prompt_has_four_forms(given, read):
    assert CompletionRequest.model_validate({"prompt": given}).prompt == read
    assert EmbeddingRequest.model_validate({"input": given}).input == read


@pytest.mark.parametrize("given", [None, 5, [], [[]], [1, "a"], [[1], "a"], [-1], [True], {}])
def test_what_is_no_prompt_is_refused_once(given):
    assert faults(CompletionRequest, {"prompt": given}) == [("prompt", "prompt_type")]


def test_at_most_2048_inputs_are_embedded_at_once():
    assert faults(EmbeddingRequest, {"input": ["a"] * 2049}) == [("input", "too_long")]
