"""What an engine is sent: the request as it came, under the model's id, or a refusal in words."""

import orjson
import pytest

from linarite.engines.capabilities import EMBEDDED_CHAT
from linarite.engines.place import ModelPlace
from linarite.errors import InferenceRefused
from linarite.resources.deployments.records import DeploymentRecord, Target
from linarite.resources.inference.service import (
    CHAT,
    COMPLETIONS,
    EMBEDDINGS,
    MOST_DEPTH,
    Inference,
)
from linarite.resources.models.records import ModelRecord
from linarite.settings import Upstream

UPSTREAM = Upstream(base_url="http://127.0.0.1:1/v1", model="theirs")
MESSAGES = {"messages": [{"role": "user", "content": "Hello"}]}
PROMPT, INPUT = {"prompt": "Hello"}, {"input": "Hello"}
DESCRIBED = {
    "type": "json_schema",
    "json_schema": {"name": "a", "description": "One", "schema": {"type": "object"}},
}
TOOLS = [{"type": "function", "function": {"name": "f"}}]


def target(kind="chat", *, upstream=None):
    record = DeploymentRecord("chat", "*", "ours", 1, 0, 0)
    return Target(record, ModelRecord("ours", kind, upstream=upstream))


EMBEDDED, FOREIGN = target(), target(upstream=UPSTREAM)
EMBEDDED_EMBEDDING = target("embedding")
FOREIGN_EMBEDDING = target("embedding", upstream=UPSTREAM)


@pytest.fixture(scope="module")
def inference():
    return Inference(None, lambda model: ModelPlace(model.id))


@pytest.fixture
def refusal(inference):
    """The refusal of a request: `refusal(operation, target, body)`."""

    def refused(operation, to, body):
        with pytest.raises(InferenceRefused) as caught:
            inference.prepare(operation, to, body)
        assert caught.value.status == 400
        return caught.value

    return refused


@pytest.mark.parametrize(
    ("operation", "to", "body"),
    [
        (CHAT, EMBEDDED, MESSAGES | {"temperature": 0, "stop": ["a"], "seed": 3}),
        (CHAT, FOREIGN, MESSAGES | {"logprobs": True, "top_logprobs": 3}),
        (COMPLETIONS, FOREIGN, PROMPT | {"logprobs": 3}),
        (CHAT, FOREIGN, MESSAGES | {"response_format": DESCRIBED}),
        (CHAT, FOREIGN, MESSAGES | {"top_k": 40, "tools": TOOLS, "tool_choice": "required"}),
        (COMPLETIONS, EMBEDDED, PROMPT | {"best_of": 1, "n": 1}),
        (EMBEDDINGS, EMBEDDED_EMBEDDING, INPUT | {"encoding_format": "base64"}),
        (EMBEDDINGS, FOREIGN_EMBEDDING, {"input": [[1, 2], [3]], "dimensions": 64}),
    ],
)
def test_a_request_goes_on_as_it_came_under_the_models_id(inference, operation, to, body):
    sent = orjson.loads(inference.prepare(operation, to, body | {"model": "chat"}))

    assert sent == body | {"model": "ours"}


def test_what_cannot_change_the_answer_is_let_by(inference):
    harmless = {"user": "me", "store": False, "metadata": {}, "n": None}

    assert inference.prepare(CHAT, EMBEDDED, MESSAGES | harmless)


@pytest.mark.parametrize(
    ("param", "value"),
    [
        ("temperature", 2.1),
        ("temperature", "hot"),
        ("top_p", -0.1),
        ("n", 0),
        ("n", 129),
        ("presence_penalty", -3),
        ("frequency_penalty", 3),
        ("max_tokens", 0),
        ("max_completion_tokens", -1),
        ("stop", ["a", "b", "c", "d", "e"]),
        ("seed", 1.5),
        ("stream", "yes"),
        ("stream_options", {"include_usage": True}),
        ("top_logprobs", 2),
        ("messages", []),
        ("messages", "Hello"),
        ("metadata", {"a": "b"}),  # which belongs to what is stored
    ],
)
def test_a_parameter_out_of_range_is_named(refusal, param, value):
    refused = refusal(CHAT, FOREIGN, MESSAGES | {param: value})

    assert (refused.param, refused.kind) == (param, "invalid_request_error")
    assert f"`{param}`" in refused.message


def test_a_fault_inside_a_message_is_named_by_its_place(refusal):
    messages = [{"role": "user", "content": "Hello"}, {"role": "wizard", "content": "Hello"}]

    assert refusal(CHAT, EMBEDDED, {"messages": messages}).param == "messages[1].role"


@pytest.mark.parametrize(
    ("form", "param"),
    [
        ({"type": "text", "strict": True}, "response_format.strict"),
        (
            {"type": "json_schema", "json_schema": {"name": "a", "schema": {}, "stirct": True}},
            "response_format.json_schema.stirct",
        ),
    ],
)
def test_an_unknown_key_of_a_form_is_named_by_its_place(refusal, form, param):
    assert refusal(CHAT, FOREIGN, MESSAGES | {"response_format": form}).param == param


@pytest.mark.parametrize(
    ("operation", "to", "word"),
    [
        (EMBEDDINGS, EMBEDDED, "embeddings"),
        (CHAT, EMBEDDED_EMBEDDING, "chatCompletion"),
        (COMPLETIONS, FOREIGN_EMBEDDING, "completion"),
    ],
)
def test_an_operation_that_is_not_the_models_is_refused(refusal, operation, to, word):
    refused = refusal(operation, to, {})

    assert refused.openai_code == "OperationNotSupported"
    assert refused.message.startswith(f"The {word} operation does not work with")


@pytest.mark.parametrize(
    ("param", "value"),
    [
        ("logit_bias", {"5": 100}),
        ("reasoning_effort", "high"),
        ("verbosity", "low"),
        ("modalities", ["text", "audio"]),
        ("audio", {"voice": "ash", "format": "wav"}),
        ("web_search_options", {}),
        ("service_tier", "priority"),
    ],
)
def test_what_the_embedded_engine_cannot_is_refused_by_name(inference, refusal, param, value):
    refused = refusal(CHAT, EMBEDDED, MESSAGES | {param: value})

    assert (refused.param, refused.openai_code) == (param, "unsupported_parameter")
    assert refused.message.startswith(f"`{param}`")
    assert "an upstream chat engine (vLLM, llama-server" in refused.message
    assert param in orjson.loads(inference.prepare(CHAT, FOREIGN, MESSAGES | {param: value}))


def test_alternatives_to_the_chosen_tokens_are_refused_but_not_the_tokens_own(inference, refusal):
    assert refusal(CHAT, EMBEDDED, MESSAGES | {"logprobs": True, "top_logprobs": 2}).message == (
        "`top_logprobs` of 2 is not supported by the embedded chat engine; an upstream chat engine "
        "(vLLM, llama-server or any other OpenAI-compatible server) has it."
    )
    assert refusal(COMPLETIONS, EMBEDDED, {"prompt": "a", "logprobs": 3}).param == "logprobs"
    assert inference.prepare(CHAT, EMBEDDED, MESSAGES | {"logprobs": True, "top_logprobs": 0})
    assert inference.prepare(COMPLETIONS, EMBEDDED, {"prompt": "a", "logprobs": 0})


def test_the_log_probabilities_of_an_echoed_prompt_are_refused(refusal):
    refused = refusal(COMPLETIONS, EMBEDDED, {"prompt": "a", "echo": True, "logprobs": 0})

    assert refused.message.startswith("`logprobs` with `echo` is not supported by the embedded")


def test_the_best_of_several_cannot_be_streamed(inference, refusal):
    asked = {"prompt": "a", "n": 2, "stream": True}

    assert refusal(COMPLETIONS, FOREIGN, asked | {"best_of": 3}).param == "best_of"
    assert inference.prepare(COMPLETIONS, FOREIGN, asked | {"best_of": 2})


def test_only_one_of_the_two_limits_may_be_given(refusal):
    refused = refusal(CHAT, FOREIGN, MESSAGES | {"max_tokens": 5, "max_completion_tokens": 5})

    assert refused.param == "max_completion_tokens"
    assert "together with `max_tokens`" in refused.message


def test_tools_are_held_against_openais_rules_wherever_they_go(refusal):
    refused = refusal(CHAT, FOREIGN, MESSAGES | {"tools": [{"type": "function"}]})

    assert refused.param == "tools[0].function"


def test_more_answers_than_the_engine_gives_at_once_are_refused(refusal):
    too_many = EMBEDDED_CHAT.most_answers + 1

    refused = refusal(CHAT, EMBEDDED, MESSAGES | {"n": too_many})

    assert refused.param == "n"


@pytest.mark.parametrize(("param", "value"), [("suffix", "end"), ("logprobs", 2)])
def test_so_is_what_it_cannot_do_with_a_text(refusal, param, value):
    assert refusal(COMPLETIONS, EMBEDDED, PROMPT | {param: value}).param == param


def test_embeddings_do_not_stream(refusal):
    assert refusal(EMBEDDINGS, FOREIGN_EMBEDDING, INPUT | {"stream": True}).param == "stream"


@pytest.mark.parametrize("body", [{"top": 1}, {"messages": 5}], ids=["extra", "in a message"])
def test_a_body_may_nest_as_deep_as_it_can_be_written(inference, refusal, body):
    """`body` says where, and within how many others that is."""
    [(param, around)] = body.items()

    def nesting(levels):
        deep = orjson.loads("[" * (levels - around) + "]" * (levels - around))
        if param == "top":
            return MESSAGES | {"top": deep}
        part = {"type": "text", "text": "Hello", "odd": deep}
        return {"messages": [{"role": "user", "content": [part]}]}

    inference.prepare(CHAT, FOREIGN, nesting(MOST_DEPTH))
    refused = refusal(CHAT, FOREIGN, nesting(MOST_DEPTH + 1))
    assert refused.param == param
    assert str(MOST_DEPTH) in refused.message
