"""The contract's definitions as JSON Schema, in the two readings that tests need.

An *answer* must have every declared field and no other, but for the tables of `deviations`; a
*request* must have what the contract requires and may have more. Swagger 2 says less than it
means in four places, all read here: discriminators by `x-ms-discriminator-value`, an enum of
references as a choice of one, formats of integers as ranges, and fields of `allOf` as one's own.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.contract.deviations import (
    ADDED,
    DISCRIMINATOR_VALUES,
    NULLABLE,
    OBJECTS,
    OMITTED,
    REPLACED,
    Schema,
)

CONTRACT: dict[str, Any] = json.loads(
    (Path(__file__).parent / "contract.json").read_text(encoding="utf-8")
)
DEFINITIONS: dict[str, Schema] = CONTRACT["definitions"]

RANGES = {
    "int32": {"minimum": -(2**31), "maximum": 2**31 - 1},
    "int64": {"minimum": -(2**63), "maximum": 2**63 - 1},
    "unixtime": {"minimum": 0, "maximum": 2**63 - 1},
}


def answer_schemas() -> dict[str, Schema]:
    """Every definition as an answer must have it."""
    return {name: _definition(name, is_answer=True) for name in DEFINITIONS}


def request_schemas() -> dict[str, Schema]:
    """Every definition as a request may have it."""
    return {name: _definition(name, is_answer=False) for name in DEFINITIONS}


def translate(schema: Schema) -> Schema:
    """A Swagger 2 schema as JSON Schema."""
    if "$ref" in schema:
        return {"$ref": "#/$defs/" + _name(schema["$ref"])}
    if any(isinstance(member, dict) for member in schema.get("enum", ())):
        return {"oneOf": [translate(member) for member in schema["enum"]]}
    kept: Schema = {key: schema[key] for key in ("type", "enum", "minLength") if key in schema}
    kept |= RANGES.get(schema.get("format", ""), {})
    if schema.get("format") == "url":
        kept["format"] = "url"
    for key in ("items", "additionalProperties"):
        if key in schema:
            kept[key] = translate(schema[key])
    return kept


def parents(name: str) -> Iterator[str]:
    """The definitions whose fields are this one's too."""
    for part in DEFINITIONS[name].get("allOf", ()):
        if "$ref" in part:
            yield _name(part["$ref"])


def children(name: str) -> dict[str, str]:
    """The definitions that a discriminator chooses from, by its value."""
    return {discriminator_value(child): child for child in DEFINITIONS if name in parents(child)}


def discriminator_value(name: str) -> str:
    """What the discriminator of a child says."""
    return DEFINITIONS[name].get("x-ms-discriminator-value") or DISCRIMINATOR_VALUES[name]


def fields(name: str) -> dict[str, Schema]:
    """The declared fields of a definition, those of its parents included."""
    found: dict[str, Schema] = {}
    for parent in parents(name):
        found |= fields(parent)
    for part in (*DEFINITIONS[name].get("allOf", ()), DEFINITIONS[name]):
        found |= part.get("properties", {})
    return found


def required(name: str) -> set[str]:
    """The fields that the contract itself requires."""
    found = {field for parent in parents(name) for field in required(parent)}
    for part in (*DEFINITIONS[name].get("allOf", ()), DEFINITIONS[name]):
        found |= set(part.get("required", ()))
    return found


def field_schema(name: str, field: str) -> Schema:
    """One field as JSON Schema, with the deviations that were decided on."""
    if (name, field) in REPLACED:
        return REPLACED[name, field].schema
    if field in {DEFINITIONS[parent].get("discriminator") for parent in parents(name)}:
        return _only(discriminator_value(name), fields(name)[field])
    if field == "type" and name in DISCRIMINATOR_VALUES:
        return _only(DISCRIMINATOR_VALUES[name], fields(name)[field])
    if field == "object":
        return {"type": "string", "enum": [OBJECTS[name]], "x-enum-name": "TypeDiscriminator"}
    schema = translate(fields(name)[field])
    if field in NULLABLE.get(name, (frozenset(), ""))[0]:
        return {"anyOf": [schema, {"type": "null"}]}
    return schema


def _only(value: str, declared: Schema) -> Schema:
    """The one value that a field of a chosen definition has; of an enum, if it is declared so."""
    if "$ref" not in declared:
        return {"const": value}
    return {"type": "string", "enum": [value], "x-enum-name": _name(declared["$ref"])}


def reachable(name: str) -> set[str]:
    """The definitions that an object of this one can contain, itself included."""
    found: set[str] = set()
    waiting = {name}
    while waiting:
        found |= (new := waiting)
        waiting = {near for each in new for near in _neighbours(each)} - found
    return found


def _neighbours(name: str) -> Iterator[str]:
    yield from children(name).values()
    yield from parents(name)
    for schema in fields(name).values():
        yield from _references(schema)


def _references(schema: Schema) -> Iterator[str]:
    if "$ref" in schema:
        yield _name(schema["$ref"])
    for inner in (schema.get("items"), schema.get("additionalProperties")):
        if isinstance(inner, dict):
            yield from _references(inner)
    for member in schema.get("enum", ()):
        if isinstance(member, dict):
            yield from _references(member)


def _definition(name: str, *, is_answer: bool) -> Schema:
    definition = DEFINITIONS[name]
    if "enum" in definition:
        return {"type": "string", "enum": definition["enum"], "x-enum-name": name}
    if "discriminator" in definition:
        return _choice(definition["discriminator"], children(name))
    declared = {field: field_schema(name, field) for field in fields(name)}
    if not is_answer:
        return {"type": "object", "required": sorted(required(name)), "properties": declared}
    added = {field: change.schema for (owner, field), change in ADDED.items() if owner == name}
    return {
        "type": "object",
        "required": [field for field in declared if (name, field) not in OMITTED],
        "properties": declared | added,
        "additionalProperties": False,
    }


def _choice(discriminator: str, options: dict[str, str]) -> Schema:
    return {
        "type": "object",
        "required": [discriminator],
        "properties": {discriminator: {"enum": list(options)}},
        "allOf": [
            {
                "if": {
                    "properties": {discriminator: {"const": value}},
                    "required": [discriminator],
                },
                "then": {"$ref": "#/$defs/" + child},
            }
            for value, child in options.items()
        ],
    }


def _name(reference: str) -> str:
    return reference.rpartition("/")[2]
