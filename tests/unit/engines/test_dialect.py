"""A request is read as OpenAI reads it, and a fault is named."""

import base64
import struct
from dataclasses import asdict
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer, models

from linarite.engines import dialect
from linarite.engines.answers import TextPiece
from linarite.engines.capabilities import EMBEDDED_CHAT, EMBEDDED_EMBEDDING
from linarite.engines.logprobs import TokenTexts
from linarite.engines.sampling import Sampling, Structure
from linarite.engines.structures import Refused
from linarite.engines.tool_calls import Calling, CallPiece
from linarite.errors import InferenceRefused

HELLO = [{"role": "user", "content": "hello"}]
TOOL = {"type": "function", "function": {"name": "sun"}}
CALL = {"id": "call_1", "type": "function", "function": {"name": "sun", "arguments": '{"day": 1}'}}


def test_a_chat_has_openais_defaults():
    messages, wanted = dialect.read_chat({"model": "m", "messages": HELLO}, EMBEDDED_CHAT)

    assert messages == HELLO
    assert (wanted.count, wanted.temperature, wanted.top_p, wanted.stops) == (1, 1.0, 1.0, ())
    assert wanted.max_tokens is None
    assert not wanted.is_stream


def test_text_parts_are_joined_and_a_developer_is_the_system():
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]

    messages, _ = dialect.read_chat(
        {"messages": [{"role": "developer", "content": parts}, *HELLO]}, EMBEDDED_CHAT
    )

    assert messages[0] == {"role": "system", "content": "ab"}


def test_an_answer_goes_back_as_it_came_and_a_refusal_is_what_was_said():
    said = {
        "role": "assistant",
        "content": None,
        "refusal": "No.",
        "annotations": [],
        "audio": None,
    }

    messages, _ = dialect.read_chat({"messages": [*HELLO, said]}, EMBEDDED_CHAT)

    assert messages[1] == {"role": "assistant", "content": "No."}


def test_a_refusal_may_be_a_part_of_what_was_said():
    parts = [{"type": "text", "text": "Hm. "}, {"type": "refusal", "refusal": "No."}]

    messages, _ = dialect.read_chat(
        {"messages": [*HELLO, {"role": "assistant", "content": parts}]}, EMBEDDED_CHAT
    )

    assert messages[1] == {"role": "assistant", "content": "Hm. No."}


def test_a_speakers_name_is_handed_on():
    messages, _ = dialect.read_chat({"messages": [{**HELLO[0], "name": "Ada"}]}, EMBEDDED_CHAT)

    assert messages[0]["name"] == "Ada"


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"messages": []}, "messages"),
        ({"messages": "hello"}, "messages"),
        ({"messages": ["hello"]}, "messages[0]"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
            "messages[0].content[0].type",
        ),
        ({"messages": [{**HELLO[0], "audio": {"id": "a"}}]}, "messages[0].audio"),
        ({"messages": [{**HELLO[0], "name": 5}]}, "messages[0].name"),
        ({"temperature": 2.1}, "temperature"),
        ({"temperature": "hot"}, "temperature"),
        ({"temperature": True}, "temperature"),
        ({"top_p": -0.1}, "top_p"),
        ({"presence_penalty": 3}, "presence_penalty"),
        ({"frequency_penalty": -3}, "frequency_penalty"),
        ({"n": 0}, "n"),
        ({"n": 129}, "n"),
        ({"n": 1.5}, "n"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_completion_tokens": -1}, "max_completion_tokens"),
        ({"stop": ["a", "b", "c", "d", "e"]}, "stop"),
        ({"stop": 7}, "stop"),
        ({"seed": 2**63}, "seed"),
        ({"stream": "yes"}, "stream"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
        ({"tools": [TOOL, TOOL]}, "tools"),
        ({"functions": [TOOL["function"]] * 2}, "functions"),
        ({"logprobs": 1}, "logprobs"),
        ({"logprobs": True, "top_logprobs": 2}, "top_logprobs"),
        ({"response_format": {"type": "xml"}}, "response_format"),
        ({"logit_bias": {"5": 1}}, "logit_bias"),
        ({"wisdom": 5}, "wisdom"),
        ({"echo": True}, "echo"),
        ({"suffix": "b"}, "suffix"),
        ({"dimensions": 5}, "dimensions"),
        ({"verbosity": "low"}, "verbosity"),
        ({"modalities": ["text", "audio"]}, "modalities"),
        ({"stream": True, "stream_options": {"chunks": 5}}, "stream_options.chunks"),
        ({"stream": True, "stream_options": {"include_usage": 1}}, "include_usage"),
    ],
)
def test_a_wrong_or_unsupported_parameter_is_named(change, param):
    with pytest.raises(InferenceRefused) as refused:
        dialect.read_chat({"messages": HELLO, **change}, EMBEDDED_CHAT)

    assert (refused.value.status, refused.value.param) == (400, param)
    assert dialect.error_body(refused.value)["error"]["param"] == param


@pytest.mark.parametrize(
    "change",
    [
        {"tools": None},
        {"tools": []},
        {"logprobs": False},
        {"response_format": {"type": "text"}},
        {"store": True, "metadata": {"a": "b"}, "user": "me"},
        {"modalities": ["text"], "verbosity": "medium", "service_tier": "auto"},
        {"prediction": {"type": "content", "content": "hi"}, "prompt_cache_key": "a"},
        {"stream": True, "stream_options": {"include_obfuscation": False}},
    ],
)
def test_a_parameter_that_asks_for_nothing_is_let_by(change):
    dialect.read_chat({"messages": HELLO, **change}, EMBEDDED_CHAT)


@pytest.mark.parametrize(
    ("asked", "calling"),
    [
        ({}, Calling([TOOL])),
        ({"tool_choice": "auto", "parallel_tool_calls": True}, Calling([TOOL])),
        ({"tool_choice": "none"}, None),
        ({"tool_choice": "required"}, Calling([TOOL], is_forced=True)),
        (
            {"tool_choice": {"type": "function", "function": {"name": "sun"}}},
            Calling([TOOL], is_forced=True, named="sun"),
        ),
        ({"parallel_tool_calls": False}, Calling([TOOL], is_parallel=False)),
    ],
)
def test_the_choice_of_a_tool_is_read(asked, calling):
    _, wanted = dialect.read_chat({"messages": HELLO, "tools": [TOOL], **asked}, EMBEDDED_CHAT)

    assert wanted.calling == calling


@pytest.mark.parametrize(
    ("choice", "changes"),
    [("auto", {}), ({"name": "sun"}, {"is_forced": True, "named": "sun"})],
)
def test_functions_are_tools_of_which_one_is_called(choice, changes):
    body = {"messages": HELLO, "functions": [TOOL["function"]], "function_call": choice}

    _, wanted = dialect.read_chat(body, EMBEDDED_CHAT)

    assert wanted.calling == Calling([TOOL], is_parallel=False, is_legacy=True, **changes)


def test_calls_and_answers_are_read_as_templates_take_them():
    older = {"name": "sun", "arguments": "not JSON"}
    messages = [
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "call_1", "content": "yes"},
        {"role": "assistant", "function_call": older},
        {"role": "function", "name": "sun", "content": "no"},
    ]

    read, _ = dialect.read_chat({"messages": messages}, EMBEDDED_CHAT)

    function = {"name": "sun", "arguments": {"day": 1}}
    call = {"id": "call_1", "type": "function", "function": function}
    assert read == [
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "content": "yes", "tool_call_id": "call_1"},
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [{"type": "function", "function": older}],
        },
        {"role": "tool", "content": "no", "name": "sun"},
    ]


def test_a_stream_that_only_calls_has_no_content_with_logprobs_either():
    texts = TokenTexts(Tokenizer(models.WordLevel({"sun": 0}, "sun")), [b"sun"])
    call = CallPiece(0, "", "call_1", "sun")
    pieces = [TextPiece(0, "", spoken=[(0, -0.5)], calls=[call]), TextPiece(0, "", "tool_calls")]

    choices = [dialect.chat_opening(0, Calling([TOOL], is_forced=True))]
    choices += [choice for piece in pieces for choice in dialect.chat_pieces(piece, texts, 0)]

    assert [choice["delta"].get("content") for choice in choices] == [None] * len(choices)
    assert [choice["logprobs"] is not None for choice in choices] == [False, True, False, False]


@pytest.mark.parametrize(
    ("tools", "param"),
    [({"tools": [TOOL]}, "tools"), ({"functions": [TOOL["function"]]}, "functions")],
)
def test_what_fails_without_a_place_blames_both_the_tools_and_the_form(tools, param):
    form = {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "integer"}}}
    body = {"messages": HELLO, "response_format": form, **tools}
    _, wanted = dialect.read_chat(body, EMBEDDED_CHAT)

    together = dialect.refused_structure(wanted, Refused("it is too large."))
    by_place = dialect.refused_structure(wanted, Refused("it is odd.", ("content", "items")))

    assert (together.message, together.param) == (
        f"Invalid value for '{param}' together with 'response_format': it is too large.",
        param,
    )
    assert by_place.param == "response_format"


@pytest.mark.parametrize(
    ("prompt", "read"),
    [("a", ["a"]), (["a", "b"], ["a", "b"]), ([1, 2], [[1, 2]]), ([[1], [2]], [[1], [2]])],
)
def test_a_prompt_is_text_or_tokens_or_several(prompt, read):
    prompts, _ = dialect.read_completion({"prompt": prompt}, EMBEDDED_CHAT)

    assert prompts == read


def test_the_best_of_several_answers_is_chosen_by_their_logprobs():
    _, wanted = dialect.read_completion({"prompt": "a", "n": 2, "best_of": 5}, EMBEDDED_CHAT)

    assert (wanted.count, wanted.made, wanted.logprobs) == (2, 5, False)
    assert wanted.sampling(max_tokens=5, index=0, eos=()).logprobs


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"best_of": 1, "n": 2}, "best_of"),
        ({"best_of": 2, "stream": True}, "best_of"),
        ({"best_of": 129}, "best_of"),
        ({"prompt": ["a"] * 1025, "best_of": 2}, "prompt"),
        ({"prompt": ["a"] * 17, "n": 128}, "prompt"),
        ({"echo": "yes"}, "echo"),
        ({"echo": True, "logprobs": 0}, "logprobs"),
        ({"suffix": "b"}, "suffix"),
        ({"metadata": {"a": "b"}}, "metadata"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"tools": [TOOL]}, "tools"),
        ({"functions": [TOOL["function"]], "function_call": "auto"}, "functions"),
        ({"dimensions": 5}, "dimensions"),
    ],
)
def test_what_a_completion_cannot_is_named(change, param):
    with pytest.raises(InferenceRefused) as refused:
        dialect.read_completion({"prompt": "a", **change}, EMBEDDED_CHAT)

    assert refused.value.param == param


@pytest.mark.parametrize(
    ("read", "body", "able"),
    [
        (dialect.read_chat, {"messages": HELLO, "echo": True, "logprobs": True}, EMBEDDED_CHAT),
        (dialect.read_completion, {"prompt": "a", "reasoning_effort": "high"}, EMBEDDED_CHAT),
        (dialect.read_embedding, {"input": "a", "logprobs": True}, EMBEDDED_EMBEDDING),
    ],
)
def test_a_parameter_of_another_operation_is_unknown(read, body, able):
    param = list(body)[1]

    with pytest.raises(InferenceRefused) as refused:
        read(body, able)

    assert refused.value.message == f"Unrecognized request argument supplied: {param}"


def test_vectors_of_another_length_than_the_models_are_refused():
    asked = {"input": "a", "dimensions": 384}

    dialect.read_embedding(asked, EMBEDDED_EMBEDDING, 384)

    with pytest.raises(InferenceRefused) as refused:
        dialect.read_embedding(asked, EMBEDDED_EMBEDDING, 1024)
    assert refused.value.message == (
        "`dimensions` of 384 is not supported by the embedded embedding engine; an upstream "
        "embedding engine (vLLM or any other OpenAI-compatible server) has it. Vectors of this "
        "model have 1024 numbers."
    )


def test_a_prompt_over_the_context_is_refused_in_openais_words():
    with pytest.raises(InferenceRefused) as refused:
        dialect.room_for_answer(100, 80, 30, is_chat=True)

    assert refused.value.openai_code == "context_length_exceeded"
    assert refused.value.message == (
        "This model's maximum context length is 100 tokens. However, you requested 110 tokens (80 "
        "in the messages, 30 in the completion). Please reduce the length of the messages or "
        "completion."
    )


def test_a_deterministic_engine_has_a_seed_where_none_is_given():
    _, wanted = dialect.read_chat({"messages": HELLO}, EMBEDDED_CHAT)
    _, seeded = dialect.read_chat({"messages": HELLO, "seed": 5}, EMBEDDED_CHAT)
    rest: dict[str, Any] = {"max_tokens": 5, "index": 1, "eos": (0,)}

    samplings = [one.sampling(**rest, is_deterministic=True) for one in (wanted, wanted, seeded)]

    assert [sampling.seed for sampling in samplings] == [1, 1, 6]
    assert not any(sampling.can_resume for sampling in samplings)
    assert wanted.sampling(**rest).seed != wanted.sampling(**rest).seed


@pytest.mark.parametrize(
    ("prompt", "wanted", "is_chat", "room"),
    [(10, None, True, 90), (10, 90, True, 90), (10, None, False, 16), (99, None, True, 1)],
)
def test_the_rest_of_the_context_is_room_for_the_answer(prompt, wanted, is_chat, room):
    assert dialect.room_for_answer(100, prompt, wanted, is_chat=is_chat) == room


def test_embeddings_travel_as_numbers_or_as_little_endian_floats():
    vector = np.array([0.5, -1.0], np.float32)

    plain = dialect.embedding_answer("m", [vector], 3, in_base64=False)
    packed = dialect.embedding_answer("m", [vector], 3, in_base64=True)

    assert plain["data"][0]["embedding"] == [0.5, -1.0]
    assert struct.unpack("<2f", base64.b64decode(packed["data"][0]["embedding"])) == (0.5, -1.0)
    assert plain["usage"] == {"prompt_tokens": 3, "total_tokens": 3}


@pytest.mark.parametrize("given", ["", [], [""], [[]], 5, ["a", 1], None])
def test_an_input_that_is_no_text_is_refused(given):
    with pytest.raises(InferenceRefused):
        dialect.read_embedding({"input": given}, EMBEDDED_EMBEDDING)


def test_an_answer_that_keeps_to_a_structure_is_not_broken_off_and_taken_up_again():
    form = {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "integer"}}}
    _, wanted = dialect.read_chat({"messages": HELLO, "response_format": form}, EMBEDDED_CHAT)
    structure = Structure("grammar", 'root ::= "a"')

    free = wanted.sampling(max_tokens=5, index=0, eos=())
    bound = wanted.sampling(max_tokens=5, index=0, eos=(), structure=structure)

    assert wanted.form == dialect.Form({"schema": {"type": "integer"}}, "a")
    assert (free.can_resume, bound.can_resume) == (True, False)
    assert Sampling.from_plain(asdict(bound)) == bound
