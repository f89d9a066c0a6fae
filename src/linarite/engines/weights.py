"""Model weights on disk: safetensors read and written a tensor at a time, with numpy alone.

Only this module knows the file format; it knows no architecture. Memory stays at one tensor.
"""

import json
import math
import mmap
import struct
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from linarite.engines.refusals import UnusableModel

Array = NDArray[Any]

_WIDTHS = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}
_MAX_HEADER_BYTES = 100_000_000


@dataclass(frozen=True)
class TensorSource:
    """One tensor that is read when asked for."""

    shape: tuple[int, ...]
    read: Callable[[], Array]
    """The values as float32, whatever they are stored as."""


def open_safetensors(folder: Path) -> dict[str, TensorSource]:
    """Every tensor of the ``*.safetensors`` files of a folder, by name.

    Raises:
        UnusableModel: there are none, one is cut short, or one holds other than floats.
    """
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise UnusableModel(f"{folder} has no *.safetensors file.")
    found: dict[str, TensorSource] = {}
    for file in files:
        found |= _open_file(file)
    return found


def _open_file(file: Path) -> dict[str, TensorSource]:
    with file.open("rb") as stream:
        mapped = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
    length = int.from_bytes(mapped[:8], "little")
    if length > min(len(mapped), _MAX_HEADER_BYTES):
        raise UnusableModel(f"{file.name} is not a whole safetensors file.")
    header: dict[str, Any] = json.loads(mapped[8 : 8 + length])
    header.pop("__metadata__", None)
    start = 8 + length
    return {name: _tensor(file, mapped, start, name, entry) for name, entry in header.items()}


def _tensor(
    file: Path, mapped: mmap.mmap, start: int, name: str, entry: dict[str, Any]
) -> TensorSource:
    kind, shape = entry["dtype"], tuple(entry["shape"])
    first, last = (start + offset for offset in entry["data_offsets"])
    if kind not in _WIDTHS:
        raise UnusableModel(f"{file.name}: {name} is {kind}; weights must be floats.")
    if last > len(mapped) or last - first != math.prod(shape) * _WIDTHS[kind]:
        raise UnusableModel(f"{file.name} is not a whole safetensors file.")
    return TensorSource(shape, lambda: _floats(mapped[first:last], kind).reshape(shape))


def _floats(raw: bytes, kind: str) -> Array:
    if kind == "BF16":
        halves = np.frombuffer(raw, "<u2").astype("<u4")
        return (halves << 16).view("<f4")
    stored = {"F64": "<f8", "F32": "<f4", "F16": "<f2"}[kind]
    return np.frombuffer(raw, stored).astype("<f4")


def to_half(name: str, values: Array) -> Array:
    """The values as float16.

    Raises:
        UnusableModel: a value is not a number or beyond what float16 holds.
    """
    with np.errstate(over="ignore"):
        halves: Array = values.astype("<f2")
    if not np.isfinite(halves).all():
        raise UnusableModel(f"{name} holds values that float16 cannot represent.")
    return halves


def write_safetensors(file: Path, tensors: Mapping[str, TensorSource]) -> None:
    """Write every tensor as float16, one at a time, in the mapping's order."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for name, source in tensors.items():
        size = math.prod(source.shape) * 2
        header[name] = {
            "dtype": "F16",
            "shape": list(source.shape),
            "data_offsets": [offset, offset + size],
        }
        offset += size
    encoded = json.dumps(header, separators=(",", ":")).encode()
    encoded += b" " * (-len(encoded) % 8)
    with file.open("wb") as stream:
        stream.write(struct.pack("<Q", len(encoded)) + encoded)
        stream.writelines(_halves(tensors))


def _halves(tensors: Mapping[str, TensorSource]) -> Iterable[bytes]:
    for name, source in tensors.items():
        yield to_half(name, source.read()).tobytes()
