"""What `response_format` may ask, whoever serves the model: OpenAI's rules in OpenAI's words.

A strict schema is held to the rules that Azure has for it, so that what is taken here is taken
there. Bounds of length, size and number are let by, as OpenAI has them now.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import orjson

from linarite.errors import InferenceRefused
from linarite.wire.inference import ChatCompletionRequest, ChatMessage

PARAM = "response_format"
MOST_BYTES = 128 << 10
MOST_DEPTH = 64
"""Arrays and objects within each other, in any schema."""
MOST_PROPERTIES = 1_000
MOST_VALUES = 1_000
"""Values under all `enum` of a schema."""
MOST_STRICT_PROPERTIES = 100
MOST_STRICT_LEVELS = 5

_NEVER_STRICT = (
    "allOf",
    "contains",
    "default",
    "dependentRequired",
    "dependentSchemas",
    "else",
    "if",
    "maxContains",
    "maxProperties",
    "minContains",
    "minProperties",
    "not",
    "oneOf",
    "patternProperties",
    "prefixItems",
    "propertyNames",
    "then",
    "unevaluatedItems",
    "unevaluatedProperties",
    "uniqueItems",
)
_DEFINITIONS = ("$defs", "definitions")

Context = tuple[str, ...]


def check_response_format(request: ChatCompletionRequest) -> None:
    """Refuse a form that OpenAI refuses.

    Raises:
        InferenceRefused: its messages do not mention JSON, or its schema breaks a rule.
    """
    form = request.response_format
    if form is None:
        return
    if form.type == "json_object" and not _mentions_json(request.messages):
        raise InferenceRefused(
            "'messages' must contain the word 'json' in some form, to use 'response_format' of "
            "type 'json_object'.",
            param="messages",
        )
    if form.json_schema is not None:
        fault = schema_fault(form.json_schema.schema_, is_strict=bool(form.json_schema.strict))
        if fault is not None:
            raise InferenceRefused(
                f"Invalid schema for response_format '{form.json_schema.name}': {fault}",
                param=PARAM,
            )


def _mentions_json(messages: Sequence[ChatMessage]) -> bool:
    parts = [part for message in messages for part in message.content or ()]
    return any("json" in (part.text or part.refusal or "").lower() for part in parts)


def size_of(value: Any) -> int | None:
    """Bytes of a value as JSON; None where it nests deeper than is ever written."""
    try:
        return len(orjson.dumps(value))
    except TypeError:
        return None


def schema_fault(schema: dict[str, Any], *, is_strict: bool) -> str | None:
    """What is wrong with a schema, of an answer or of a function's parameters, if anything."""
    size = size_of(schema)
    if size is not None and size > MOST_BYTES:
        return f"schema has {size} bytes; at most {MOST_BYTES} are allowed."
    if size is None or _depth(schema) > MOST_DEPTH:
        return f"schema nests its arrays and objects more than {MOST_DEPTH} deep."
    nodes = list(_nodes(schema, (), 0))
    properties = sum(len(_properties(node)) for node, _, _ in nodes)
    most = MOST_STRICT_PROPERTIES if is_strict else MOST_PROPERTIES
    if properties > most:
        return f"{properties} properties exceeds limit of {most}."
    values = sum(len(node["enum"]) for node, _, _ in nodes if isinstance(node.get("enum"), list))
    if values > MOST_VALUES:
        return f"{values} enum values exceeds limit of {MOST_VALUES}."
    if not is_strict:
        return None
    if schema.get("type") != "object":
        told = schema.get("type")
        return f"schema must be a JSON Schema of 'type: \"object\"', got 'type: \"{told}\"'."
    levels = max(level for _, _, level in nodes)
    if levels > MOST_STRICT_LEVELS:
        return f"{levels} levels of nesting exceeds limit of {MOST_STRICT_LEVELS}."
    for node, context, _ in nodes:
        if (fault := _strict_fault(node)) is not None:
            return f"In context={context}, {fault}"
    return None


def _strict_fault(node: dict[str, Any]) -> str | None:
    """What is wrong with one schema of a strict one, those within it left aside."""
    barred = next((key for key in _NEVER_STRICT if key in node), None)
    if barred is not None:
        return f"'{barred}' is not permitted."
    if "$ref" in node or "anyOf" in node:
        return None
    if "type" not in node:
        return "schema must have a 'type' key."
    kinds = node["type"] if isinstance(node["type"], list) else [node["type"]]
    if "array" in kinds and "items" not in node:
        return "array schema missing items."
    if "object" not in kinds:
        return None
    if node.get("additionalProperties") is not False:
        return "'additionalProperties' is required to be supplied and to be false."
    properties, required = _properties(node), node.get("required", [])
    rule = (
        "'required' is required to be supplied and to be an array including every key in "
        "properties."
    )
    if not isinstance(required, list) or not all(isinstance(name, str) for name in required):
        return rule
    missing = [name for name in properties if name not in required]
    if missing:
        return f"{rule} Missing '{missing[0]}'."
    extra = [name for name in required if name not in properties]
    return f"{rule} Extra required key '{extra[0]}' supplied." if extra else None


def _nodes(node: Any, at: Context, around: int) -> Iterator[tuple[dict[str, Any], Context, int]]:
    """Every schema within a schema, where it is, and how many objects deep.

    Args:
        node: the schema.
        at: the keys that lead to it.
        around: objects that it is within; those of a definition are counted from there on.
    """
    if not isinstance(node, dict):
        return
    level = around + ("properties" in node)
    yield node, at, level
    for name, inner in _properties(node).items():
        yield from _nodes(inner, (*at, "properties", name), level)
    for key in ("items", "additionalProperties"):
        yield from _nodes(node.get(key), (*at, key), level)
    for key in ("anyOf", "oneOf", "allOf"):
        branches = node.get(key)
        for place, inner in enumerate(branches if isinstance(branches, list) else ()):
            yield from _nodes(inner, (*at, key, str(place)), level)
    for key in _DEFINITIONS:
        named = node.get(key)
        for name, inner in named.items() if isinstance(named, dict) else ():
            yield from _nodes(inner, (*at, key, name), 0)


def _properties(node: dict[str, Any]) -> dict[str, Any]:
    properties = node.get("properties")
    return properties if isinstance(properties, dict) else {}


def _depth(value: Any) -> int:
    """How deep arrays and objects are within each other."""
    deepest, left = 0, [(value, 1)]
    while left:
        one, depth = left.pop()
        inner = one.values() if isinstance(one, dict) else one if isinstance(one, list) else None
        if inner is not None:
            deepest = max(deepest, depth)
            left += [(each, depth + 1) for each in inner]
    return deepest
