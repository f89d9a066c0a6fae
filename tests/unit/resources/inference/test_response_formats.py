"""Whoever serves a model, a form is held to OpenAI's rules, and refused in its words."""

import pytest
from tests.unit.resources.inference.test_prepare import EMBEDDED, FOREIGN

from linarite.errors import InferenceRefused
from linarite.resources.inference.service import CHAT, Inference

STRING = {"type": "string"}


def an_object(properties, **more):
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
        **more,
    }


def a_form(schema, **more):
    return {
        "type": "json_schema",
        "json_schema": {"name": "answer", "schema": schema, "strict": True, **more},
    }


def nested(levels):
    schema = an_object({"a": STRING})
    for _ in range(levels - 1):
        schema = an_object({"a": schema})
    return schema


def prepare(form, text="Hello", to=FOREIGN):
    body = {"messages": [{"role": "user", "content": text}], "response_format": form}
    return Inference(None, None).prepare(CHAT, to, body)


@pytest.mark.parametrize("to", [EMBEDDED, FOREIGN], ids=["embedded", "upstream"])
@pytest.mark.parametrize(
    ("form", "param"),
    [
        ("json_object", "response_format"),
        ({}, "response_format.type"),
        ({"type": "xml"}, "response_format.type"),
        ({"type": "json_schema"}, "response_format.json_schema"),
        (
            {"type": "text", "json_schema": {"name": "a", "schema": {}}},
            "response_format.json_schema",
        ),
        (
            {"type": "json_schema", "json_schema": {"name": "a"}},
            "response_format.json_schema.schema",
        ),
        (a_form({}, name=""), "response_format.json_schema.name"),
        (a_form({}, name="a" * 65), "response_format.json_schema.name"),
        (a_form({}, name="a b"), "response_format.json_schema.name"),
        (a_form({}, name="ab\n"), "response_format.json_schema.name"),
        (a_form({}, strict="yes"), "response_format.json_schema.strict"),
        (a_form([]), "response_format.json_schema.schema"),
    ],
)
def test_a_form_of_the_wrong_shape_is_named_by_its_place(form, param, to):
    with pytest.raises(InferenceRefused) as refused:
        prepare(form, to=to)

    assert (refused.value.status, refused.value.param) == (400, param)


def test_json_is_only_asked_of_chats_that_mention_it():
    with pytest.raises(InferenceRefused) as refused:
        prepare({"type": "json_object"})

    assert refused.value.param == "messages"
    assert refused.value.message == (
        "'messages' must contain the word 'json' in some form, to use 'response_format' of type "
        "'json_object'."
    )
    prepare({"type": "json_object"}, "As JSON, please")


@pytest.mark.parametrize(
    ("schema", "told"),
    [
        (
            {"type": "array", "items": STRING},
            "schema must be a JSON Schema of 'type: \"object\"', got",
        ),
        (
            {"type": "object", "properties": {}},
            "In context=(), 'additionalProperties' is required to be supplied and to be false.",
        ),
        (
            an_object({"a": an_object({"b": STRING, "c": STRING}, required=["b"])}),
            "In context=('properties', 'a'), 'required' is required to be supplied and to be an "
            "array including every key in properties. Missing 'c'.",
        ),
        (an_object({"a": STRING}, required=["a", "b"]), "Extra required key 'b' supplied."),
        (an_object({"a": STRING}, required=[{}]), "an array including every key in properties."),
        (an_object({"a": {}}), "In context=('properties', 'a'), schema must have a 'type' key."),
        (an_object({"a": {"type": "array"}}), "array schema missing items."),
        (
            an_object({"a": {"type": "array", "items": {"type": "string", "default": "b"}}}),
            "In context=('properties', 'a', 'items'), 'default' is not permitted.",
        ),
        (an_object({"a": {"oneOf": [STRING]}}), "'oneOf' is not permitted."),
        (
            an_object({"a": {"anyOf": [STRING, {"type": "array", "uniqueItems": True}]}}),
            "In context=('properties', 'a', 'anyOf', '1'), 'uniqueItems' is not permitted.",
        ),
        (
            an_object({"a": {"$ref": "#/$defs/b"}}, **{"$defs": {"b": {"allOf": [STRING]}}}),
            "In context=('$defs', 'b'), 'allOf' is not permitted.",
        ),
        (an_object({str(at): STRING for at in range(101)}), "101 properties exceeds limit of 100."),
        (nested(6), "6 levels of nesting exceeds limit of 5."),
    ],
)
def test_a_strict_schema_keeps_to_azures_rules(schema, told):
    with pytest.raises(InferenceRefused) as refused:
        prepare(a_form(schema))

    assert refused.value.param == "response_format"
    assert refused.value.message.startswith("Invalid schema for response_format 'answer': ")
    assert told in refused.value.message
    if schema["type"] == "object" and len(schema["properties"]) < 100:
        prepare(a_form(schema, strict=None))


@pytest.mark.parametrize(
    "schema",
    [
        {"description": "a" * (128 << 10)},
        {"enum": list(range(1001))},
        {"properties": {str(at): STRING for at in range(1001)}},
        nested(33),
        nested(200),
    ],
    ids=["bytes", "values", "properties", "depth", "depth beyond writing"],
)
def test_every_schema_has_its_bounds(schema):
    with pytest.raises(InferenceRefused, match=r"Invalid schema for response_format 'answer'"):
        prepare(a_form(schema, strict=False))


def test_what_fits_the_rules_goes_to_the_engine_as_it_came():
    node = an_object({"next": {"anyOf": [{"$ref": "#"}, {"type": "null"}]}})
    bounded = an_object(
        {"a": {"type": "string", "maxLength": 5}, "b": {"enum": [1], "type": "integer"}}
    )

    for schema in (node, bounded, nested(5)):
        assert b'"response_format"' in prepare(a_form(schema))
