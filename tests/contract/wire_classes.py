"""The wire classes that bear the name of a definition of the contract."""

import importlib
import pkgutil
from enum import StrEnum

from pydantic import BaseModel
from tests.contract.schema import DEFINITIONS

from linarite import wire

_MODULES = [
    importlib.import_module(f"linarite.wire.{module.name}")
    for module in pkgutil.iter_modules(wire.__path__)
]


def _named(kind: type) -> dict[str, type]:
    return {
        name: value
        for module in _MODULES
        for name, value in vars(module).items()
        if name in DEFINITIONS and isinstance(value, type) and issubclass(value, kind)
    }


WIRE_CLASSES: dict[str, type[BaseModel]] = _named(BaseModel)
WIRE_ENUMS: dict[str, type[StrEnum]] = _named(StrEnum)
