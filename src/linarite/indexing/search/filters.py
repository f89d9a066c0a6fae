"""`$filter`: OData as Azure AI Search takes it, turned into a condition for Lance.

odata-query parses; what a filter may say is decided here, so that no field that is not filterable,
no function and no value of a wrong type reaches the store. Null compares as OData has it:
``x gt 5`` is false and ``x ne 5`` true where `x` is null; a condition is never null itself.
"""

import math
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from odata_query import ast
from odata_query.exceptions import ODataException
from odata_query.grammar import ODataLexer, ODataParser

from linarite.indexing.search.definition import IndexDefinition, IndexField
from linarite.indexing.search.refusals import SearchRefused, bad_parameter
from linarite.indexing.search.schema import moment

LONGEST = 64 << 10
_DEEPEST = 20
_MOST_COMPARISONS = 500
_MOST_VALUES = 5000
_INT64 = 1 << 63
_EPOCH, _MICROSECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1)
_OPERATORS: Mapping[type, str] = {
    ast.Eq: "=",
    ast.NotEq: "!=",
    ast.Gt: ">",
    ast.GtE: ">=",
    ast.Lt: "<",
    ast.LtE: "<=",
}
_MIRRORED = {ast.Gt: ast.Lt, ast.Lt: ast.Gt, ast.GtE: ast.LtE, ast.LtE: ast.GtE}
_NUMBERS = ("Edm.Int32", "Edm.Int64", "Edm.Double")


def condition(text: str, definition: IndexDefinition) -> str:
    """The condition that a filter states, in Lance's SQL.

    Raises:
        SearchRefused: it is no filter, or one that this index does not take.
    """
    if len(text) > LONGEST:
        raise _refused(f"it is longer than {LONGEST} characters")
    try:
        tree = ODataParser().parse(ODataLexer().tokenize(text.strip()))
    except (ODataException, RecursionError) as error:
        raise _refused(f"it cannot be read: {_where(error, text.strip())}") from None
    return _Reader(definition).stated(tree, 0)


def quoted(text: str) -> str:
    """`text` as a literal."""
    return "'" + text.replace("'", "''") + "'"


def column(name: str) -> str:
    """The column `name` as an expression."""
    return f"`{name}`"


def is_one_of(name: str, values: Sequence[str]) -> str:
    """That the column is one of `values`."""
    return f"{column(name)} IN ({', '.join(map(quoted, values))})" if values else "false"


class _Reader:
    """Turns a parsed filter into SQL over an index's fields."""

    def __init__(self, definition: IndexDefinition) -> None:
        self._definition = definition
        self._comparisons = 0

    def stated(self, node: Any, depth: int) -> str:
        if depth > _DEEPEST:
            raise _refused(f"it is nested deeper than {_DEEPEST} levels")
        if isinstance(node, ast.BoolOp):
            word = "AND" if isinstance(node.op, ast.And) else "OR"
            return _joined(word, [self.stated(each, depth + 1) for each in _chain(node)])
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            return f"(NOT {self.stated(node.operand, depth + 1)})"
        self._comparisons += 1
        if self._comparisons > _MOST_COMPARISONS:
            raise _refused(
                f"it has more than {_MOST_COMPARISONS} comparisons; search.in takes many values"
            )
        match node:
            case ast.Compare():
                return self._comparison(node, depth)
            case ast.Identifier():
                field = self._field(node)
                if field.type != "Edm.Boolean":
                    raise _refused(
                        f"'{field.name}' alone is no condition, as it is not Edm.Boolean"
                    )
                return f"coalesce({column(field.name)}, false)"
            case ast.Call():
                return self._search_in(node)
            case ast.CollectionLambda():
                return self._of_collection(node)
        raise _refused(f"{_said(node)} is no condition")

    def _comparison(self, node: ast.Compare, depth: int) -> str:
        if isinstance(node.left, ast.UnaryOp) and isinstance(node.left.op, ast.Not):
            # the grammar binds `not` tighter than `eq`; nobody who writes `not x eq 1` means that
            inner = ast.Compare(node.comparator, node.left.operand, node.right)
            return f"(NOT {self.stated(inner, depth + 1)})"
        left, right, comparator = node.left, node.right, type(node.comparator)
        if isinstance(right, ast.Identifier) and not isinstance(left, ast.Identifier):
            left, right, comparator = right, left, _MIRRORED.get(comparator, comparator)
        if comparator not in _OPERATORS:
            raise _refused("`in` is no operator of it; write search.in(field, 'a,b')")
        field, operator = self._field(left), _OPERATORS[comparator]
        if field.is_collection:
            raise _refused(f"'{field.name}' is a collection; ask with any or all")
        if isinstance(right, ast.Null):
            if operator not in ("=", "!="):
                raise _refused("only eq and ne compare with null")
            return f"({column(field.name)} IS {'' if operator == '=' else 'NOT '}NULL)"
        value = _literal(field, right)
        if field.type == "Edm.Boolean" and operator not in ("=", "!="):
            raise _refused(f"'{field.name}' is Edm.Boolean, which only eq and ne compare")
        when_null = "true" if operator == "!=" else "false"
        return f"coalesce({column(field.name)} {operator} {value}, {when_null})"

    def _field(self, node: Any) -> IndexField:
        if not isinstance(node, ast.Identifier) or node.namespace:
            raise _refused(f"{_said(node)} is not the name of a field")
        field = self._definition.by_name.get(node.name)
        if field is None:
            raise _refused(
                f"Could not find a property named '{node.name}' on type 'search.document'"
            )
        if not field.filterable:
            raise _refused(f"'{field.name}' is not a filterable field")
        return field

    def _search_in(self, node: ast.Call) -> str:
        field = self._field(_argument_of_in(node))
        if field.type != "Edm.String":
            raise _refused(
                f"search.in takes fields of Edm.String, and '{field.name}' is {field.type}"
            )
        return f"coalesce({is_one_of(field.name, _listed(node))}, false)"

    def _of_collection(self, node: ast.CollectionLambda) -> str:
        field = self._field(node.owner)
        if not field.is_collection:
            raise _refused(f"'{field.name}' is no collection")
        is_any = isinstance(node.operator, ast.Any)
        if node.lambda_ is None:
            if not is_any:
                raise _refused("all() needs a condition")
            return f"coalesce(array_length({column(field.name)}) > 0, false)"
        values = self._values(node.lambda_.expression, node.lambda_.identifier.name, is_any)
        listed = ", ".join(map(quoted, values))
        has = f"coalesce(array_has_any({column(field.name)}, [{listed}]), false)"
        has = has if values else "false"
        return has if is_any else f"(NOT {has})"

    def _values(self, node: Any, variable: str, is_any: bool) -> list[str]:
        """The values that any element is to be among, or no element."""
        values: list[str] = []
        for each in _chain(node):
            if isinstance(each, ast.BoolOp):
                raise _refused(_RULES)
            self._comparisons += 1
            if self._comparisons > _MOST_COMPARISONS:
                raise _refused(f"it has more than {_MOST_COMPARISONS} comparisons")
            values += _elements(each, variable, is_any)
        joined = isinstance(node, ast.BoolOp)
        if joined and isinstance(node.op, ast.Or) != is_any:
            raise _refused(_RULES)
        return values


_RULES = (
    "of a collection of strings, any takes eq and search.in joined by or, "
    "and all takes ne and not search.in joined by and"
)


def _elements(node: Any, variable: str, is_any: bool) -> list[str]:
    """The values that one comparison in an any or an all names."""
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        if isinstance(node.operand, ast.Call) and not is_any:
            return _values_of_in(node.operand, variable)
        raise _refused(_RULES)
    if isinstance(node, ast.Call) and is_any:
        return _values_of_in(node, variable)
    if isinstance(node, ast.Compare):
        wanted = ast.Eq if is_any else ast.NotEq
        sides = (node.left, node.right)
        names = [side for side in sides if _is_variable(side, variable)]
        texts = [side for side in sides if isinstance(side, ast.String)]
        if isinstance(node.comparator, wanted) and names and texts:
            return [texts[0].val]
    raise _refused(_RULES)


def _values_of_in(node: ast.Call, variable: str) -> list[str]:
    if not _is_variable(_argument_of_in(node), variable):
        raise _refused(_RULES)
    return _listed(node)


def _is_variable(node: Any, variable: str) -> bool:
    return isinstance(node, ast.Identifier) and not node.namespace and node.name == variable


def _argument_of_in(node: ast.Call) -> Any:
    name = ".".join((*node.func.namespace, node.func.name))
    if name != "search.in":
        raise _refused(f"the function '{name}' is not known here; there is search.in")
    if len(node.args) not in (2, 3) or not all(
        isinstance(each, ast.String) for each in node.args[1:]
    ):
        raise _refused("search.in takes a field, a text of values and, optionally, delimiters")
    return node.args[0]


def _listed(node: ast.Call) -> list[str]:
    text, *more = (each.val for each in node.args[1:] if isinstance(each, ast.String))
    delimiters = more[0] if more else " ,"
    found = re.split(f"[{re.escape(delimiters)}]", text) if delimiters else [text]
    values = list(dict.fromkeys(each for each in found if each))
    if len(values) > _MOST_VALUES:
        raise _refused(f"search.in has {len(values)} values; at most {_MOST_VALUES} are taken")
    return values


def _literal(field: IndexField, node: Any) -> str:
    match field.type:
        case "Edm.String" if isinstance(node, ast.String):
            return quoted(node.val)
        case "Edm.Boolean" if isinstance(node, ast.Boolean):
            return node.val.lower()
        case "Edm.DateTimeOffset" if isinstance(node, ast.DateTime):
            try:
                when = moment(node.val)
            except (ValueError, OverflowError):
                raise _refused(f"{node.val[:40]!r} is no date and time with an offset") from None
            # of a number, as a timestamp's literal is of nanoseconds and ends in 2262
            return f"cast({(when - _EPOCH) // _MICROSECOND} as timestamp(6))"
        case kind if kind in _NUMBERS and (number := _number(node)) is not None:
            return number
    raise _refused(f"'{field.name}' is {field.type}, which {_said(node)} is not")


def _number(node: Any) -> str | None:
    negative = isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub)
    literal: Any = node.operand if negative else node
    sign = "-" if negative else ""
    if isinstance(literal, ast.Integer):
        value = int(f"{sign}{literal.val.lstrip('+')}" if len(literal.val) < 40 else _INT64)
        if not -_INT64 <= value < _INT64:
            raise _refused("a number is beyond 64 bits")
        return f"({value})"
    if isinstance(literal, ast.Float) and len(literal.val) < 400:
        number = float(f"{sign}{literal.val.lstrip('+')}")
        return None if math.isinf(number) else f"cast({number!r} as double)"
    return None


def _chain(node: Any) -> list[Any]:
    """The parts of ``a or b or c``, in their order; a node that joins nothing is its own part."""
    if not isinstance(node, ast.BoolOp):
        return [node]
    kind, parts = type(node.op), []
    waiting: list[Any] = [node]
    while waiting:
        one = waiting.pop()
        if isinstance(one, ast.BoolOp) and isinstance(one.op, kind):
            waiting += [one.right, one.left]
        else:
            parts.append(one)
    return parts


def _joined(word: str, parts: Sequence[str]) -> str:
    """Joined as a balanced tree, which a long chain would not be."""
    if len(parts) == 1:
        return parts[0]
    half = len(parts) // 2
    return f"({_joined(word, parts[:half])} {word} {_joined(word, parts[half:])})"


def _where(error: Exception, text: str) -> str:
    token = getattr(error, "token", None)
    if token is None:
        return "it ends too early" if getattr(error, "eof", False) else str(error)[:200]
    return f"{text[token.index : token.index + 20]!r} at character {token.index + 1} is unexpected"


def _said(node: Any) -> str:
    if isinstance(node, ast.Identifier):
        return f"'{'.'.join((*node.namespace, node.name))}'"
    value = getattr(node, "val", None)
    return repr(value[:40]) if isinstance(value, str) else f"an expression ({type(node).__name__})"


def _refused(reason: str) -> SearchRefused:
    return bad_parameter("$filter", f"Invalid expression: {reason}.")
