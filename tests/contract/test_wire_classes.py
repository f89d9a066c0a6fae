"""Every definition that is used has a wire class of its name, with the same fields and types.

Types are compared as words: `string`, `integer`, `list of File`, `map of string`. What the tables
of deviations replace, add or allow to be null is expected of the classes just so.
"""

from typing import Any

import pytest
from pydantic import BaseModel
from tests.contract.checker import OPERATIONS, Operation, check_instance
from tests.contract.deviations import (
    ADDED,
    DISCRIMINATOR_VALUES,
    NEVER_ANSWERED,
    NULLABLE,
    OBJECTS,
    OMITTED,
    ONLY_OVER_POST,
    REPLACED,
    Schema,
)
from tests.contract.samples import sample
from tests.contract.schema import (
    DEFINITIONS,
    answer_schemas,
    field_schema,
    fields,
    reachable,
    request_schemas,
    required,
)
from tests.contract.wire_classes import WIRE_CLASSES, WIRE_ENUMS

from linarite.wire.errors import ErrorCode
from linarite.wire.files import UPLOAD_FORM_PURPOSES
from linarite.wire.shapes import Incoming, Outgoing

ANSWERS = sorted(name for name, shape in WIRE_CLASSES.items() if issubclass(shape, Outgoing))
REQUESTS = sorted(name for name, shape in WIRE_CLASSES.items() if issubclass(shape, Incoming))


def used_by(operation: Operation) -> set[str]:
    """The definitions that an operation's bodies can contain; of a choice, those chosen from."""
    answers = [answer.get("schema", {}) for answer in operation.declaration["responses"].values()]
    bodies = [parameter["schema"] for parameter in operation.parameters("body").values()]
    named = [body["$ref"].rpartition("/")[2] for body in [*answers, *bodies] if "$ref" in body]
    found = {used for name in named for used in reachable(name)}
    return {name for name in found if "discriminator" not in DEFINITIONS[name]}


def in_words(schema: Schema, definitions: dict[str, Any]) -> str:
    """The type of a field, without what it may be besides (null, a range, a default)."""
    for choice in ("anyOf", "oneOf"):
        if choice in schema:
            words = {in_words(member, definitions) for member in schema[choice]}
            return " or ".join(sorted(words - {"null"}))
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        target = definitions[name]
        return "string" if "enum" in target else name
    match schema.get("type", "string"):
        case ["integer", "null"]:
            return "integer"
        case "array":
            return f"list of {in_words(schema['items'], definitions)}"
        case "object" if isinstance(schema.get("additionalProperties"), dict):
            return f"map of {in_words(schema['additionalProperties'], definitions)}"
        case word:
            return str(word)


def types_of_class(name: str) -> dict[str, str]:
    schema = WIRE_CLASSES[name].model_json_schema(mode="serialization")
    definitions = schema.pop("$defs", {})
    while "$ref" in schema:
        schema = definitions[schema["$ref"].rpartition("/")[2]]
    return {
        field: in_words(inner, definitions)
        for field, inner in schema["properties"].items()
        if (name, field) not in ADDED
    }


def types_of_definition(name: str) -> dict[str, str]:
    return {field: in_words(field_schema(name, field), answer_schemas()) for field in fields(name)}


def nullable_fields(shape: type[BaseModel]) -> set[str]:
    properties = properties_of(shape.model_json_schema(mode="serialization"))
    return {
        field
        for field, declared in properties.items()
        if {"type": "null"} in declared.get("anyOf", ())
    }


def properties_of(schema: dict[str, Any]) -> dict[str, Any]:
    if "$ref" in schema:
        schema = schema["$defs"][schema["$ref"].rpartition("/")[2]]
    return schema["properties"]


@pytest.mark.parametrize("operation", sorted(OPERATIONS))
def test_what_an_operation_uses_has_a_class(operation):
    assert used_by(OPERATIONS[operation]) - set(WIRE_CLASSES) - set(WIRE_ENUMS) == set()


@pytest.mark.parametrize("name", sorted(WIRE_CLASSES))
def test_a_class_has_the_fields_and_types_of_its_definition(name):
    assert types_of_class(name) == types_of_definition(name) | wire_only_request_fields(name)


def wire_only_request_fields(name: str) -> dict[str, str]:
    """What newer clients send and the contract does not declare."""
    return {
        "UploadFileStartBody": {"expires_after": "FileExpirationAfter"},
        "SupervisedMethodRequest": {"supervised": "SupervisedMethodConfig"},
    }.get(name, {})


@pytest.mark.parametrize("name", sorted(WIRE_ENUMS))
def test_an_enum_has_the_members_of_its_definition(name):
    assert [str(member) for member in WIRE_ENUMS[name]] == DEFINITIONS[name]["enum"]


@pytest.mark.parametrize("name", REQUESTS)
def test_a_request_requires_what_its_definition_requires(name):
    shape = WIRE_CLASSES[name]

    needed = {
        info.alias or field for field, info in shape.model_fields.items() if info.is_required()
    }

    assert needed == required(name)


@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_is_null_only_where_the_table_says(name):
    omitted = {field for owner, field in OMITTED if owner == name}
    added = {
        field
        for (owner, field), change in ADDED.items()
        if owner == name and "null" in change.schema["type"]
    }

    allowed = NULLABLE.get(name, (frozenset(), ""))[0] | omitted | added

    assert nullable_fields(WIRE_CLASSES[name]) == allowed


@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_passes_through_its_class_unchanged(name):
    valid = sample({"$ref": f"#/$defs/{name}"}, answer_schemas())

    written = WIRE_CLASSES[name].model_validate(valid).model_dump(mode="json", exclude_unset=True)

    assert written == valid
    assert check_instance({"$ref": f"#/$defs/{name}"}, written).faults == []


def test_the_upload_form_has_its_own_enum():
    declared = OPERATIONS["Files_Upload"].parameters("formData")["purpose"]["enum"]

    assert sorted(UPLOAD_FORM_PURPOSES) == sorted(declared)


def test_every_entry_of_the_tables_names_something_of_the_contract():
    for name, field in (*REPLACED, *OMITTED):
        assert field in fields(name)
    for name, (nullable, _) in NULLABLE.items():
        assert nullable <= set(fields(name)) - required(name)
    for name, field in ADDED:
        assert field not in fields(name)
    for name, value in (*NEVER_ANSWERED, *ONLY_OVER_POST):
        assert value in DEFINITIONS[name]["enum"]
    assert set(DISCRIMINATOR_VALUES) <= set(DEFINITIONS)
    assert set(OBJECTS) == {name for name in DEFINITIONS if "object" in fields(name)}


def test_a_request_that_its_class_takes_is_one_of_the_contract():
    for name in REQUESTS:
        valid = sample({"$ref": f"#/$defs/{name}"}, request_schemas())
        assert WIRE_CLASSES[name].model_validate(valid)


def test_there_are_fourteen_error_codes():
    assert len(ErrorCode) == 14
