"""Holds an HTTP answer against the contract: its status, its headers, its body, field by field.

operation_of("GET", "/openai/files/file-1")  →  the operation Files_Get
check(operation, 200, headers, body)         →  what is wrong, and which enum values were seen
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from typing import Any
from urllib.parse import urlsplit

from jsonschema import Draft202012Validator, FormatChecker, ValidationError, validators
from jsonschema.protocols import Validator
from referencing import Registry
from referencing.jsonschema import DRAFT202012
from tests.contract.deviations import (
    EXTRA_STATUSES,
    INFERENCE_ERROR,
    OPTIONAL_HEADERS,
    Schema,
)
from tests.contract.schema import CONTRACT, answer_schemas, translate

BASE = re.compile(r"/openai(?:/v1)?(?P<path>/.*)")
INFERENCE = re.compile(r"(?:/deployments/[^/]+)?/(?:chat/completions|completions|embeddings)")

EnumValue = tuple[str, str]
"""The name of an enum and one of its values."""

Definitions = Callable[[], dict[str, Schema]]
"""A reading of the contract's definitions."""


@dataclass(frozen=True)
class Operation:
    """One of the contract's operations."""

    id: str
    method: str
    path: str
    declaration: dict[str, Any]

    @property
    def successes(self) -> dict[int, dict[str, Any]]:
        """The declared answers that are no errors, by status."""
        return {
            int(status): answer
            for status, answer in self.declaration["responses"].items()
            if status != "default"
        }

    @property
    def answers_bytes(self) -> bool:
        """Whether the body is the caller's own bytes and no JSON."""
        return any(answer.get("schema") == {"type": "file"} for answer in self.successes.values())

    def parameters(self, place: str) -> dict[str, dict[str, Any]]:
        """The declared parameters that stand in `place` (path, query, header, formData)."""
        declared = (
            CONTRACT["parameters"][parameter["$ref"].rpartition("/")[2]]
            if "$ref" in parameter
            else parameter
            for parameter in self.declaration["parameters"]
        )
        return {each["name"]: each for each in declared if each["in"] == place}

    def matches(self, method: str, path: str) -> bool:
        """Whether a request goes to this operation; `path` is without the base."""
        pattern = re.sub(r"\\\{[^/]+\\\}", "[^/]+", re.escape(self.path).replace(r"\-", "-"))
        return method == self.method and re.fullmatch(pattern, path) is not None


@dataclass(frozen=True)
class Verdict:
    """What a check found: faults in words, and the enum values of an answer without faults."""

    faults: list[str]
    seen: frozenset[EnumValue] = frozenset()


OPERATIONS: dict[str, Operation] = {
    declaration["operationId"]: Operation(
        declaration["operationId"], method.upper(), path, declaration
    )
    for path, methods in CONTRACT["paths"].items()
    for method, declaration in methods.items()
}


def operation_of(method: str, path: str) -> Operation | None:
    """The operation that a request goes to, if it goes to one of the contract's."""
    base = BASE.fullmatch(path)
    matching = [o for o in OPERATIONS.values() if base and o.matches(method, base["path"])]
    return min(matching, key=lambda operation: operation.path.count("{"), default=None)


def check(operation: Operation, status: int, headers: Mapping[str, str], body: bytes) -> Verdict:
    """Hold an answer of an operation against the contract.

    Args:
        operation: what was asked for.
        status: the HTTP status.
        headers: the answer's headers, names in any case.
        body: the answer's whole body; not looked at where the answer is a file.
    """
    answer = operation.successes.get(status)
    if status >= 400:
        return check_body({"$ref": "#/$defs/ErrorResponse"}, headers, body)
    if answer is None:
        if (operation.id, status) in EXTRA_STATUSES:
            return Verdict([])
        return Verdict([f"status {status} is not one of {sorted(operation.successes)}"])
    faults = list(_header_faults(operation, answer, headers))
    if operation.answers_bytes:
        return Verdict([*faults, *_media_type_faults(headers, "application/octet-stream")])
    if "schema" not in answer:
        return Verdict([*faults, *(["body: there should be none"] if body else [])])
    verdict = check_body(translate(answer["schema"]), headers, body)
    return Verdict([*faults, *verdict.faults], verdict.seen)


def check_refusal(path: str, headers: Mapping[str, str], body: bytes) -> Verdict:
    """Hold an error of a path that is none of the contract's operations against its form.

    Inference may answer OpenAI's form of an error, all others the contract's alone.
    """
    forms: list[Schema] = [{"$ref": "#/$defs/ErrorResponse"}]
    base = BASE.fullmatch(path)
    if base and INFERENCE.fullmatch(base["path"]):
        forms.append(INFERENCE_ERROR)
    return check_body({"anyOf": forms}, headers, body)


def check_body(schema: Schema, headers: Mapping[str, str], body: bytes) -> Verdict:
    """Hold a JSON body against a schema that may refer to the contract's definitions."""
    faults = _media_type_faults(headers, "application/json")
    try:
        instance = json.loads(body, parse_constant=_refuse_constant)
    except ValueError as error:
        return Verdict([*faults, f"body: not JSON ({error})"])
    verdict = check_instance(schema, instance)
    return Verdict([*faults, *verdict.faults], verdict.seen)


def check_instance(
    schema: Schema, instance: object, definitions: Definitions = answer_schemas
) -> Verdict:
    """Hold a JSON value against a schema that may refer to the contract's definitions."""
    seen: set[EnumValue] = set()
    token = _seen.set(seen)
    try:
        errors = _validator(json.dumps(schema), definitions).iter_errors(instance)
        faults = [_in_words(error) for error in errors]
    finally:
        _seen.reset(token)
    return Verdict(faults, frozenset() if faults else frozenset(seen))


_seen: ContextVar[set[EnumValue]] = ContextVar("enum values of the instance being checked")


def _note_enum(validator: Validator, name: str, instance: object, schema: Schema) -> None:
    """The keyword `x-enum-name`: it refuses nothing and notes the value."""
    if instance in schema["enum"]:
        _seen.get().add((name, str(instance)))


def _is_integer(checker: object, instance: object) -> bool:
    return isinstance(instance, int) and not isinstance(instance, bool)


def _is_url(value: object) -> bool:
    if not isinstance(value, str):
        return True
    parts = urlsplit(value)
    return parts.scheme in {"http", "https"} and bool(parts.netloc)


_formats = FormatChecker(formats=())
_formats.checks("url")(_is_url)

_Validator: Callable[..., Validator] = validators.extend(
    Draft202012Validator,
    validators={"x-enum-name": _note_enum},
    type_checker=Draft202012Validator.TYPE_CHECKER.redefine("integer", _is_integer),
)


@cache
def _validator(schema: str, definitions: Definitions) -> Validator:
    contract = {"$id": "urn:contract", "$defs": definitions()}
    registry: Registry[Any] = Registry().with_resource(
        "urn:contract", DRAFT202012.create_resource(contract)
    )
    rooted = schema.replace('"#/$defs/', '"urn:contract#/$defs/')
    return _Validator(json.loads(rooted), registry=registry, format_checker=_formats)


def _header_faults(
    operation: Operation, answer: dict[str, Any], headers: Mapping[str, str]
) -> Iterator[str]:
    given = {name.lower(): value for name, value in headers.items()}
    for name, declared in answer.get("headers", {}).items():
        value = given.get(name.lower())
        if value is None:
            if (operation.id, name) not in OPTIONAL_HEADERS:
                yield f"header {name}: missing"
        elif declared["type"] == "integer" and not re.fullmatch(r"-?\d+", value):
            yield f"header {name}: {value!r} is not an integer"
        elif declared.get("format") == "url" and not _is_url(value):
            yield f"header {name}: {value!r} is not a whole URL"


def _media_type_faults(headers: Mapping[str, str], wanted: str) -> list[str]:
    given = {name.lower(): value for name, value in headers.items()}.get("content-type", "")
    if given.partition(";")[0].strip() == wanted:
        return []
    return [f"header content-type: {given!r} is not {wanted}"]


def _refuse_constant(text: str) -> None:
    raise ValueError(f"{text} is no JSON")


def _in_words(error: ValidationError) -> str:
    return f"{error.json_path}: {error.message[:300]}"
