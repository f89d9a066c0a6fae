"""`$filter` and `$orderby` over an allow-list of columns, and pages in any such order.

odata-query parses; what a filter may say is decided here, comparison by comparison, so that no
function, no column nobody named and no value of a wrong type reaches the database. Null compares
as OData has it: ``x gt 5`` is false and ``x ne 5`` true where `x` is null, and null sorts lowest.
"""

import datetime
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import sqlalchemy as sa
from odata_query import ast
from odata_query.exceptions import ODataException
from odata_query.grammar import ODataLexer, ODataParser

from linarite.errors import InvalidPayload
from linarite.wire.shapes import INT64_MAX

FILTER = "$filter"
ORDERBY = "$orderby"

_LONGEST = 2_000
_DEEPEST = 100
_MOST_KEYS = 5
_ORDER_TERM = re.compile(r"([A-Za-z_]\w*)(?:\s+(asc|desc))?", re.IGNORECASE)
_COMPARISONS: Mapping[type, tuple[str, Callable[[Any, Any], Any]]] = {
    ast.Eq: ("eq", operator.eq),
    ast.NotEq: ("ne", operator.ne),
    ast.Gt: ("gt", operator.gt),
    ast.GtE: ("ge", operator.ge),
    ast.Lt: ("lt", operator.lt),
    ast.LtE: ("le", operator.le),
}
_MIRRORED = {ast.Gt: ast.Lt, ast.Lt: ast.Gt, ast.GtE: ast.LtE, ast.LtE: ast.GtE}

Predicate = sa.ColumnElement[bool]


@dataclass(frozen=True)
class Field:
    """A column that callers may filter and sort by.

    Args:
        column: an integer or a string column.
        spelling: turns a string of the caller into the stored spelling.
        values: every value there is, when a caller can only mean one of them.
    """

    column: sa.Column[Any]
    spelling: Callable[[str], str] = str
    values: frozenset[str] | None = None

    @property
    def is_number(self) -> bool:
        return isinstance(self.column.type, sa.Integer)


Fields = Mapping[str, Field]


@dataclass(frozen=True)
class Key:
    """One term of an order."""

    column: sa.Column[Any]
    descending: bool


def predicate(text: str, fields: Fields) -> Predicate:
    """The condition that a `$filter` states.

    Raises:
        InvalidPayload: it is no OData expression, or says more than comparisons of `fields` with
            values, joined by and, or, not and parentheses.
    """
    if len(text) > _LONGEST:
        _refuse(FILTER, f"it is longer than {_LONGEST} characters")
    if not text.strip():
        _refuse(FILTER, "it is empty")
    try:
        tree = ODataParser().parse(ODataLexer().tokenize(_with_single_item_lists(text.strip())))
    except (ODataException, RecursionError) as error:
        _refuse(FILTER, f"it cannot be read: {_where(error, text)}")
    return _Reader(fields).condition(tree, 0)


def order(text: str, fields: Fields) -> tuple[Key, ...]:
    """The order that a `$orderby` states, such as ``created_at desc, id``.

    Raises:
        InvalidPayload: it names no fields of `fields`, or one of them twice.
    """
    keys: list[Key] = []
    for term in text.split(","):
        match = _ORDER_TERM.fullmatch(term.strip())
        if match is None:
            _refuse(ORDERBY, f"{term.strip()!r} is not a field, optionally followed by asc or desc")
        name, direction = match.groups()
        if name not in fields:
            _refuse(ORDERBY, _unknown(name, fields))
        column = fields[name].column
        if any(key.column is column for key in keys):
            _refuse(ORDERBY, f"`{name}` stands in it twice")
        keys.append(Key(column, (direction or "").lower() == "desc"))
    if len(keys) > _MOST_KEYS:
        _refuse(ORDERBY, f"it has {len(keys)} terms; at most {_MOST_KEYS} are taken")
    return tuple(keys)


def ordering(keys: Sequence[Key]) -> list[sa.UnaryExpression[Any]]:
    """`keys` as the terms of an ORDER BY; null sorts lowest on every database."""
    return [_term(key) for key in keys]


def _term(key: Key) -> sa.UnaryExpression[Any]:
    if not key.column.nullable:  # said plainly, as an index is only used for what it says
        return key.column.desc() if key.descending else key.column.asc()
    return key.column.desc().nulls_last() if key.descending else key.column.asc().nulls_first()


def following(keys: Sequence[Key], values: Sequence[Any]) -> Predicate:
    """What comes after the row that has `values`, in the order of `keys`.

    The last key must be unique and never null, so that no two rows are at the same place.
    """
    choices: list[Predicate] = []
    for index, key in enumerate(keys):
        ties = [_same(k.column, v) for k, v in zip(keys[:index], values, strict=False)]
        choices.append(sa.and_(*ties, _beyond(key, values[index])))
    return sa.or_(*choices)


def _same(column: sa.Column[Any], value: Any) -> Predicate:
    return column.is_(None) if value is None else column == value


def _beyond(key: Key, value: Any) -> Predicate:
    if key.descending and value is not None:
        below = key.column < value
        return sa.or_(below, key.column.is_(None)) if key.column.nullable else below
    if key.descending:
        return sa.false()
    return key.column.is_not(None) if value is None else key.column > value


class _Reader:
    """Turns a parsed filter into a condition over `fields`."""

    def __init__(self, fields: Fields) -> None:
        self._fields = fields

    def condition(self, node: Any, depth: int) -> Predicate:
        if depth > _DEEPEST:
            _refuse(FILTER, f"it is nested deeper than {_DEEPEST} levels")
        if isinstance(node, ast.BoolOp):
            join = sa.and_ if isinstance(node.op, ast.And) else sa.or_
            left, right = (self.condition(side, depth + 1) for side in (node.left, node.right))
            return join(left, right)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            return sa.not_(self.condition(node.operand, depth + 1))
        if not isinstance(node, ast.Compare):
            _refuse(
                FILTER,
                f"{_said(node)} is no comparison; write `field operator value` with eq, ne, gt, "
                "ge, lt, le or in, joined by and, or, not and parentheses",
            )
        if isinstance(node.left, ast.UnaryOp) and isinstance(node.left.op, ast.Not):
            # the grammar binds `not` tighter than `eq`; nobody who writes `not x eq 1` means that
            inner = ast.Compare(node.comparator, node.left.operand, node.right)
            return sa.not_(self.condition(inner, depth + 1))
        return self._comparison(node)

    def _comparison(self, node: ast.Compare) -> Predicate:
        if isinstance(node.comparator, ast.In):
            return self._is_in(node)
        left, right, comparator = node.left, node.right, type(node.comparator)
        if isinstance(right, ast.Identifier) and not isinstance(left, ast.Identifier):
            left, right, comparator = right, left, _MIRRORED.get(comparator, comparator)
        field = self._field(left)
        word, compare = _COMPARISONS[comparator]
        value = self._value(field, right)
        if value is None:
            return self._with_null(field, word)
        stated: Predicate = compare(field.column, value)
        if not field.column.nullable:
            return stated
        if word == "ne":
            return sa.or_(field.column.is_(None), stated)
        return sa.and_(field.column.is_not(None), stated)

    def _with_null(self, field: Field, word: str) -> Predicate:
        if word not in {"eq", "ne"}:
            _refuse(FILTER, f"`{word} null` compares nothing; only eq and ne take null")
        return field.column.is_(None) if word == "eq" else field.column.is_not(None)

    def _is_in(self, node: ast.Compare) -> Predicate:
        field = self._field(node.left)
        assert isinstance(node.right, ast.List)  # the grammar lets nothing else follow
        values = [self._value(field, item) for item in node.right.val]
        stated = field.column.in_([value for value in values if value is not None])
        if None in values:
            return sa.or_(field.column.is_(None), stated)
        return sa.and_(field.column.is_not(None), stated) if field.column.nullable else stated

    def _field(self, node: Any) -> Field:
        if not isinstance(node, ast.Identifier):
            _refuse(FILTER, f"{_said(node)} is not the name of a field")
        name = _name(node)
        if name not in self._fields:
            _refuse(FILTER, _unknown(name, self._fields))
        return self._fields[name]

    def _value(self, field: Field, node: Any) -> int | str | None:
        name = field.column.name
        if isinstance(node, ast.Null):
            return None
        if field.is_number:
            return _number(name, node)
        if not isinstance(node, ast.String):
            _refuse(FILTER, f"`{name}` is text, compare it with a value in single quotes")
        value = field.spelling(node.val)
        if field.values is not None and value not in field.values:
            known = ", ".join(sorted(field.values))
            _refuse(FILTER, f"`{name}` is never {node.val!r}; its values are {known}")
        if "\0" in value:
            _refuse(FILTER, f"`{name}` is compared with a text that holds a NUL character")
        return value


def _number(name: str, node: Any) -> int:
    negative = isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub)
    literal = node.operand if negative else node
    if isinstance(literal, ast.Integer):
        value = -literal.py_val if negative else literal.py_val
    elif isinstance(literal, ast.DateTime) and not negative:
        value = _unix_time(literal)
    else:
        _refuse(FILTER, f"`{name}` is a whole number (Unix seconds for a time), not {_said(node)}")
    if abs(value) > INT64_MAX:
        _refuse(FILTER, f"{value} is out of the range of `{name}`")
    return value


def _unix_time(literal: ast.DateTime) -> int:
    try:
        moment = literal.py_val
    except (ValueError, OverflowError):
        _refuse(FILTER, f"{literal.val} is no date and time")
    aware = moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)
    return int(aware.timestamp())


def _with_single_item_lists(text: str) -> str:
    """Write ``in ('a')`` as ``in ('a',)``, which is how the parser wants a list of one."""
    return re.sub(
        r"(\sin\s*\(\s*(?:'(?:[^']|'')*'|[^\s,()']+))\s*\)", r"\1,)", text, flags=re.IGNORECASE
    )


def _where(error: Exception, text: str) -> str:
    token = getattr(error, "token", None)
    if token is None:
        return "it ends too early" if getattr(error, "eof", False) else str(error)
    return f"{text[token.index : token.index + 20]!r} at character {token.index + 1} is unexpected"


def _name(node: ast.Identifier) -> str:
    return ".".join((*node.namespace, node.name))


def _said(node: Any) -> str:
    """A node of the tree in words that a caller recognizes."""
    if isinstance(node, ast.Identifier):
        return f"`{_name(node)}`"
    if isinstance(node, ast.Call):
        return f"the function `{_name(node.func)}`"
    value = getattr(node, "val", None)
    return repr(value) if isinstance(value, str) else f"an expression ({type(node).__name__})"


def _unknown(name: str, fields: Fields) -> str:
    return f"`{name}` is not a field it takes; it takes {', '.join(sorted(fields))}"


def _refuse(target: str, reason: str) -> NoReturn:
    raise InvalidPayload(f"Invalid `{target}`: {reason}.", target=target)
