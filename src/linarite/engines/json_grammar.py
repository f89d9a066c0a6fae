"""JSON schemas as grammars that write what fits them and nothing else.

The library brings a compiler of schemas of its own, which passes over what it does not know and
lets an answer be blanks without end. Here every keyword is either followed to the letter or
refused with its place. What is written is narrower than what a schema allows: properties come in
the schema's order, at most one blank stands between two signs, numbers have no exponent, and an
object has others than the named properties only where the schema says so.
"""

import json
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

from linarite.engines.number_grammar import integers, numbers

MOST_LETTERS = 256
"""The longest string with a bound that is written: each letter of it is a state to compile."""
MOST_ITEMS = 1_000
"""The same for arrays."""

Context = tuple[str, ...]
"""Where in a schema something is: the keys that lead there, as OpenAI writes them."""

_SAYS_NOTHING = {
    "$comment",
    "$defs",
    "$id",
    "$schema",
    "default",
    "definitions",
    "deprecated",
    "description",
    "discriminator",
    "examples",
    "readOnly",
    "title",
    "writeOnly",
}
_OF_STRINGS = {"format", "maxLength", "minLength"}
_OF_NUMBERS = {"exclusiveMaximum", "exclusiveMinimum", "maximum", "minimum"}
_OF_ARRAYS = {"items", "maxItems", "minItems"}
_OF_OBJECTS = {"additionalProperties", "properties", "required"}
_SURROGATES = range(0xD800, 0xE000)
_TYPES = {"array", "boolean", "integer", "null", "number", "object", "string"}

_JSON = r"""
value ::= object | array | string | number | "true" | "false" | "null"
object ::= "{" ("}" | string ":" " "? value members)
members ::= "}" | "," " "? string ":" " "? value members
array ::= "[" ("]" | value items)
items ::= "]" | "," " "? value items
string ::= "\"" letters
letters ::= "\"" | LETTER letters | "\\" escape letters
plain ::= "\"" | LETTER plain
escape ::= ["\\/bfnrt] | "u" ([0-9a-ce-fA-CE-F] hex{3} | [dD] [0-7] hex{2})
hex ::= [0-9a-fA-F]
integer ::= "0" | "-"? [1-9] [0-9]{0,14}
number ::= "-"? ("0" | [1-9] [0-9]{0,14}) ("." [0-9]{1,15})?
"""
"""What every grammar ends with.

Whatever is repeated is a rule that comes to itself again, not a count or a star: with those the
library follows a rule anew for every token of the vocabulary, at every step.
"""


class SchemaRefused(Exception):
    """A schema that no grammar follows, with the place of what is the matter."""

    def __init__(self, context: Context, why: str) -> None:
        super().__init__(why)
        self.context = context
        self.why = why


class Rules:
    """The rules of one grammar.

    Args:
        writable: the bytes that a tokenizer can write one by one. Letters of a schema's names and
            values that need others are written as JSON's escapes.
    """

    def __init__(self, writable: Collection[int] = range(256)) -> None:
        self._bodies: dict[str, str] = {}
        self._writable = frozenset(writable)

    def json(self, value: Any, comma: str = ", ") -> str:
        """A value as JSON that can be written."""
        signs = (comma, ": ")
        text = json.dumps(value, ensure_ascii=False, separators=signs)
        if self._writable.issuperset(text.encode()):
            return text
        return json.dumps(value, separators=signs)

    def add(self, body: str) -> str:
        """Give an expression a name."""
        name = f"r{len(self._bodies)}"
        self._bodies[name] = body
        return name

    def replace(self, name: str, body: str) -> None:
        """Say what a name stands for that was given before that was known."""
        self._bodies[name] = body

    def add_string(self, least: int, most: int | None) -> str:
        """The name of a rule for the letters of a string and its end, between two lengths.

        All strings of a grammar share the rules of their last letters.
        """
        name = rest = "letters"
        if most is not None:
            for left in range(most - least + 1):
                name = self._shared(f"most{left}", name if left else None, may_end=True)
            rest = name
        for left in range(1, least + 1):
            name = self._shared(f"least{left}_{rest}", name, may_end=False)
        return name

    def _shared(self, name: str, after: str | None, *, may_end: bool) -> str:
        if name not in self._bodies:
            end = ['"\\""'] if may_end else []
            more = [f'{_LETTER} {after} | "\\\\" escape {after}'] if after else []
            self._bodies[name] = " | ".join([*end, *more])
        return name

    def add_schema(self, schema: Any, *, is_tight: bool = False) -> str:
        """The name of a rule that writes what fits a schema.

        Args:
            schema: what is to be fitted.
            is_tight: whether no blank may stand after the commas of its objects.

        Raises:
            SchemaRefused: it cannot be followed to the letter; no rule is left of it.
        """
        before = len(self._bodies)
        try:
            return _Document(self, schema, is_tight=is_tight).rule(schema, ())
        except SchemaRefused:
            for name in list(self._bodies)[before:]:
                del self._bodies[name]
            raise

    def add_tight_object(self) -> str:
        """The name of a rule for any object, no blank after its commas, those within left aside."""
        member, rest = 'string ":" " "? value', self.add("")
        self.replace(rest, f'"}}" | "," {member} {rest}')
        return self.add(f'"{{" ("}}" | {member} {rest})')

    def text(self, root: str) -> str:
        """The whole grammar, which begins with the expression `root`."""
        rules = {"root": root, **self._bodies}
        own = "\n".join(f"{name} ::= {body}" for name, body in rules.items())
        return own + _JSON.replace("LETTER", _LETTER)


def grammar_of(schema: Any, writable: Collection[int] = range(256)) -> str:
    """The grammar of a schema, in the form that the engine's library reads.

    Args:
        schema: what is to fit.
        writable: as `Rules` takes it.

    Raises:
        SchemaRefused: it cannot be followed to the letter.
    """
    rules = Rules(writable)
    return rules.text(rules.add_schema(schema))


def grammar_of_any_object() -> str:
    """The grammar of every JSON object."""
    return Rules().text("object")


def literal(text: str) -> str:
    """An expression that writes this text."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


class _Document:
    """One schema on its way into rules; its references point within it."""

    def __init__(self, rules: Rules, document: Any, *, is_tight: bool) -> None:
        self._rules = rules
        self._document = document
        self._comma = '","' if is_tight else '"," " "?'
        self._is_tight = is_tight
        self._named: dict[str, str] = {}
        self._beginning: set[int] = set()
        self._ending: set[int] = set()

    def rule(self, schema: Any, at: Context) -> str:
        """The name of the rule that writes what fits `schema`, which is at `at`."""
        if schema is True or schema == {}:
            return self._anything()
        if not isinstance(schema, dict):
            raise SchemaRefused(
                at, f"{json.dumps(schema)[:40]} is not a schema that anything fits."
            )
        self._refuse_endless(schema, at)
        said = {key for key in schema if key not in _SAYS_NOTHING and not key.startswith("x-")}
        if "$ref" in said:
            _refuse_more(said, {"$ref"}, at)
            return self._reference(schema["$ref"], at)
        for key, write in (
            ("anyOf", self._any_of),
            ("oneOf", self._one_of),
            ("allOf", self._all_of),
        ):
            if key in said:
                _refuse_more(said, {key}, at)
                return write(_schemas(schema[key], (*at, key)), (*at, key))
        if said & {"enum", "const"}:
            _refuse_more(said, {"type", "enum", "const"}, at)
            return self._rules.add(self._values(schema, at))
        _refuse_more(said, {"type", *_OF_STRINGS, *_OF_NUMBERS, *_OF_ARRAYS, *_OF_OBJECTS}, at)
        return self._rules.add(
            " | ".join(self._typed(schema, one, at) for one in _types(schema, at))
        )

    def _values(self, schema: Mapping[str, Any], at: Context) -> str:
        """The values that 'enum' or 'const' name, as far as they are of the stated type."""
        named = schema.get("enum", [schema.get("const")])
        if not isinstance(named, list):
            raise SchemaRefused((*at, "enum"), "'enum' must be an array.")
        if "const" in schema:
            named = [one for one in named if _is_same(one, schema["const"])]
        kinds = set(_types(schema, at)) if "type" in schema else _TYPES
        kinds |= {"integer"} if "number" in kinds else set()
        fitting = [one for one in named if _kind_of_value(one) in kinds]
        if not fitting:
            raise SchemaRefused(at, "no value of 'enum' or 'const' is of the stated type.")
        comma = "," if self._is_tight else ", "
        return " | ".join(literal(self._rules.json(one, comma)) for one in fitting)

    def _anything(self) -> str:
        if not self._is_tight:
            return "value"
        others = 'array | string | number | "true" | "false" | "null"'
        return self._rules.add(f"{self._rules.add_tight_object()} | {others}")

    def _typed(self, schema: Mapping[str, Any], kind: str, at: Context) -> str:
        write: dict[str, Callable[[Mapping[str, Any], Context], str]] = {
            "array": self._array,
            "object": self._object,
            "string": self._string,
            "integer": _integer,
            "number": _number,
        }
        if kind in write:
            return write[kind](schema, at)
        return '"null"' if kind == "null" else '"true" | "false"'

    def _string(self, schema: Mapping[str, Any], at: Context) -> str:
        if "format" in schema:
            if schema.keys() & {"minLength", "maxLength"}:
                raise SchemaRefused(at, "'format' is not supported beside a length.")
            return _form(schema["format"], at)
        least, most = _bounds(schema, "minLength", "maxLength", MOST_LETTERS, at)
        return f'"\\"" {self._rules.add_string(least, most)}'

    def _array(self, schema: Mapping[str, Any], at: Context) -> str:
        least, most = _bounds(schema, "minItems", "maxItems", MOST_ITEMS, at)
        if most == 0:
            return '"[]"'
        item = self.rule(schema.get("items", True), (*at, "items"))
        more = f'"," " "? {item}'
        if most is None:
            rest = self._rules.add("")
            self._rules.replace(rest, f'"]" | {more} {rest}')
        else:
            rest = self._rules.add('"]"')
            for _ in range(most - max(least, 1)):
                rest = self._rules.add(f'"]" | {more} {rest}')
        for _ in range(least - 1):
            rest = self._rules.add(f"{more} {rest}")
        return f'"[" {item} {rest}' + ("" if least else ' | "[]"')

    def _object(self, schema: Mapping[str, Any], at: Context) -> str:
        properties = schema.get("properties", {})
        if not isinstance(properties, dict):
            raise SchemaRefused((*at, "properties"), "'properties' must be an object of schemas.")
        required = schema.get("required", [])
        if not isinstance(required, list) or not all(isinstance(one, str) for one in required):
            raise SchemaRefused((*at, "required"), "'required' must be an array of strings.")
        if unknown := [name for name in required if name not in properties]:
            raise SchemaRefused((*at, "required"), f"{unknown[0]!r} is not among 'properties'.")
        pairs = []
        for name, inner in properties.items():
            value = self.rule(inner, (*at, "properties", name))
            key = literal(self._rules.json(name) + ":")
            pairs.append((f'{key} " "? {value}', name in required))
        others = schema.get("additionalProperties", not properties)
        more = None
        if others is not False:
            value = self.rule(others, (*at, "additionalProperties"))
            name = self._rules.add(_unlike([one for one in properties if one], is_first=True))
            more = f'"\\"" {name} ":" " "? {value}'
        return f'"{{" {self._members(pairs, more)} "}}"'

    def _members(self, pairs: Sequence[tuple[str, bool]], more: str | None) -> str:
        """What stands between the braces: each pair in its turn, required or not.

        A rule for each place says what may follow there, once after a comma's reason to be and
        once before anything was written.
        """
        first = after = '""'
        if more is not None:
            after = self._rules.add(f"({self._comma} {more})*")
            first = self._rules.add(f"({more} {after})?")
        for pair, is_required in reversed(pairs):
            begun = f"{pair} {after}"
            going_on = f"{self._comma} {pair} {after}"
            first = self._rules.add(begun if is_required else f"{begun} | {first}")
            after = self._rules.add(going_on if is_required else f"{going_on} | {after}")
        return first

    def _any_of(self, branches: Sequence[Any], at: Context) -> str:
        return self._rules.add(
            " | ".join(self.rule(one, (*at, str(place))) for place, one in enumerate(branches))
        )

    def _one_of(self, branches: Sequence[Any], at: Context) -> str:
        for place, one in enumerate(branches):
            if not all(self._are_apart(one, other) for other in branches[:place]):
                raise SchemaRefused(
                    at,
                    "'oneOf' is only supported where its schemas differ in type or in the value "
                    "of a required property; use 'anyOf'.",
                )
        return self._any_of(branches, at)

    def _all_of(self, branches: Sequence[Any], at: Context) -> str:
        if len(branches) > 1:
            raise SchemaRefused(at, "'allOf' is only supported with one schema.")
        return self.rule(branches[0], (*at, "0"))

    def _reference(self, target: Any, at: Context) -> str:
        schema, where = self._found(target, at)
        name = self._named.get(target)
        if name is None:
            name = self._named[target] = self._rules.add('""')
            self._rules.replace(name, self.rule(schema, where))
        return name

    def _found(self, target: Any, at: Context) -> tuple[Any, Context]:
        """The schema that a reference points to, and where it is."""
        if not isinstance(target, str) or not target.startswith("#"):
            raise SchemaRefused(at, f"'$ref' is {target!r}; it must point within the schema.")
        keys = [key.replace("~1", "/").replace("~0", "~") for key in target.split("/")[1:]]
        found = self._document
        for key in keys:
            if isinstance(found, list) and key.isdecimal() and int(key) < len(found):
                found = found[int(key)]
            elif isinstance(found, dict) and key in found:
                found = found[key]
            else:
                raise SchemaRefused(at, f"'$ref' is {target!r}, where there is nothing.")
        return found, tuple(keys)

    def _refuse_endless(self, schema: Any, at: Context) -> None:
        """Refuse a schema that only refers to itself, or that nothing of finite length fits."""
        if not self._begins(schema, at, set()):
            raise SchemaRefused(at, "'$ref' leads back to itself.")
        if not self._ends(schema, at, set()):
            raise SchemaRefused(at, "nothing of finite length fits this schema.")

    def _begins(self, schema: Any, at: Context, open_: set[int]) -> bool:
        """Whether something is written before the schema comes round to itself."""
        if not isinstance(schema, dict) or id(schema) in self._beginning:
            return True
        if id(schema) in open_:
            return False
        around = {*open_, id(schema)}
        if "$ref" in schema:
            begins = self._begins(*self._found(schema["$ref"], at), around)
        else:
            begins = all(self._begins(one, at, around) for one in _branches(schema))
        if begins:
            self._beginning.add(id(schema))
        return begins

    def _ends(self, schema: Any, at: Context, open_: set[int]) -> bool:
        """Whether it can be written to its end."""
        if not isinstance(schema, dict) or id(schema) in self._ending:
            return True
        if id(schema) in open_:
            return False
        if self._needs_end(schema, at, {*open_, id(schema)}):
            self._ending.add(id(schema))
            return True
        return False

    def _needs_end(self, schema: Mapping[str, Any], at: Context, open_: set[int]) -> bool:
        """Whether all that is needed within it can be written to its end."""
        if "$ref" in schema:
            return self._ends(*self._found(schema["$ref"], at), open_)
        if branches := _branches(schema):
            return any(self._ends(one, at, open_) for one in branches)
        stated = schema.get("type")
        kinds = stated if isinstance(stated, list) else [stated]
        if any(kind not in ("object", "array", None) for kind in kinds):
            return True
        properties, required = schema.get("properties"), schema.get("required")
        if isinstance(properties, dict) and isinstance(required, list) and kinds != ["array"]:
            needed = [inner for name, inner in properties.items() if name in required]
            if all(self._ends(one, at, open_) for one in needed):
                return True
            if "array" not in kinds:
                return False
        return not schema.get("minItems") or self._ends(schema.get("items"), at, open_)

    def _are_apart(self, one: Any, other: Any) -> bool:
        """Whether nothing fits both schemas, as far as that can be seen."""
        one, other = self._resolved(one), self._resolved(other)
        kinds, others = _kinds(one), _kinds(other)
        if kinds and others and not kinds & others:
            return True
        told, tells = _told(one), _told(other)
        return any(not told[name] & tells[name] for name in told.keys() & tells.keys())

    def _resolved(self, schema: Any) -> Any:
        while isinstance(schema, dict) and "$ref" in schema:
            schema, _ = self._found(schema["$ref"], ())
        return schema


def _form(form: Any, at: Context) -> str:
    if not isinstance(form, str) or form not in _FORMATS:
        known = ", ".join(sorted(_FORMATS))
        raise SchemaRefused(at, f"'format' is {form!r}; this engine knows {known}.")
    return f'"\\"" ({_FORMATS[form]}) "\\""'


def _integer(schema: Mapping[str, Any], at: Context) -> str:
    limits = _limits(schema, at)
    if not limits:
        return "integer"
    least, most = limits.get("minimum"), limits.get("maximum")
    if "exclusiveMinimum" in limits:
        least = _furthest(
            max, least, limits["exclusiveMinimum"].to_integral_value("ROUND_FLOOR") + 1
        )
    if "exclusiveMaximum" in limits:
        most = _furthest(
            min, most, limits["exclusiveMaximum"].to_integral_value("ROUND_CEILING") - 1
        )
    found = integers(least, most)
    if found is None:
        raise SchemaRefused(at, "no integer of at most 15 digits is within the bounds.")
    return found


def _number(schema: Mapping[str, Any], at: Context) -> str:
    limits = _limits(schema, at)
    if not limits:
        return "number"
    least = _furthest(max, limits.get("minimum"), limits.get("exclusiveMinimum"))
    most = _furthest(min, limits.get("maximum"), limits.get("exclusiveMaximum"))
    found = numbers(
        least,
        most,
        above=least is not None and least == limits.get("exclusiveMinimum"),
        below=most is not None and most == limits.get("exclusiveMaximum"),
    )
    if found is None:
        raise SchemaRefused(at, "no number is within the bounds.")
    return found


def _limits(schema: Mapping[str, Any], at: Context) -> dict[str, Decimal]:
    limits = {}
    for key in _OF_NUMBERS & schema.keys():
        value = schema[key]
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise SchemaRefused(at, f"{key!r} must be a number.")
        limits[key] = Decimal(str(value))
    return limits


def _furthest(
    choose: Callable[[Decimal, Decimal], Decimal], one: Decimal | None, other: Decimal | None
) -> Decimal | None:
    if one is None or other is None:
        return one if other is None else other
    return choose(one, other)


def _bounds(
    schema: Mapping[str, Any], low: str, high: str, limit: int, at: Context
) -> tuple[int, int | None]:
    """How often something is repeated, at least and at most; `limit` is the most ever written."""
    for key in (low, high):
        value = schema.get(key, 0)
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise SchemaRefused(at, f"{key!r} must be a whole number from 0 on.")
    least: int = schema.get(low, 0)
    most: int | None = schema.get(high)
    if least > limit:
        raise SchemaRefused(at, f"{low!r} is {least}; this engine writes at most {limit}.")
    if most is not None and most < least:
        raise SchemaRefused(at, f"{low!r} is {least} and {high!r} is {most}, which nothing fits.")
    return least, None if most is None else min(most, limit)


def _types(schema: Mapping[str, Any], at: Context) -> list[str]:
    """The types that a schema states or, where it states none, means."""
    stated = schema.get("type")
    if stated is None:
        kinds = {"string": _OF_STRINGS, "number": _OF_NUMBERS, "array": _OF_ARRAYS}
        kinds["object"] = _OF_OBJECTS
        return [kind for kind, keys in kinds.items() if keys & schema.keys()] or sorted(_TYPES)
    listed = stated if isinstance(stated, list) else [stated]
    for one in listed:
        if not isinstance(one, str) or one not in _TYPES:
            raise SchemaRefused(at, f"{one!r} is not a type.")
    if not listed:
        raise SchemaRefused(at, "'type' names no type.")
    return list(dict.fromkeys(listed))


def _schemas(value: Any, at: Context) -> list[Any]:
    if not isinstance(value, list) or not value:
        raise SchemaRefused(at, f"{at[-1]!r} must be an array of schemas.")
    return value


def _branches(schema: Mapping[str, Any]) -> list[Any]:
    found = [schema.get(key) for key in ("anyOf", "oneOf", "allOf")]
    return [one for branches in found if isinstance(branches, list) for one in branches]


def _refuse_more(said: Iterable[str], known: set[str], at: Context) -> None:
    for key in sorted(said):
        if key not in known:
            beside = sorted(known & {"$ref", "anyOf", "oneOf", "allOf", "enum", "const"})
            where = f" beside {beside[0]!r}" if beside else ""
            raise SchemaRefused(at, f"{key!r} is not supported{where} by this model's engine.")


def _kinds(schema: Any) -> set[str]:
    """The types of what fits a schema, integers as numbers; empty where not plain to see."""
    if not isinstance(schema, dict):
        return set()
    if "const" in schema or "enum" in schema:
        named = schema["enum"] if isinstance(schema.get("enum"), list) else [schema.get("const")]
        found = {_kind_of_value(one) for one in named}
    else:
        stated = schema.get("type", [])
        listed = stated if isinstance(stated, list) else [stated]
        found = {kind for kind in listed if isinstance(kind, str)}
    return {"number" if kind == "integer" else kind for kind in found}


def _told(schema: Any) -> dict[str, set[str]]:
    """The values that required properties may have, where they are listed."""
    properties = schema.get("properties") if isinstance(schema, dict) else None
    required = schema.get("required") if isinstance(schema, dict) else None
    if not isinstance(properties, dict) or not isinstance(required, list):
        return {}
    told = {}
    for name, inner in properties.items():
        if name not in required or not isinstance(inner, dict):
            continue
        if "const" in inner:
            told[name] = {_plain(inner["const"])}
        elif isinstance(inner.get("enum"), list):
            told[name] = {_plain(one) for one in inner["enum"]}
    return told


def _plain(value: Any) -> str:
    """A value as text; values that JSON Schema holds to be equal give the same."""
    whole = int(value) if isinstance(value, float) and value.is_integer() else value
    return json.dumps(whole, sort_keys=True)


def _kind_of_value(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    kinds = {str: "string", int: "integer", float: "number", list: "array", dict: "object"}
    return kinds.get(type(value), "null")


def _is_same(one: Any, other: Any) -> bool:
    return type(one) is type(other) and one == other


def _unlike(ends: Sequence[str], *, is_first: bool) -> str:
    """Letters and the end of a key that do not make up one of `ends`; at least one letter."""
    nexts = sorted({end[0] for end in ends if end})
    found = [] if is_first or "" in ends else ['"\\""']
    for letter in nexts:
        if letter.isprintable() and letter not in '"\\':
            rest = [end[1:] for end in ends if end[:1] == letter]
            found.append(f"{literal(letter)} ({_unlike(rest, is_first=False)})")
    found.append(f"{_letters(nexts)} plain")
    return " | ".join(found)


def _letters(but: Iterable[str]) -> str:
    """A class of the letters that stand for themselves in JSON, but for some.

    It names those that are in it: a class of those that are not lets through what is no UTF-8.
    """
    spans: list[tuple[int, int]] = []
    begin = ord(" ")
    for code in sorted({ord('"'), ord("\\"), *map(ord, but), *_SURROGATES}):
        spans += _even_spans(begin, code - 1)
        begin = max(begin, code + 1)
    spans += _even_spans(begin, sys.maxunicode)
    return "[" + "".join(f"{_code(first)}-{_code(last)}" for first, last in spans) + "]"


def _even_spans(first: int, last: int) -> Iterator[tuple[int, int]]:
    """A span of letters in parts whose UTF-8 is any byte between two, at each place of its own.

    The library's own parts reach beyond the span.
    """
    if first > last:
        return
    for most in (0x7F, 0x7FF, 0xFFFF):
        if first <= most < last:
            yield from _even_spans(first, most)
            yield from _even_spans(most + 1, last)
            return
    for bits in (6, 12, 18) if first > 0x7F else ():
        low = (1 << bits) - 1
        if first & ~low != last & ~low:
            if first & low:
                yield from _even_spans(first, first | low)
                yield from _even_spans((first | low) + 1, last)
                return
            if last & low != low:
                yield from _even_spans(first, (last & ~low) - 1)
                yield from _even_spans(last & ~low, last)
                return
    yield first, last


def _code(code: int) -> str:
    return f"\\x{code:02x}" if code < 1 << 7 else f"\\U{code:08x}"


_DATE = (
    '[1-9] [0-9]{3} "-" (("0" [13578] | "10" | "12") "-" ("0" [1-9] | [12] [0-9] | "3" [01])'
    ' | ("0" [469] | "11") "-" ("0" [1-9] | [12] [0-9] | "30")'
    ' | "02-" ("0" [1-9] | "1" [0-9] | "2" [0-8]))'
)
_TIME = (
    '([01] [0-9] | "2" [0-3]) ":" [0-5] [0-9] ":" [0-5] [0-9] ("." [0-9]{1,6})?'
    ' ("Z" | [+-] ([01] [0-9] | "2" [0-3]) ":" [0-5] [0-9])'
)
_LABEL = "[a-z0-9] ([a-z0-9-]{0,30} [a-z0-9])?"
_HOST = f'{_LABEL} ("." {_LABEL}){{0,4}}'
_BYTE = '([0-9] | [1-9] [0-9] | "1" [0-9]{2} | "2" [0-4] [0-9] | "25" [0-5])'
_FORMATS = {
    "date": _DATE,
    "time": _TIME,
    "date-time": f'{_DATE} "T" {_TIME}',
    "duration": (
        '"P" ([0-9]{1,4} "W" | [0-9]{1,4} "D" | "T" ([0-9]{1,4} "H" ([0-9]{1,2} "M")?'
        ' | [0-9]{1,4} "M" ([0-9]{1,2} "S")? | [0-9]{1,4} "S"))'
    ),
    "email": f'[a-z0-9] ([a-z0-9._+-]{{0,30}} [a-z0-9])? "@" {_HOST} "." [a-z]{{2,6}}',
    "hostname": _HOST,
    "ipv4": f'{_BYTE} ("." {_BYTE}){{3}}',
    "ipv6": '[0-9a-f]{1,4} (":" [0-9a-f]{1,4}){7}',
    "uuid": 'hex{8} "-" hex{4} "-" hex{4} "-" hex{4} "-" hex{12}',
}
"""Each narrower than its standard, within which all of it lies."""

_LETTER = _letters(())
