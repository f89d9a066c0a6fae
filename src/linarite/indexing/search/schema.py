"""An index's fields as Arrow columns: values from JSON into them, and back."""

import math
import re
from array import array
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from linarite.indexing.search.definition import IndexDefinition, IndexField

Document = dict[str, Any]

_INT32, _INT64 = 1 << 31, 1 << 63
_MOMENT = re.compile(
    r"(\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(?::\d{2})?)(?:\.(\d{1,7}))?(Z|[+-]\d{2}:\d{2})", re.ASCII
)
_TYPES: Mapping[str, pa.DataType] = {
    "Edm.String": pa.string(),
    "Edm.Int32": pa.int32(),
    "Edm.Int64": pa.int64(),
    "Edm.Double": pa.float64(),
    "Edm.Boolean": pa.bool_(),
    "Edm.DateTimeOffset": pa.timestamp("us", "UTC"),
    "Collection(Edm.String)": pa.list_(pa.string()),
}
_OUT_OF_JSON: Mapping[float, str] = {math.inf: "INF", -math.inf: "-INF"}


class WrongValue(ValueError):
    """A value that its field does not take; the message names both."""


def column(field: IndexField) -> pa.Field:
    """The column of `field`."""
    kind = pa.list_(pa.float32(), field.dimensions) if field.is_vector else _TYPES[field.type]
    return pa.field(field.name, kind, nullable=not field.key)


def arrow_schema(definition: IndexDefinition) -> pa.Schema:
    """The columns of an index."""
    return pa.schema([column(field) for field in definition.fields])


def moment(text: str) -> datetime:
    """What a DateTimeOffset in RFC 3339 means, to the microsecond; raises ValueError."""
    match = _MOMENT.fullmatch(text)
    if match is None:
        raise ValueError(f"{text[:40]!r} is no date and time with an offset")
    whole, fraction, offset = match.groups()
    micros = f".{fraction[:6].ljust(6, '0')}" if fraction else ""
    return datetime.fromisoformat(f"{whole}{micros}{offset}").astimezone(UTC)


def checked(field: IndexField, value: Any) -> Any:
    """`value` of JSON as Arrow takes it.

    Raises:
        WrongValue: the field's type is another.
    """
    if value is None:
        if field.is_collection:
            return []
        return None
    match field.type:
        case "Edm.String" if isinstance(value, str):
            return value
        case "Edm.Boolean" if isinstance(value, bool):
            return value
        case "Edm.Int32" if _is_integer(value) and -_INT32 <= value < _INT32:
            return int(value)
        case "Edm.Int64" if _is_integer(value) and -_INT64 <= value < _INT64:
            return int(value)
        case "Edm.Double":
            return _double(field, value)
        case "Edm.DateTimeOffset" if isinstance(value, str):
            try:
                return moment(value)
            except (ValueError, OverflowError):
                raise _wrong(field, value) from None
        case "Collection(Edm.String)" if _is_list_of(value, str):
            return value
        case "Collection(Edm.Single)" if isinstance(value, list):
            if len(value) != field.dimensions:
                raise WrongValue(
                    f"The vector field '{field.name}', with dimension {field.dimensions}, expects "
                    f"a length of {field.dimensions}. However, the provided vector has a length "
                    f"of {len(value)}. Please ensure that the vector length matches the dimension "
                    "of the field."
                )
            return _numbers(field, value)
    raise _wrong(field, value)


def table(definition: IndexDefinition, rows: Sequence[Document]) -> pa.Table:
    """Rows of checked values as a table; what a row does not name is null."""
    columns = []
    for field in definition.fields:
        values = [row.get(field.name) for row in rows]
        columns.append(_vectors(field, values) if field.is_vector else _plain(field, values))
    return pa.table(columns, schema=arrow_schema(definition))


def _plain(field: IndexField, values: list[Any]) -> pa.Array:
    return pa.array(values, column(field).type)


def _vectors(field: IndexField, values: list[Any]) -> pa.Array:
    """A column of vectors, whose numbers are taken as they lie in memory."""
    empty = array("f", bytes(4 * (field.dimensions or 0)))
    packed = b"".join([empty if each is None else array("f", each) for each in values])
    numbers = pa.Array.from_buffers(pa.float32(), len(packed) // 4, [None, pa.py_buffer(packed)])
    missing = pa.array([each is None for each in values])
    return pa.FixedSizeListArray.from_arrays(numbers, field.dimensions, mask=missing)


def documents(found: pa.Table, fields: Sequence[IndexField]) -> list[Document]:
    """Rows of a table as JSON has them; `fields` are some of its columns, and not none."""
    columns = [_values(field, found.column(field.name)) for field in fields]
    names = [field.name for field in fields]
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def _numbers(field: IndexField, value: list[Any]) -> Any:
    """A vector in 32 bits a number; made at once, for lists of Python's floats are large."""
    numbers = array("f", value) if set(map(type, value)) <= {float, int} else None
    if numbers is None or not math.isfinite(sum(numbers)):
        raise WrongValue(
            f"The vector field '{field.name}' takes numbers of 32 bits, and one here is none."
        )
    return numbers


def _double(field: IndexField, value: Any) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError:
            raise _wrong(field, value) from None
    if value in ("INF", "-INF", "NaN"):
        return float(value)
    raise _wrong(field, value)


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_list_of(value: Any, kind: type) -> bool:
    return isinstance(value, list) and all(isinstance(each, kind) for each in value)


def _wrong(field: IndexField, value: Any) -> WrongValue:
    return WrongValue(
        f"Cannot convert the value {str(value)[:100]!r} of the field '{field.name}' to the "
        f"expected type '{field.type}'."
    )


def _values(field: IndexField, found: pa.ChunkedArray) -> list[Any]:
    values: list[Any] = found.to_pylist()
    match field.type:
        case "Edm.DateTimeOffset":
            return [None if each is None else written(each) for each in values]
        case "Edm.Double":
            return [_json_double(each) for each in values]
        case "Collection(Edm.String)":
            return [each or [] for each in values]  # null where the field came later
    return values


def written(when: datetime) -> str:
    """A moment as answers tell it."""
    text = when.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S").rjust(19, "0")
    fraction = f"{when.microsecond:06}".rstrip("0")
    return f"{text}.{fraction}Z" if fraction else f"{text}Z"


def _json_double(value: float | None) -> float | str | None:
    if value is None or math.isfinite(value):
        return value
    return _OUT_OF_JSON.get(value, "NaN")
