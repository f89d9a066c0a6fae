from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError
from azure.search.documents import SearchClient
from azure.search.documents.models import VectorizedQuery


def ids(client: SearchClient, text: str | None = None, **options: Any) -> list[str]:
    return [found["id"] for found in client.search(text, **options)]


def near(vector: list[float], **options: Any) -> VectorizedQuery:
    return VectorizedQuery(vector=vector, fields="near", **{"k_nearest_neighbors": 3} | options)


@pytest.mark.parametrize(
    ("text", "options", "expected"),
    [
        ("fox", {}, {"fox", "dog"}),
        ("runs", {}, {"fox", "dog"}),
        ("runs", {"search_fields": ["content"]}, set()),
        ("lazy fish", {}, {"fox", "sea"}),
        ("lazy fish", {"search_mode": "all"}, set()),
        ("running dog", {"search_mode": "all"}, {"fox", "dog"}),
        ("lazy + dog", {}, {"fox"}),
        ("lazy | fish", {"search_mode": "all"}, {"fox", "sea"}),
        ("dog -sleeps", {"search_mode": "all"}, {"fox", "void"}),
        ("dog + -sleeps", {}, {"fox", "void"}),
        ('"the lazy"', {}, {"fox"}),
        ('"lazy the"', {}, set()),
        ("dog + (lazy | barks)", {}, {"fox", "dog"}),
        ("dog-eared", {"search_mode": "all"}, {"void"}),
        ("short", {"search_fields": ["tags"]}, {"fox"}),
        ("what? (is this: \"a fox'", {}, {"fox", "dog"}),
        ("the", {"search_fields": ["title"]}, set()),
        ("fox the", {"search_mode": "all", "search_fields": ["title"]}, {"fox"}),
        ("?!", {}, set()),
        ("*", {}, {"fox", "dog", "sea", "void"}),
        ("", {}, {"fox", "dog", "sea", "void"}),
        ("lazy AND fox", {"query_type": "full"}, {"fox"}),
        ("lazy OR fish", {"query_type": "full", "search_mode": "all"}, {"fox", "sea"}),
        ("dog NOT sleeps", {"query_type": "full"}, {"fox", "void"}),
        ("+dog -lazy -pages", {"query_type": "full"}, {"dog"}),
        ("title:dogs", {"query_type": "full"}, {"dog"}),
        ("title:(sea OR fox)", {"query_type": "full"}, {"sea", "fox"}),
        ('"quick fox"~1', {"query_type": "full"}, {"fox"}),
        ('"quick fox"', {"query_type": "full"}, set()),
        ("fish^3 (dog lazy)^0.5", {"query_type": "full"}, {"sea", "dog", "fox", "void"}),
        ("what\\: fox\\?", {"query_type": "full"}, {"fox", "dog"}),
        ("fox", {"query_type": "simple", "filter": "year lt 2000"}, {"dog"}),
    ],
)
def test_words_find(library: SearchClient, text: str, options: Any, expected: set[str]):
    assert set(ids(library, text, **options)) == expected


def test_boosting_turns_the_order_round(library: SearchClient):
    first = ids(library, "fish dog^9", query_type="full")[0]
    other = ids(library, "fish^9 dog", query_type="full")[0]

    assert (first != "sea", other) == (True, "sea")


@pytest.mark.parametrize(
    ("text", "options", "reason"),
    [
        ("wor*", {}, "asks for a prefix"),
        ("fox -dog", {}, "write `cat \\+ -dog`"),
        ("-dog", {"search_mode": "all"}, "beside words that must"),
        ("wor*", {"query_type": "full"}, "Wildcards"),
        ("wo?k", {"query_type": "full"}, "Wildcards"),
        ("fox~1", {"query_type": "full"}, "fuzzy"),
        ("/fox/", {"query_type": "full"}, "regular expressions"),
        ("year:[1 TO 2]", {"query_type": "full"}, "not a searchable field"),
        ("(fox", {"query_type": "full"}, "ends too early"),
        ("fox)", {"query_type": "full"}, "at character 4"),
        ("AND fox", {"query_type": "full"}, "at character 1"),
        ("fox AND", {"query_type": "full"}, "ends too early"),
        ("NOT fox", {"query_type": "full"}, "only what must not be there"),
        ('"a fox"^3', {"query_type": "full"}, "phrase cannot be boosted"),
        ("x" * 33_000, {}, "longer than 32000"),
        ("(" * 30 + "fox" + ")" * 30, {}, "nested deeper"),
        ("a + " * 60 + "b", {}, "more than 50"),
        ("a OR " * 60 + "b", {"query_type": "full"}, "more than 50"),
    ],
)
def test_a_text_that_cannot_be_looked_up_is_refused(
    library: SearchClient, text: str, options: Any, reason: str
):
    with pytest.raises(HttpResponseError, match=reason) as refused:
        ids(library, text, **options)

    assert refused.value.status_code == 400


def test_a_vector_finds_its_neighbours_with_the_services_score(library: SearchClient):
    """Cosine distances of 1, 0.2 and 1 from (1, 0, 0): scores 1/(1+d)."""
    found = list(library.search(None, vector_queries=[near([2, 0, 0])]))

    assert [one["id"] for one in found] == ["fox", "dog", "sea"]
    assert [one["@search.score"] for one in found] == pytest.approx([1, 1 / 1.2, 0.5])


def test_a_filter_holds_before_or_after_neighbours_are_found(library: SearchClient):
    one = [near([1, 0, 0], k_nearest_neighbors=1)]

    options = {"vector_queries": one, "filter": "year eq 1999"}
    assert ids(library, None, **options) == ["dog"]
    assert ids(library, None, vector_filter_mode="preFilter", **options) == ["dog"]
    assert ids(library, None, vector_filter_mode="postFilter", **options) == []


def test_hybrid_joins_the_lists_by_their_ranks(library: SearchClient):
    """`barks` finds dog alone; the vector finds sea and then dog: dog has 1/60 + 1/61."""
    found = list(library.search("barks", vector_queries=[near([0, 0.1, 1], k_nearest_neighbors=2)]))

    assert [one["id"] for one in found] == ["dog", "sea"]
    scores = [one["@search.score"] for one in found]
    assert scores == pytest.approx([1 / 60 + 1 / 61, 1 / 60])


def test_a_weight_counts_for_its_list(library: SearchClient):
    heavy = near([0, 0, 1], k_nearest_neighbors=1, weight=5.0)
    light = near([1, 0, 0], k_nearest_neighbors=1)

    found = list(library.search(None, vector_queries=[light, heavy]))

    assert [one["id"] for one in found] == ["sea", "fox"]
    assert [one["@search.score"] for one in found] == pytest.approx([5 / 60, 1 / 60])


@pytest.mark.parametrize("text", ["*", "dog fox"])
def test_an_order_by_fields_puts_null_lowest(library: SearchClient, text: str):
    up = ids(library, text, order_by=["year", "price desc"])
    down = ids(library, text, order_by=["year desc", "price"])

    expected = ["sea", "dog", "fox", "void"] if text == "*" else ["dog", "fox", "void"]
    assert up == expected
    assert down == ["void", "fox", "dog", *(["sea"] if text == "*" else [])]


def test_what_an_order_is_by_need_not_be_answered(library: SearchClient):
    found = library.search("*", order_by=["year desc", "added"], select=["title"])

    assert [one["title"] for one in found] == [
        None,
        "The Running Fox",
        "Dogs, and how they run",
        "The sea",
    ]


def test_moments_are_ordered_as_such(library: SearchClient):
    assert ids(library, "fox", order_by=["added"]) == ["fox", "dog"]


def test_an_order_by_score_is_the_usual_one(library: SearchClient):
    assert ids(library, "dog", order_by=["search.score() desc"]) == ids(library, "dog")


def test_the_count_is_of_all_that_match(library: SearchClient):
    for text, options, count in (
        ("dog", {}, 3),
        ("*", {}, 4),
        ("*", {"filter": "year eq 2001"}, 2),
        ("barks", {"vector_queries": [near([1, 0, 0], k_nearest_neighbors=1)]}, 2),
    ):
        found = library.search(text, include_total_count=True, top=1, **options)

        assert (len(list(found)), found.get_count()) == (1, count)


def test_select_chooses_fields(library: SearchClient):
    (found,) = library.search("barks", select=["title", "tags"])

    assert {name for name in found if not name.startswith("@")} == {"title", "tags"}


def test_a_field_that_is_not_retrievable_is_in_no_answer(library: SearchClient):
    (found,) = library.search("barks")

    assert "secret" not in found
    assert found["added"] == "2024-01-02T03:04:05.5Z"
    assert found["near"] == pytest.approx([0.8, 0.6, 0])


def test_skip_and_top_cut(library: SearchClient):
    whole = ids(library, "dog")

    assert ids(library, "dog", skip=1, top=1) == whole[1:2]
    assert ids(library, "dog", top=0) == []


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"facets": ["year"]}, "facets"),
        ({"highlight_fields": "content"}, "highlight"),
        ({"scoring_profile": "x"}, "scoringProfile"),
        ({"query_type": "semantic"}, "semanticConfiguration"),
        ({"query_type": "semantic", "semantic_configuration_name": "x"}, "Unknown semantic"),
        ({"query_caption": "extractive"}, "reranker"),
        ({"order_by": ["tags"]}, "not sortable"),
        ({"order_by": ["nothing"]}, "Could not find a property named 'nothing'"),
        ({"order_by": ["year sideways"]}, "is not a field"),
        ({"select": ["secret"]}, "not retrievable"),
        ({"search_fields": ["year"]}, "not searchable"),
        ({"skip": 100_001}, "skip"),
        ({"vector_queries": [near([1, 0])]}, "expects a length of 3"),
        ({"vector_queries": [near([1, 0, "x"])]}, "32 bits"),
        ({"vector_queries": [VectorizedQuery(vector=[1, 0, 0], fields="year")]}, "not a vector"),
        ({"vector_queries": [near([1, 0, 0], oversampling=2.0)]}, "oversampling"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_honoured_is_refused(library: SearchClient, options: Any, reason: str):
    with pytest.raises(HttpResponseError, match=reason) as refused:
        ids(library, "dog", **options)

    assert refused.value.status_code == 400


QUESTIONS = {
    "w-exact": ("ERR-4711", [0.0, 0.0, 1.0]),
    "v-alike": ("automobile", [1.0, 0.0, 0.0]),
    "both": ("sailing boats", [0.0, 1.0, 0.1]),
}


def test_hybrid_is_no_worse_than_words_or_vectors_alone(books: SearchClient):
    """A code that only words find, a synonym that only the vector does, and one for both."""
    texts = {
        "w-exact": ("The code ERR-4711 means a broken fan.", [0.3, 0.9, 0.3]),
        "v-alike": ("Cars and how they are made.", [0.99, 0.1, 0.0]),
        "both": ("Sailing boats for beginners.", [0.1, 1.0, 0.0]),
        "noise": ("A page about nothing in particular.", [0.1, 0.1, 1.0]),
    }
    books.upload_documents(
        [{"id": key, "content": text, "near": at} for key, (text, at) in texts.items()]
    )

    def hits(ask: Any) -> int:
        return sum(
            ids(books, **ask(text, vector), top=2)[:2].count(key)
            for key, (text, vector) in QUESTIONS.items()
        )

    by_words = hits(lambda text, _: {"text": text})
    by_vector = hits(lambda _, vector: {"text": None, "vector_queries": [near(vector)]})
    hybrid = hits(lambda text, vector: {"text": text, "vector_queries": [near(vector)]})

    assert hybrid == 3
    assert by_words < hybrid >= by_vector


def test_pages_of_equals_miss_and_double_none(books: SearchClient):
    for start in range(0, 230, 115):
        made = [{"id": str(n), "content": "alike"} for n in range(start, start + 115)]
        books.upload_documents(made)

    pages = [
        [one["id"] for one in page]
        for text in ("alike", "*")
        for page in books.search(text, select=["id"]).by_page()
    ]

    assert [len(page) for page in pages] == [50, 50, 50, 50, 30] * 2
    assert len({key for page in pages[:5] for key in page}) == 230
    assert len({key for page in pages[5:] for key in page}) == 230
