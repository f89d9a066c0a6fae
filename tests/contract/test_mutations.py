"""The checker is worth its name: whatever is broken in a valid answer, it is noticed.

For every definition that an answer can contain a valid sample is made from its schema, then broken
in every small way: a field dropped or added, a type swapped, a number out of range, an unknown
enum member or kind. Each must be a fault; so must each broken request be to its wire class.
"""

import pytest
from pydantic import ValidationError
from tests.contract.checker import OPERATIONS, check_instance
from tests.contract.samples import mutations, sample
from tests.contract.schema import DEFINITIONS, answer_schemas, reachable, request_schemas
from tests.contract.wire_classes import WIRE_CLASSES

from linarite.wire.shapes import Incoming

ANSWERS = answer_schemas()
REQUESTS = request_schemas()

ANSWERED = sorted(
    {
        name
        for operation in OPERATIONS.values()
        for answer in operation.declaration["responses"].values()
        if "$ref" in answer.get("schema", {})
        for name in reachable(answer["schema"]["$ref"].rpartition("/")[2])
        if "enum" not in DEFINITIONS[name]
    }
)
ASKED = sorted(name for name, shape in WIRE_CLASSES.items() if issubclass(shape, Incoming))


def reference(name: str) -> dict[str, str]:
    return {"$ref": f"#/$defs/{name}"}


@pytest.mark.parametrize("name", ANSWERED)
def test_a_valid_answer_has_no_fault(name):
    assert check_instance(reference(name), sample(reference(name), ANSWERS)).faults == []


@pytest.mark.parametrize("name", ANSWERED)
def test_every_broken_answer_is_caught(name):
    valid = sample(reference(name), ANSWERS)

    broken = list(mutations(reference(name), ANSWERS, valid))

    assert broken
    assert [how for how, value in broken if not check_instance(reference(name), value).faults] == []


def test_the_empty_object_is_no_answer():
    assert [
        name
        for name in ANSWERED
        if ANSWERS[name]["required"] and not check_instance(reference(name), {}).faults
    ] == []


@pytest.mark.parametrize("name", ASKED)
def test_every_broken_request_is_refused(name):
    valid = sample(reference(name), REQUESTS)
    WIRE_CLASSES[name].model_validate(valid)

    for how, value in mutations(reference(name), REQUESTS, valid):
        if is_taken_all_the_same(name, how):
            continue
        with pytest.raises(ValidationError):
            WIRE_CLASSES[name].model_validate(value)


def is_taken_all_the_same(name: str, how: str) -> bool:
    """Whether what is null may as well be absent, or `kind` and `type` stand for each other."""
    place, _, fault = how.partition(": ")
    if fault.startswith("null for"):
        return place not in REQUESTS[name]["required"]
    is_method = "Method" in name or place == "method"
    return is_method and fault in {"without kind", "without type"}
