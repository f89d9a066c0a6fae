"""Callers' `metadata`, held against OpenAI's rules in OpenAI's words.

Pydantic would refuse the same bodies; these are the sentences that existing clients know.
"""

from typing import Any

from linarite.errors import Fault, InvalidPayload

MOST_PROPERTIES = 16
LONGEST_KEY = 64
LONGEST_VALUE = 512

_KINDS = {
    str: "a string",
    list: "an array",
    dict: "an object",
    bool: "a boolean",
    int: "an integer",
    float: "a number",
    type(None): "null",
}
_SHOWN = 64


def check_metadata(metadata: Any) -> None:
    """Raise InvalidPayload, with every fault, unless `metadata` is null or as it must be."""
    if metadata is None:
        return
    faults = _faults(metadata)
    if faults:
        raise InvalidPayload(faults[0].message, target=faults[0].target, faults=faults)


def _faults(metadata: Any) -> list[Fault]:
    if not isinstance(metadata, dict):
        return [_wrong_type("metadata", "an object", metadata)]
    if len(metadata) > MOST_PROPERTIES:
        message = (
            "Invalid 'metadata': too many properties. Expected an object with at most "
            f"{MOST_PROPERTIES} properties, but got an object with {len(metadata)} properties "
            "instead."
        )
        return [Fault("$.metadata", message)]
    faults: list[Fault] = []
    for key, value in metadata.items():
        name = f"metadata.{key[:_SHOWN]}"
        if len(key) > LONGEST_KEY:
            faults.append(_too_long("metadata", "key", LONGEST_KEY, len(key), name))
        elif not isinstance(value, str):
            faults.append(_wrong_type(name, "a string", value))
        elif len(value) > LONGEST_VALUE:
            faults.append(_too_long(name, "string", LONGEST_VALUE, len(value), name))
    return faults


def _wrong_type(name: str, expected: str, value: Any) -> Fault:
    got = _KINDS[type(value)]
    return Fault(
        f"$.{name}", f"Invalid type for '{name}': expected {expected}, but got {got} instead."
    )


def _too_long(name: str, what: str, limit: int, length: int, target: str) -> Fault:
    message = (
        f"Invalid '{name}': {what} too long. Expected a string with maximum length {limit}, but "
        f"got a string with length {length} instead."
    )
    return Fault(f"$.{target}", message)
