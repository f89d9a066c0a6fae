"""Whatever a schema's grammar writes fits the schema, and what it cannot promise is refused.

The library itself follows each grammar, with every byte as likely as the next.
"""

import itertools
import json
import time

import jsonschema
import pytest

from linarite.engines.json_grammar import Rules, SchemaRefused, grammar_of, grammar_of_any_object
from linarite.engines.rehearsal import Rehearsal
from linarite.engines.sampling import Structure
from linarite.engines.vocabulary import tokenizer

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

BYTES = [*(bytes([byte]) for byte in range(256)), b""]
MOST = 1500
FORMATS = ["date", "time", "date-time", "duration", "email", "hostname", "ipv4", "ipv6", "uuid"]
LIST = {
    "$defs": {
        "node": {
            "type": "object",
            "properties": {
                "value": {"type": "integer"},
                "next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]},
            },
            "required": ["value", "next"],
            "additionalProperties": False,
        }
    },
    "$ref": "#/$defs/node",
}
KINDS = [
    {"type": "object", "properties": {"kind": {"const": "a"}}, "required": ["kind"]},
    {
        "type": "object",
        "properties": {"kind": {"enum": ["b", "c"]}, "size": {"type": "number"}},
        "required": ["kind"],
    },
]
SOME = {
    "type": "object",
    "properties": {"a": {"type": "boolean"}, "b": {"type": "null"}, "c": {"const": 3}},
    "required": ["b"],
}
OPEN = {
    "type": "object",
    "properties": {"a": {"type": "null"}, "ab": {"type": "null"}, 'é"': {"type": "null"}},
    "additionalProperties": {"type": "integer"},
}
FOLLOWED = {
    "integer": {"type": "integer"},
    "integers": {"type": "integer", "minimum": -13, "exclusiveMaximum": 120.5},
    "number": {"type": "number", "exclusiveMinimum": 0, "maximum": 0.25},
    "string": {"type": "string", "minLength": 2, "maxLength": 5},
    "two strings": {
        "type": "array",
        "items": {"anyOf": [{"type": "string", "minLength": n, "maxLength": 5} for n in (3, 1)]},
        "maxItems": 3,
    },
    "at least": {"type": "string", "minLength": 3},
    **{form: {"type": "string", "format": form} for form in FORMATS},
    "enum": {"enum": ["a", 1, 2.5, None, True, [1], {"ü": '"\\\n'}]},
    "enum of a type": {"type": ["string", "null"], "enum": ["a", 1, None]},
    "array": {"type": "array", "items": {"type": "boolean"}, "minItems": 2, "maxItems": 4},
    "no item": {"type": "array", "maxItems": 0},
    "one item": {"type": "array", "minItems": 1, "maxItems": 1},
    "optional": SOME,
    "others": OPEN,
    "dictionary": {"type": "object", "additionalProperties": {"type": "boolean"}},
    "none": {"type": "object", "additionalProperties": False},
    "nullable": {"type": ["string", "null"], "maxLength": 2},
    "one of": {"oneOf": KINDS},
    "all of": {"allOf": [SOME], "description": "As older pydantic writes it."},
    "recursive": LIST,
    "tree": {"type": "object", "properties": {"in": {"type": "array", "items": {"$ref": "#"}}}},
    "one way out": {
        "type": ["object", "array"],
        "properties": {"a": {"$ref": "#"}},
        "required": ["a"],
        "items": {"type": "null"},
    },
    "control letter in a name": {
        "type": "object",
        "properties": {"\x01": {"type": "null"}},
        "additionalProperties": {"type": "null"},
    },
    "anything": {},
}


@pytest.fixture(scope="module")
def rehearsal():
    return Rehearsal(tokenizer(BYTES), len(BYTES))


def said(rehearsal, grammar, seed):
    """What is written, or None where it does not come to its end."""
    tokens = rehearsal.follow(Structure("grammar", grammar), MOST, seed)
    return b"".join(BYTES[token] for token in tokens).decode() if len(tokens) < MOST else None


@pytest.mark.parametrize("schema", FOLLOWED.values(), ids=FOLLOWED)
def test_what_is_written_fits(rehearsal, schema):
    fits = jsonschema.Draft202012Validator(
        schema, format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER
    )
    grammar = grammar_of(schema)

    texts = [said(rehearsal, grammar, seed) for seed in range(12)]

    ended = [text for text in texts if text is not None]
    assert ended
    for text in ended:
        fits.validate(json.loads(text))


def test_properties_come_in_the_order_of_the_schema(rehearsal):
    names = ["z", "a", "m"]
    properties = {name: {"type": "boolean"} for name in names}

    text = said(
        rehearsal,
        grammar_of({"type": "object", "properties": properties, "required": ["a", "m", "z"]}),
        1,
    )

    assert list(json.loads(text)) == names


def test_a_name_with_a_control_letter_lets_none_into_other_names():
    schema = {"properties": {"\x01": {}}, "additionalProperties": True}

    assert "\\x02-" not in grammar_of(schema)


def test_what_no_token_writes_is_written_as_an_escape():
    writable = set(range(0x80))
    name = "\N{GRINNING FACE}"
    schema = {"type": "object", "properties": {name: {"const": name}}, "required": [name]}

    grammar = grammar_of(schema, writable)

    assert grammar.isascii()
    assert grammar.count(r"\\ud83d\\ude00") == grammar_of(schema).count(name) > 1


def test_a_schema_that_doubles_again_and_again_is_looked_at_once():
    names = [f"n{at}" for at in range(60)]
    named = {
        one: {"anyOf": [{"$ref": f"#/$defs/{other}"}] * 2}
        for one, other in itertools.pairwise(names)
    }
    schema = {"$ref": "#/$defs/n0", "$defs": {**named, names[-1]: {"type": "null"}}}

    began = time.process_time()
    assert grammar_of(schema)

    assert time.process_time() - began < 1


def test_nothing_is_left_of_a_refused_schema():
    rules = Rules()
    with pytest.raises(SchemaRefused):
        rules.add_schema({"properties": {"a": {"type": "null"}, "b": {"pattern": "c"}}})
    name = rules.add_schema({"type": "boolean"})

    assert rules.text(name) == grammar_of({"type": "boolean"})


def test_any_object_is_an_object(rehearsal):
    texts = [said(rehearsal, grammar_of_any_object(), seed) for seed in range(12)]

    assert {type(json.loads(text)) for text in texts if text is not None} == {dict}


REFUSED = [
    ({"type": "string", "pattern": "^a$"}, (), "'pattern' is not supported"),
    ({"type": "string", "format": "iri"}, (), "'format' is 'iri'"),
    ({"type": "string", "format": {}}, (), "'format' is {}"),
    ({"type": [{}]}, (), "{} is not a type"),
    ({"type": {}}, (), "{} is not a type"),
    ({"oneOf": [{"type": "null"}, {"type": [[]]}]}, ("oneOf",), "'oneOf' is only supported where"),
    ({"type": "string", "format": "date", "maxLength": 3}, (), "beside a length"),
    ({"type": "string", "minLength": 1000}, (), "at most 256"),
    ({"type": "string", "minLength": 3, "maxLength": 2}, (), "which nothing fits"),
    ({"type": "string", "maxLength": -1}, (), "'maxLength' must be a whole number"),
    ({"type": "number", "multipleOf": 0.1}, (), "'multipleOf' is not supported"),
    ({"type": "integer", "exclusiveMinimum": 0, "exclusiveMaximum": 1}, (), "no integer"),
    ({"type": "number", "minimum": 2, "maximum": 1}, (), "no number"),
    ({"type": "number", "minimum": "1"}, (), "'minimum' must be a number"),
    ({"type": "array", "uniqueItems": True}, (), "'uniqueItems' is not supported"),
    ({"type": "array", "prefixItems": [{}]}, (), "'prefixItems' is not supported"),
    (
        {"type": "array", "items": False, "minItems": 1},
        ("items",),
        "nothing fits|that anything fits",
    ),
    ({"type": "object", "patternProperties": {}}, (), "'patternProperties' is not supported"),
    ({"type": "object", "minProperties": 1}, (), "'minProperties' is not supported"),
    ({"type": "object", "required": ["a"]}, ("required",), "'a' is not among 'properties'"),
    ({"properties": {"a": {"x": 1}}}, ("properties", "a"), "'x' is not supported"),
    ({"properties": {"a": 5}}, ("properties", "a"), "5 is not a schema"),
    ({"type": "thing"}, (), "'thing' is not a type"),
    ({"anyOf": []}, ("anyOf",), "'anyOf' must be an array"),
    ({"anyOf": [{"not": {}}]}, ("anyOf", "0"), "'not' is not supported"),
    ({"anyOf": [{}], "type": "string"}, (), "'type' is not supported beside 'anyOf'"),
    ({"allOf": [{}, {}]}, ("allOf",), "only supported with one"),
    ({"oneOf": [{"type": "integer"}, {"type": "number"}]}, ("oneOf",), "'oneOf' is only"),
    ({"oneOf": [{"const": 1}, {"const": 1.0}]}, ("oneOf",), "'oneOf' is only"),
    ({"type": "integer", "enum": ["a"]}, (), "of the stated type"),
    ({"enum": ["a"], "maxLength": 3}, (), "'maxLength' is not supported beside 'const'"),
    ({"$ref": "#"}, (), "leads back to itself"),
    ({"$ref": "#/$defs/a", "$defs": {"a": {"anyOf": [{"$ref": "#/$defs/a"}]}}}, (), "itself"),
    ({"$ref": "#/nowhere"}, (), "where there is nothing"),
    ({"$ref": "https://example.org/a"}, (), "must point within"),
    ({"properties": {"a": {"$ref": "#"}}, "required": ["a"]}, (), "finite length"),
    ({"type": "array", "minItems": 1, "items": {"$ref": "#"}}, (), "finite length"),
    (
        {"type": ["object"], "properties": {"a": {"$ref": "#"}}, "required": ["a"]},
        (),
        "finite length",
    ),
    ({"type": ["array"], "minItems": 1, "items": {"$ref": "#"}}, (), "finite length"),
]


@pytest.mark.parametrize(("schema", "context", "why"), REFUSED)
def test_what_cannot_be_followed_is_refused_by_its_place(schema, context, why):
    with pytest.raises(SchemaRefused, match=why) as refused:
        grammar_of(schema)

    assert refused.value.context == context
