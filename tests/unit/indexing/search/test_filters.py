import operator
import re
from datetime import datetime
from typing import Any

import lancedb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.search_indexes import BOOKS

from linarite.indexing.search.filters import condition
from linarite.indexing.search.refusals import SearchRefused
from linarite.indexing.search.rules import parsed
from linarite.indexing.search.schema import checked, table

DEFINITION = parsed(BOOKS)
MOMENTS = [
    "2020-01-01T00:00:00Z",
    "2024-02-29T12:30:00.5+02:00",
    "1999-12-31T23:59:59.123456Z",
    "1066-10-14T09:00:00Z",
    "9999-12-31T23:59:59.999999Z",
]
TEXTS = ["", "a", "B", "it's", "a,b", "ä", "100%", "a_b", 'quo"te', "\\", "`x`"]
NUMBERS = [0, 1, -1, 7, 2**31 - 1, -(2**31)]


def rows() -> list[dict[str, Any]]:
    """Every kind of value, null among them, in mixtures that differ."""
    kinds: dict[str, list[Any]] = {
        "title": [*TEXTS, None],
        "tags": [[], ["a"], ["a", "B"], ["it's", "a,b", "ä"], ["B"]],
        "year": [*NUMBERS, None],
        "length": [0, 5, -(2**63), 2**63 - 1, None],
        "price": [0.0, 0.5, -3.25, 1e300, 7.0, None],
        "is_lent": [True, False, None],
        "added": [*MOMENTS, None],
    }
    return [
        {"id": str(number)}
        | {
            name: values[number * (3 + at) % len(values)]
            for at, (name, values) in enumerate(kinds.items())
        }
        for number in range(60)
    ]


ROWS = rows()


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Any:
    fields = DEFINITION.by_name
    known = [{name: checked(fields[name], value) for name, value in row.items()} for row in ROWS]
    database = lancedb.connect(tmp_path_factory.mktemp("filters"))
    return database.create_table("documents", data=table(DEFINITION, known))


def found(stored: Any, text: str) -> set[str]:
    where = condition(text, DEFINITION)
    return {row["id"] for row in stored.search().where(where).select(["id"]).limit(100).to_list()}


OPERATORS = {
    "eq": operator.eq,
    "ne": operator.ne,
    "gt": operator.gt,
    "ge": operator.ge,
    "lt": operator.lt,
    "le": operator.le,
}


def compared(name: str, word: str, value: Any, row: dict[str, Any]) -> bool:
    have = row[name]
    if value is None or have is None:
        return (have is value) if word == "eq" else word == "ne" and have is not value
    if name == "added":
        have, value = datetime.fromisoformat(have), datetime.fromisoformat(value)
    if isinstance(value, str):
        have, value = have.encode(), value.encode()
    return bool(OPERATORS[word](have, value))


def text_of(value: Any) -> str:
    return "'" + value.replace("'", "''") + "'"


def spelled(name: str, value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str) and name != "added":
        return text_of(value)
    return str(value)


def a_comparison(name: str, values: Any, words: Any) -> Any:
    def made(word: str, value: Any) -> Any:
        word = word if value is not None or word in {"eq", "ne"} else "eq"
        return f"{name} {word} {spelled(name, value)}", lambda row: compared(name, word, value, row)

    return st.builds(made, st.sampled_from(words), st.one_of(st.none(), values))


def a_list(values: list[str], name: str) -> Any:
    return f"search.in({name}, {text_of('|'.join(values))}, '|')"


def of_tags(values: list[str], *, is_any: bool, by_list: bool) -> Any:
    def holds(row: dict[str, Any]) -> bool:
        has = bool(set(values) & set(row["tags"]))
        return has if is_any else not has

    word, joint = ("any", " or ") if is_any else ("all", " and ")
    if by_list:
        inner = ("" if is_any else "not ") + a_list(values, "t")
    else:
        inner = joint.join(f"t {'eq' if is_any else 'ne'} {text_of(value)}" for value in values)
    return f"tags/{word}(t: {inner})", holds


all_words = list(OPERATORS)
texts = st.sampled_from([value for value in TEXTS if value and "|" not in value])
leaves = st.one_of(
    a_comparison("title", st.sampled_from(TEXTS), all_words),
    a_comparison("year", st.sampled_from(NUMBERS) | st.integers(-(2**40), 2**40), all_words),
    a_comparison("length", st.integers(-(2**63), 2**63 - 1), all_words),
    a_comparison("price", st.floats(-100, 100).filter(lambda x: "e" not in repr(x)), all_words),
    a_comparison("year", st.sampled_from([0.5, 7.0, -1.5]), all_words),
    a_comparison("is_lent", st.booleans(), ["eq", "ne"]),
    a_comparison("added", st.sampled_from(MOMENTS), all_words),
    st.just(("is_lent", lambda row: row["is_lent"] is True)),
    st.just(("tags/any()", lambda row: bool(row["tags"]))),
    st.builds(
        lambda values: (a_list(values, "title"), lambda row: row["title"] in values),
        st.lists(texts, min_size=1, max_size=4),
    ),
    st.builds(
        lambda values, is_any, by_list: of_tags(values, is_any=is_any, by_list=by_list),
        st.lists(texts, min_size=1, max_size=3),
        st.booleans(),
        st.booleans(),
    ),
)
filters = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.builds(lambda a: (f"not ({a[0]})", lambda row: not a[1](row)), inner),
        st.builds(
            lambda a, b: (f"({a[0]}) and ({b[0]})", lambda row: a[1](row) and b[1](row)),
            inner,
            inner,
        ),
        st.builds(
            lambda a, b: (f"({a[0]}) or ({b[0]})", lambda row: a[1](row) or b[1](row)),
            inner,
            inner,
        ),
    ),
    max_leaves=6,
)


@settings(max_examples=120, deadline=None)
@given(filters)
def test_a_filter_finds_what_reading_every_document_finds(stored: Any, one: Any):
    text, holds = one

    assert found(stored, text) == {row["id"] for row in ROWS if holds(row)}, text


def test_a_long_chain_and_a_long_list_are_taken(stored: Any):
    chain = " or ".join(f"year eq {number}" for number in range(499))
    listed = ",".join(["a", *map(str, range(4900))])

    expected = {row["id"] for row in ROWS if (row["year"] or -1) in range(499) or row["year"] == 0}
    assert found(stored, chain) == expected
    assert found(stored, f"search.in(title, '{listed}')") == {
        row["id"] for row in ROWS if row["title"] == "a"
    }


def test_not_before_a_comparison_is_of_the_comparison(stored: Any):
    assert found(stored, "not year eq 7") == found(stored, "not (year eq 7)")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "ends too early"),
        ("year eq", "' eq' at character 5"),
        ("year eq 1 garbage", "' garbage' at character 10"),
        ("nothing eq 1", "Could not find a property named 'nothing'"),
        ("plain eq 'x'", "not a filterable field"),
        ("near eq 1", "not a filterable field"),
        ("year eq 'x'", "'year' is Edm.Int32"),
        ("title eq 1", "'title' is Edm.String"),
        ("title eq year", "which 'year' is not"),
        ("is_lent gt true", "only eq and ne"),
        ("title gt null", "only eq and ne compare with null"),
        ("year", "alone is no condition"),
        ("year in (1, 2)", "write search.in"),
        ("year eq 99999999999999999999", "beyond 64 bits"),
        ("price eq NaN", "'NaN' is not"),
        ("added eq 2020-01-01", "Edm.DateTimeOffset"),
        ("added eq 2020-02-30T00:00:00Z", "no date and time"),
        ("geo.distance(title, geography'POINT(1 2)') le 5", "is not the name of a field"),
        ("search.ismatch('x')", "'search.ismatch' is not known"),
        ("contains(title, 'x')", "'contains' is not known"),
        ("search.in(year, '1,2')", "takes fields of Edm.String"),
        ("search.in(title)", "search.in takes a field"),
        ("tags eq 'a'", "ask with any or all"),
        ("title/any(t: t eq 'a')", "is no collection"),
        ("tags/any(t: t ne 'a')", "any takes eq"),
        ("tags/all(t: t eq 'a')", "all takes ne"),
        ("tags/any(t: t eq 'a' and t eq 'b')", "joined by or"),
        ("tags/any(t: title eq 'a')", "any takes eq"),
        ("tags/all()", "it cannot be read"),
        ("address/city eq 'x'", "is not the name of a field"),
        ("year add 1 eq 2", "is not the name of a field"),
        (" or ".join(["year eq 1"] * 501), "more than 500 comparisons"),
        ("not (" * 30 + "year eq 1" + ")" * 30, "nested deeper than 20"),
        ("(" * 5000 + "year eq 1", "it cannot be read"),
        ("year eq 1 " + " " * 70000, "longer than 65536"),
        (f"search.in(title, '{','.join(map(str, range(6000)))}')", "6000 values"),
    ],
)
def test_what_a_filter_cannot_say_is_refused_with_the_reason(text: str, reason: str):
    with pytest.raises(SearchRefused, match=re.escape(reason)):
        condition(text, DEFINITION)


def test_moments_are_told_apart_to_the_microsecond(stored: Any):
    after = found(stored, "added gt 1999-12-31T23:59:59.123455Z and added lt 2000-01-01T00:00:00Z")

    assert after == {row["id"] for row in ROWS if row["added"] == MOMENTS[2]}
    assert found(stored, "added eq 1999-12-31T23:59:59.123457Z") == set()


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_moment_is_found_from_every_time(stored: Any, moment: str):
    assert found(stored, f"added eq {moment}") == {
        row["id"] for row in ROWS if row["added"] == moment
    }
