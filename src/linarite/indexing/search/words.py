"""What a search text says, in Azure's simple syntax and in Lucene's full one.

    simple   cat dog   cat + dog   cat | dog   -cat   "a phrase"   (groups)
    full     AND OR NOT && || ! + -   title:cat   "a phrase"~2   cat^3   (groups)

A text becomes a tree of leaves (words or a phrase, in some fields) and groups of clauses that must,
should or must not match; `matching` turns that into Lance's queries. The simple syntax is lenient,
as texts are often what people typed; the full one is strict. Prefixes, wildcards,
regular expressions, ranges and fuzzy words are refused: the store cannot look them up in all of its
documents.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Literal, NoReturn, TypeGuard

from linarite.indexing.search.definition import IndexDefinition
from linarite.indexing.search.refusals import bad_parameter

LONGEST = 32_000
_MOST_CLAUSES = 50
"""Each is looked for by itself in each field; plain words that any may match are one together."""
_DEEPEST = 20

Mode = Literal["any", "all"]


class Occur(StrEnum):
    """What a clause means for its group."""

    MUST = "MUST"
    SHOULD = "SHOULD"
    MUST_NOT = "MUST_NOT"


@dataclass(frozen=True)
class Leaf:
    """Words or a phrase.

    Args:
        text: as it was written; the field's analyzer makes tokens of it.
        slop: how many positions the words of a phrase may be off; None: no phrase.
        field: the only field that is looked at; None: those of the query.
        boost: what the score is multiplied with.
    """

    text: str
    slop: int | None = None
    field: str | None = None
    boost: float = 1.0


@dataclass(frozen=True)
class Group:
    """Clauses, at least one of which is wanted."""

    clauses: tuple[tuple[Occur, "Node"], ...]


Node = Leaf | Group

_SIMPLE = re.compile(r'\\.|"(?:\\.|[^"\\])*"?|[()|+]|(?:\\.|[^\s()|+"\\])+|\s+|\\', re.DOTALL)
_FULL = re.compile(
    r"""
    (?P<space>\s+)
    | (?P<phrase>"(?:\\.|[^"\\])*")(?:~(?P<slop>\d{1,3}))?(?P<phrase_boost>\^)?
    | (?P<open>\() | (?P<close>\))(?:\^(?P<group_boost>\d{1,6}(?:\.\d{1,6})?))?
    | (?P<word_op>(?:AND|OR|NOT)(?=[\s()]|$)|&&|\|\||!)
    | (?P<sign>[+-])(?=\S)
    | (?P<field>[A-Za-z]\w*):(?=\S)
    | (?P<word>(?:\\.|[^\s()"\\:^~+\-!&|*?\[\]{}/])(?:\\.|[^\s()"\\:^~*?\[\]{}/])*)
      (?:\^(?P<boost>\d{1,6}(?:\.\d{1,6})?))?(?=[\s()]|$)
    """,
    re.VERBOSE | re.DOTALL,
)


def simple(text: str, mode: Mode) -> Node | None:
    """The tree of a text in the simple syntax; None where it has no words."""
    _check_length(text)
    return _Simple(text, mode).read()


def full(text: str, mode: Mode, definition: IndexDefinition) -> Node | None:
    """The tree of a text in Lucene's syntax; raises SearchRefused where it is none."""
    _check_length(text)
    return _Full(text, mode, definition).read()


class _Simple:
    """Reads from left to right; an operator joins what stands before it with what follows."""

    def __init__(self, text: str, mode: Mode) -> None:
        self._parts = [part for part in _SIMPLE.findall(text) if not part.isspace()]
        self._mode = mode
        self._at = self._clauses = 0

    def read(self) -> Node | None:
        found: Node | None = None
        while self._at < len(self._parts):  # what follows an unopened `)` is read on
            more = self._group(0)
            found = more if found is None or more is None else self._join(found, more, None)
            self._at += 1
        return found

    def _group(self, depth: int) -> Node | None:
        if depth > _DEEPEST:
            _refuse(f"it is nested deeper than {_DEEPEST} levels")
        found: Node | None = None
        operator: str | None = None
        while self._at < len(self._parts) and self._parts[self._at] != ")":
            part = self._parts[self._at]
            self._at += 1
            if part in {"+", "|"}:
                operator = part
                continue
            is_unwanted = False
            while part.startswith("-") and len(part) > 1:
                is_unwanted, part = not is_unwanted, part[1:]
            if part == "-" and self._at < len(self._parts) and self._parts[self._at][0] in '"(':
                is_unwanted, part = True, self._parts[self._at]
                self._at += 1
            if part == "(":
                node = self._group(depth + 1)
                self._at += 1
            else:
                node = self._leaf(part)
            if node is not None:
                found = self._join(found, node, operator, is_unwanted=is_unwanted)
            operator = None
        return found

    def _leaf(self, part: str) -> Leaf | None:
        if part.startswith('"'):
            text = _unescaped(part[1:-1] if len(part) > 1 and part.endswith('"') else part[1:])
            return Leaf(text, slop=0) if text.strip() else None
        if not any(character.isalnum() for character in part):
            return None  # a dash, a star, a question mark
        if part.endswith("*") and not part.endswith("\\*"):
            _refuse(f"{part[:40]!r} asks for a prefix, which this index cannot look up")
        return Leaf(_unescaped(part))

    def _count_clause(self) -> None:
        self._clauses += 1
        if self._clauses > _MOST_CLAUSES:
            _refuse(f"it has more than {_MOST_CLAUSES} parts beside plain words that any may match")

    def _join(
        self, left: Node | None, right: Node, operator: str | None, *, is_unwanted: bool = False
    ) -> Node:
        joins_all = operator == "+" or (operator is None and self._mode == "all")
        if is_unwanted:
            self._count_clause()
            if left is None or not joins_all:
                _refuse(
                    "`-` says what must not be there beside words that must: "
                    "write `cat + -dog`, or set searchMode to all"
                )
            return _with(left, Occur.MUST, Occur.MUST_NOT, right)
        if left is None:
            return right
        if joins_all:
            self._count_clause()
            return _with(left, Occur.MUST, Occur.MUST, right)
        if self._mode == "any" and _are_words(left) and _are_words(right):
            return Leaf(f"{left.text} {right.text}")
        self._count_clause()
        return _with(left, Occur.SHOULD, Occur.SHOULD, right)


def _are_words(node: Node) -> TypeGuard[Leaf]:
    return isinstance(node, Leaf) and node.slop is None


def _with(left: Node, was: Occur, now: Occur, right: Node) -> Group:
    """`left` and `right` as one group; a group of the same kind takes `right` in."""
    kinds = {occur for occur, _ in left.clauses} if isinstance(left, Group) else set()
    may_hold = {was, Occur.MUST_NOT} if was is Occur.MUST else {was}
    if isinstance(left, Group) and kinds <= may_hold:
        return Group((*left.clauses, (now, right)))
    return Group(((was, left), (now, right)))


class _Full:
    """Lucene's classic rules: AND makes musts of both its sides; other clauses are as mode says."""

    def __init__(self, text: str, mode: Mode, definition: IndexDefinition) -> None:
        self._text, self._mode, self._definition = text, mode, definition
        self._at = self._clauses = 0

    def read(self) -> Node | None:
        node = self._group(0, None)
        if self._at < len(self._text):
            self._unexpected()
        return node

    def _group(self, depth: int, field: str | None) -> Node | None:
        if depth > _DEEPEST:
            _refuse(f"it is nested deeper than {_DEEPEST} levels")
        usual = Occur.MUST if self._mode == "all" else Occur.SHOULD
        clauses: list[tuple[Occur, Node]] = []
        word, sign, named = "", "", field
        while self._at < len(self._text):
            match = _FULL.match(self._text, self._at)
            if match is None:
                self._unexpected()
            if match["close"]:
                if depth == 0:
                    self._unexpected()
                break
            self._at = match.end()
            if match["space"]:
                continue
            if match["word_op"]:
                said = {"&&": "AND", "||": "OR", "!": "NOT"}.get(match[0], match[0])
                if said == "NOT":
                    sign = "-"
                elif word or not clauses:
                    self._unexpected(match.start())
                else:
                    word = said
                continue
            if match["sign"]:
                sign = match["sign"]
                continue
            if match["field"]:
                named = self._searchable(match["field"])
                continue
            node = self._part(match, depth, named)
            if node is not None:
                if word == "AND" and clauses and clauses[-1][0] is Occur.SHOULD:
                    clauses[-1] = (Occur.MUST, clauses[-1][1])
                if word == "OR" and self._mode == "all" and clauses[-1][0] is Occur.MUST:
                    clauses[-1] = (Occur.SHOULD, clauses[-1][1])
                occur = {"+": Occur.MUST, "-": Occur.MUST_NOT}.get(sign)
                joined = {"AND": Occur.MUST, "OR": Occur.SHOULD}.get(word, usual)
                clauses.append((occur or joined, node))
            word, sign, named = "", "", field
        if word or sign:
            self._unexpected()
        return _group_of(clauses)

    def _part(self, match: "re.Match[str]", depth: int, field: str | None) -> Node | None:
        if match["open"]:
            node = self._group(depth + 1, field)
            closing = _FULL.match(self._text, self._at)
            if closing is None or not closing["close"]:
                self._unexpected()
            self._at = closing.end()
            return node if node is None else _boosted(node, float(closing["group_boost"] or 1))
        self._clauses += 1
        if self._clauses > _MOST_CLAUSES:
            _refuse(f"it has more than {_MOST_CLAUSES} parts")
        if match["phrase"]:
            if match["phrase_boost"]:
                _refuse("a phrase cannot be boosted here, words and groups of words can")
            text = _unescaped(match["phrase"][1:-1])
            return Leaf(text, int(match["slop"] or 0), field) if text.strip() else None
        return Leaf(_unescaped(match["word"]), field=field, boost=float(match["boost"] or 1))

    def _searchable(self, name: str) -> str:
        field = self._definition.by_name.get(name)
        if field is None or not field.is_searched_by_text:
            _refuse(f"'{name}' is not a searchable field")
        return name

    def _unexpected(self, at: int | None = None) -> NoReturn:
        at = self._at if at is None else at
        found = self._text[at : at + 20]
        if not found:
            _refuse("Failed to parse query string: it ends too early")
        _refuse(
            f"Failed to parse query string at character {at + 1}: {found!r}. Wildcards, fuzzy "
            "words, regular expressions and ranges are not supported; other signs are escaped by \\"
        )


def _group_of(clauses: Sequence[tuple[Occur, Node]]) -> Node | None:
    if not clauses:
        return None
    if all(occur is Occur.MUST_NOT for occur, _ in clauses):
        _refuse("it says only what must not be there")
    if len(clauses) == 1:
        return clauses[0][1]
    return Group(tuple(clauses))


def _boosted(node: Node, boost: float) -> Node:
    if boost == 1:
        return node
    if isinstance(node, Leaf):
        if node.slop is not None:
            _refuse("a phrase cannot be boosted here, words and groups of words can")
        return replace(node, boost=node.boost * boost)
    return Group(tuple((occur, _boosted(each, boost)) for occur, each in node.clauses))


def _unescaped(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text, flags=re.DOTALL)


def _check_length(text: str) -> None:
    if len(text) > LONGEST:
        _refuse(f"it is longer than {LONGEST} characters")


def _refuse(reason: str) -> NoReturn:
    raise bad_parameter("search", f"Invalid search text: {reason}.")
