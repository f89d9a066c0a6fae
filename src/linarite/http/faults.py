"""What pydantic found wrong with a request, in the service's words."""

from collections.abc import Sequence
from typing import Any

from linarite.errors import Fault, InvalidPayload

_SHOWN = 50
_NAME_CHARACTERS = 80


def invalid_body(errors: Sequence[Any]) -> InvalidPayload:
    """The refusal of a JSON body; a fault's target is a JSON path such as ``$.metadata.a``."""
    return _refusal([_fault(error, "$") for error in errors[:_SHOWN]])


def invalid_parameters(errors: Sequence[Any]) -> InvalidPayload:
    """The refusal of query, path or header parameters; a fault's target is the name alone."""
    without_place = [error | {"loc": error["loc"][1:]} for error in errors[:_SHOWN]]
    return _refusal([_fault(error, "") for error in without_place])


def _refusal(faults: Sequence[Fault]) -> InvalidPayload:
    """One error whose message is the first fault's, with all of them as its details."""
    return InvalidPayload(faults[0].message, target=faults[0].target, faults=faults)


def _fault(error: Any, root: str) -> Fault:
    steps = [step for step in error["loc"] if step != "[key]"]
    path = (root + "".join(_step(step) for step in steps)).removeprefix(".")
    name = f"`{_short(str(steps[-1]))}`" if steps else "the body"
    if error["type"] == "missing":
        return Fault(path, f"{name} is required.")
    said = error["msg"].removesuffix(".")
    return Fault(path, f"Invalid value for {name}: {said[:1].lower()}{said[1:]}.")


def _step(step: int | str) -> str:
    return f"[{step}]" if isinstance(step, int) else f".{_short(step)}"


def _short(name: str) -> str:
    return name if len(name) <= _NAME_CHARACTERS else f"{name[:_NAME_CHARACTERS]}…"
