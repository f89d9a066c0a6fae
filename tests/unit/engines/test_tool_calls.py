"""Calls are read as they come, whatever is cut off, and are what their tools' schemas say."""

import dataclasses
import json
import re
from pathlib import Path

import jsonschema
import pytest
from tests.support.embedded import CHAT, pulled

from linarite import tool_words
from linarite.engines.installed import read_model
from linarite.engines.json_grammar import SchemaRefused
from linarite.engines.sampling import Structure
from linarite.engines.tool_calls import Calling, CallReader, asked, grammar_of_calls, joined

FORMS = {"words": tool_words.WORDS, "hermes": tool_words.HERMES, "llama": tool_words.LLAMA3}
WEATHER = {
    "type": "object",
    "properties": {
        "city": {"type": "string", "maxLength": 12},
        "unit": {"enum": ["C", "F", None]},
        "days": {"type": "array", "items": {"type": "integer", "minimum": 1, "maximum": 7}},
    },
    "required": ["city", "unit"],
    "additionalProperties": False,
}
WEATHER["properties"]["days"] |= {"minItems": 1, "maxItems": 3}
PLACE = {
    "type": "object",
    "properties": {
        "at": {
            "type": "object",
            "properties": {
                "lat": {"type": "number", "minimum": -90, "maximum": 90},
                "lon": {"type": "number", "minimum": -180, "maximum": 180},
            },
            "required": ["lat", "lon"],
            "additionalProperties": False,
        },
        "label": {"anyOf": [{"type": "string", "maxLength": 5}, {"type": "null"}]},
    },
    "required": ["at", "label"],
    "additionalProperties": False,
}


def tool(name, parameters=None, **more):
    function = {"name": name, **more} | ({"parameters": parameters} if parameters else {})
    return {"type": "function", "function": function}


TOOLS = [tool("weather", WEATHER), tool("weather-at", PLACE), tool("now")]
F_AND_G = [tool("f"), tool("g")]
SCHEMAS = {"weather": WEATHER, "weather-at": PLACE, "now": {"type": "object", "maxProperties": 0}}


def written(form, *calls):
    """Calls as a model writes them."""
    texts = [
        form.opening + name + form.middle + arguments + form.closing for name, arguments in calls
    ]
    return (form.separator or "").join(texts)


def read(text, form, calling, reason="stop", size=1, has_form=False):
    """What is read of an answer that comes in pieces of `size` letters."""
    reader = CallReader(form, calling, has_form=has_form)
    pieces = [text[at : at + size] for at in range(0, len(text), size)]
    said = [reader.read(piece, None) for piece in pieces] + [reader.read("", reason)]
    content = "".join(content for content, _, _ in said)
    return content, joined([call for _, calls, _ in said for call in calls]), said[-1][2]


@pytest.mark.parametrize("size", [1, 3, 7, 1000])
@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_a_call_is_read_however_it_comes(form, size):
    arguments = '{"a": "}\\" {", "b": [{}, "]"]}'

    content, calls, reason = read(
        written(form, ("f", arguments)), form, Calling(F_AND_G), size=size
    )

    assert (content, reason) == ("", "tool_calls")
    assert [(call.name, call.arguments) for call in calls] == [("f", arguments)]
    assert re.fullmatch("call_[0-9a-f]{24}", calls[0].id)


@pytest.mark.parametrize("size", [1, 5, 1000])
@pytest.mark.parametrize("form", [tool_words.WORDS, tool_words.HERMES], ids=["words", "hermes"])
def test_text_around_calls_is_content_without_the_blanks_between(form, size):
    calls = written(form, ("f", "{}"), ("g", '{"a": 1}'))

    content, read_calls, _ = read(
        f" So 1 < 2. \n{calls}\n  And so on ", form, Calling(F_AND_G), size=size
    )

    assert content == " So 1 < 2.And so on "
    assert [(call.index, call.name) for call in read_calls] == [(0, "f"), (1, "g")]
    assert read_calls[0].id != read_calls[1].id


def test_what_only_looks_like_a_call_is_text():
    text = "Write <tool_ca or <tool call> \n <tool_"

    assert read(text, tool_words.WORDS, Calling(F_AND_G)) == (text, [], "stop")


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_wherever_a_call_is_cut_no_half_tag_is_content(form):
    whole = written(form, ("f", '{"a": 1}'))

    for length in range(1, len(whole)):
        content, calls, reason = read(whole[:length], form, Calling(F_AND_G), reason="length")
        assert (content, reason) == ("", "length")
        assert '{"a": 1}'.startswith("".join(call.arguments for call in calls))


@pytest.mark.parametrize(
    ("calling", "reason"),
    [
        (Calling(F_AND_G, is_forced=True), "tool_calls"),
        (Calling(F_AND_G, is_forced=True, named="f"), "stop"),
        (Calling(F_AND_G, is_legacy=True), "function_call"),
        (Calling(F_AND_G, is_forced=True, named="f", is_legacy=True), "stop"),
    ],
)
def test_an_answer_that_calls_ends_for_openais_reasons(calling, reason):
    form = tool_words.WORDS

    assert read(written(form, ("f", "{}")), form, calling)[2] == reason


@pytest.mark.parametrize("size", [1, 5, 1000])
@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize(
    "text",
    [
        '{"name": "Bob", "age": 3}',
        '{"name": "f", "age": 3}',
        '{"name": "f","parameters": {}}',
        '{"name": "", "parameters": {}}',
        '{"told": "<tool_call>{\\"name\\": and on"}',
        '{"told": [{"name": "f", "parameters": {}}]}',
        "{}",
    ],
)
def test_beside_a_form_what_begins_or_looks_like_a_call_is_content(text, form, size):
    said = read(text, form, Calling(F_AND_G), size=size, has_form=True)

    assert said == (text, [], "stop")


@pytest.mark.parametrize("size", [1, 5, 1000])
@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_beside_a_form_a_call_is_read_at_the_very_start(form, size):
    text = written(form, ("g", '{"a": 1}'))

    content, [call], reason = read(text, form, Calling(F_AND_G), size=size, has_form=True)

    assert (content, call.name, call.arguments) == ("", "g", '{"a": 1}')
    assert reason == "tool_calls"


@pytest.fixture(scope="module")
def rehearsal():
    """The library over a model to which every token is equally likely."""
    from linarite.engines.rehearsal import Rehearsal
    from linarite.engines.vocabulary import tokenizer, words_of

    folder: Path = read_model(pulled(CHAT).folder).hf_folder
    words = words_of(folder)
    assert words is not None
    words.append(b"")  # what ends an answer
    return Rehearsal(tokenizer(words), len(words)), words


def by_chance(rehearsal, grammar, count, tokens=300):
    """Answers by chance that keep to a grammar, up to where they end by themselves."""
    library, words = rehearsal
    for seed in range(count):
        said = library.follow(Structure("grammar", grammar), tokens, seed)
        if len(said) < tokens:
            yield b"".join(words[token] for token in said).decode("utf-8", "replace")


@pytest.mark.model
@pytest.mark.parametrize("named", [None, "weather-at"], ids=["any", "named"])
@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_a_forced_answer_is_a_call_that_fits_its_tools_schema(rehearsal, form, named):
    calling = Calling(TOOLS, is_forced=True, named=named, is_parallel=False)
    grammar = grammar_of_calls(asked(calling, form)["calls"])

    answers = list(by_chance(rehearsal, grammar, 12))

    assert len(answers) > 8
    for answer in answers:
        content, [call], reason = read(answer, form, calling)
        assert (content, reason) == ("", calling.finish_reason)
        assert named in (None, call.name)
        jsonschema.validate(json.loads(call.arguments), SCHEMAS[call.name])


@pytest.mark.model
def test_several_calls_are_made_where_they_may_be(rehearsal):
    calling = Calling(TOOLS, is_forced=True)
    grammar = grammar_of_calls(asked(calling, tool_words.WORDS)["calls"])

    made = [read(one, tool_words.WORDS, calling)[1] for one in by_chance(rehearsal, grammar, 12)]

    assert max(len(calls) for calls in made) > 1
    for call in (call for calls in made for call in calls):
        jsonschema.validate(json.loads(call.arguments), SCHEMAS[call.name])


@pytest.mark.model
@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_an_answer_that_need_not_call_is_held_to_the_form_once_it_does(rehearsal, form):
    """To chance a call is unlikely: its trigger is made one that chance comes upon."""
    likely = dataclasses.replace(form, trigger="e", opening="e" + form.opening)
    calling = Calling(TOOLS, is_parallel=False)
    grammar = grammar_of_calls(asked(calling, likely)["calls"])

    answers = [read(one, likely, calling) for one in by_chance(rehearsal, grammar, 12)]

    assert len(answers) > 8
    assert any(content for content, _, _ in answers)
    for _, [call], _ in answers:
        jsonschema.validate(json.loads(call.arguments), SCHEMAS[call.name])


BOOLEAN = {"type": "object", "properties": {"a": {"type": "boolean"}}, "required": ["a"]}
CALL_LIKE = {
    "type": "object",
    "properties": {
        "name": {"enum": ["now", "then"]},
        "parameters": {"type": "integer", "minimum": 0, "maximum": 9},
    },
    "required": ["name", "parameters"],
    "additionalProperties": False,
}


@pytest.mark.model
@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("schema", [BOOLEAN, CALL_LIKE], ids=["unlike", "like a call"])
def test_beside_a_form_for_its_text_an_answer_has_the_one_or_the_other(rehearsal, schema, form):
    calling = Calling(TOOLS)
    grammar = grammar_of_calls(asked(calling, form, {"schema": schema})["calls"])

    said = by_chance(rehearsal, grammar, 12)
    answers = [read(one, form, calling, has_form=True) for one in said]

    assert {bool(content) != bool(calls) for content, calls, _ in answers} == {True}
    for content in (content for content, _, _ in answers if content):
        jsonschema.validate(json.loads(content), schema)
    for call in (call for _, calls, _ in answers for call in calls):
        jsonschema.validate(json.loads(call.arguments), SCHEMAS[call.name])


@pytest.mark.parametrize(
    "content",
    [{"object": None}, {"schema": {}}, {"schema": {"anyOf": [CALL_LIKE, True]}}],
    ids=["object", "anything", "either"],
)
def test_where_calls_are_json_no_content_begins_like_one(content):
    grammar = grammar_of_calls(asked(Calling([tool("f")]), tool_words.LLAMA3, content)["calls"])

    own = [line for line in grammar.splitlines() if re.match(r"r\d+ ::=", line)]
    assert any('"," string' in line or '"," "\\"parameters' in line for line in own)
    assert not any('"," " "? ' in line for line in own)


def test_a_strict_tool_whose_schema_cannot_be_followed_is_refused_with_its_place():
    odd = {"type": "object", "properties": {"a": {"type": "string", "pattern": "a+"}}}
    calling = Calling([tool("now"), tool("odd", odd, strict=True)])

    with pytest.raises(SchemaRefused) as refused:
        grammar_of_calls(asked(calling, tool_words.WORDS)["calls"])

    assert refused.value.context == ("1", "properties", "a")


def test_the_arguments_of_one_that_is_not_strict_are_then_any_object():
    odd = {"type": "object", "properties": {"a": {"$ref": "#/nowhere"}}}
    calling = Calling([tool("odd", odd)], is_forced=True)

    grammar = grammar_of_calls(asked(calling, tool_words.WORDS)["calls"])

    assert re.search(r'odd.*arguments.*: " object "', grammar)
