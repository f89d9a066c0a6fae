"""A valid value for any schema of the contract, and every small way to break it.

A mutation walks the sample and its schema together, so that it only breaks what the schema says
something about; each is one change, named by its place.
"""

import copy
from collections.abc import Callable, Iterator
from typing import Any

from tests.contract.deviations import Schema

DEPTH = 8
"""How deep a recursive definition is followed before its lists stay empty."""

Mutation = tuple[str, Any]
"""Where a sample was broken and how, and the broken sample."""

Change = Callable[[Any], Any]


def sample(schema: Schema, definitions: dict[str, Schema], depth: int = DEPTH) -> Any:
    """A value that a schema allows, with every field it knows."""
    schema = resolve(schema, definitions)
    for choice in ("oneOf", "anyOf"):
        if choice in schema:
            return sample(schema[choice][0], definitions, depth - 1)
    if "allOf" in schema:
        return sample(schema["allOf"][0]["then"], definitions, depth - 1)
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return schema["enum"][0]
    match kind(schema):
        case "object":
            return _sample_object(schema, definitions, depth)
        case "array":
            return [sample(schema["items"], definitions, depth - 1)] if depth > 0 else []
        case "integer":
            return 1
        case "number":
            return 0.5
        case "boolean":
            return True
        case "string":
            return "https://example.com/a" if schema.get("format") == "url" else "text"
        case _:
            return {"any": "thing"}


def mutations(schema: Schema, definitions: dict[str, Schema], value: Any) -> Iterator[Mutation]:
    """Every small way to break a valid value, one at a time."""
    for place, change in _breaks(schema, definitions, value):
        broken = copy.deepcopy(value)
        yield (
            f"{'.'.join(map(str, place[0])) or '$'}: {place[1]}",
            _changed(broken, place[0], change),
        )


def resolve(schema: Schema, definitions: dict[str, Schema]) -> Schema:
    """The schema that a reference names."""
    while "$ref" in schema:
        schema = definitions[schema["$ref"].rpartition("/")[2]]
    return schema


def kind(schema: Schema) -> str | None:
    """The JSON type of a schema; of several the first, which is not null."""
    declared = schema.get("type")
    return declared[0] if isinstance(declared, list) else declared


Path = tuple[str | int, ...]


def _sample_object(schema: Schema, definitions: dict[str, Schema], depth: int) -> Any:
    if "properties" not in schema:
        values = schema.get("additionalProperties")
        return {"key": sample(values, definitions, depth - 1)} if values else {}
    needed = set(schema["required"])
    return {
        name: sample(inner, definitions, depth - 1)
        for name, inner in schema["properties"].items()
        if depth > 0 or name in needed
    }


def _breaks(
    schema: Schema, definitions: dict[str, Schema], value: Any, path: Path = ()
) -> Iterator[tuple[tuple[Path, str], Change]]:
    schema = resolve(schema, definitions)
    for choice in ("oneOf", "anyOf"):
        if choice in schema:
            may_be_null = {"type": "null"} in schema[choice]
            for (place, how), change in _breaks(schema[choice][0], definitions, value, path):
                if not (may_be_null and place == path and how.startswith("null for")):
                    yield (place, how), change
            return
    if "allOf" in schema:
        discriminator = schema["required"][0]
        yield ((*path, discriminator), "unknown kind"), lambda _: "Unheard"
        yield from _breaks(schema["allOf"][0]["then"], definitions, value, path)
        return
    if "const" in schema:
        yield (path, "wrong discriminator"), lambda _: "Unheard"
        return
    if "enum" in schema:
        yield (path, "unknown enum member"), lambda _: "unheard-of"
    for name, wrong in _wrong_types(schema):
        yield (path, f"{name} for {kind(schema)}"), lambda _, wrong=wrong: wrong
    yield from _range_breaks(schema, path)
    if isinstance(value, dict):
        yield from _object_breaks(schema, definitions, value, path)
    if isinstance(value, list) and value:
        yield from _breaks(schema["items"], definitions, value[0], (*path, 0))


def _object_breaks(
    schema: Schema, definitions: dict[str, Schema], value: dict[str, Any], path: Path
) -> Iterator[tuple[tuple[Path, str], Change]]:
    for name in schema.get("required", ()):
        yield (
            (path, f"without {name}"),
            lambda old, name=name: {key: kept for key, kept in old.items() if key != name},
        )
    if schema.get("additionalProperties") is False:
        yield (path, "with an undeclared field"), lambda old: {**old, "undeclared": 1}
    known = schema.get("properties", {})
    for name, inner in value.items():
        if name in known:
            yield from _breaks(known[name], definitions, inner, (*path, name))
        elif isinstance(values := schema.get("additionalProperties"), dict):
            yield from _breaks(values, definitions, inner, (*path, name))


def _range_breaks(schema: Schema, path: Path) -> Iterator[tuple[tuple[Path, str], Change]]:
    if "minimum" in schema:
        yield (path, "too small"), lambda _: schema["minimum"] - 1
    if "maximum" in schema:
        yield (path, "too large"), lambda _: schema["maximum"] + 1
    if schema.get("minLength"):
        yield (path, "empty"), lambda _: ""
    if schema.get("format") == "url":
        yield (path, "no URL"), lambda _: "somewhere"


def _wrong_types(schema: Schema) -> Iterator[tuple[str, Any]]:
    allowed = schema.get("type", [])
    allowed = {allowed} if isinstance(allowed, str) else set(allowed)
    if not allowed:
        return
    wrong: dict[str, Any] = {
        "string": "text",
        "integer": 7,
        "number": 1.5,
        "boolean": True,
        "object": {},
        "array": [],
        "null": None,
    }
    for name, value in wrong.items():
        if name in allowed or (name == "integer" and "number" in allowed):
            continue
        yield name, value


def _changed(value: Any, path: Path, change: Change) -> Any:
    if not path:
        return change(value)
    value[path[0]] = _changed(value[path[0]], path[1:], change)
    return value
