"""Whether a passage has to do with a question."""

import pytest

from linarite.indexing import relevance


@pytest.mark.parametrize(
    ("question", "passage", "evidence"),
    [
        ("How much holiday do employees get?", "Every employee has 27 days of paid holiday.", 1.0),
        ("Can I carry over leave to next year?", "Days may be carried into the next year.", 0.5),
        ("Who wrote Pride and Prejudice?", "The kiln is written off after nine years.", 0.0),
        ("What is it?", "It is what it is.", 0.0),
        ("Wie heiß wird der OFEN?", "Der Ofen wird heiß.", 0.8),
    ],
)
def test_words_are_compared_without_their_endings(question: str, passage: str, evidence: float):
    assert relevance.of_words(question, passage) == pytest.approx(evidence, abs=0.15)


def test_a_likeness_counts_by_what_it_is_above_the_background():
    """An index that has 0.7 for anything and 0.85 here says as much as one with 0.0 and 0.5."""
    assert relevance.of_meaning(0.85, 0.7) == pytest.approx(0.5)
    assert relevance.of_meaning(0.5, 0.0) == pytest.approx(0.5)
    assert relevance.of_meaning(0.1, 0.2) == 0


def test_the_background_is_the_middle_of_what_an_index_has_for_other_matters():
    assert relevance.background([0.6, 0.1, 0.9]) == 0.6
    assert relevance.background([]) == 0


def test_a_passage_is_as_alike_as_its_whole_and_its_likest_sentence_are():
    question = [1.0, 0.0]
    pieces = [[0.0, 1.0], [3.0, 4.0], [-1.0, 0.0]]

    assert relevance.likeness(question, 0.2, pieces) == pytest.approx((0.2 + 0.6) / 2)


@pytest.mark.parametrize(
    ("passage", "pieces"),
    [
        ("The kiln is hot. Do not touch it! Why?", ["The kiln is hot.", "Do not touch it!"]),
        ("Talc | 1 | Room 1\nTopaz | 8 | Room 3", ["Talc | 1 | Room 1", "Topaz | 8 | Room 3"]),
        ("The kiln\nis hot today.\nMind it well.", ["The kiln is hot today.", "Mind it well."]),
        ("Closed", ["Closed"]),
        (" \n", []),
        ("A cat sat.\n" * 30, ["A cat sat. A cat sat. A cat sat."] * 10),
        ("x" * 50_000, ["x" * 2_000]),
    ],
)
def test_pieces_are_sentences_and_lines_and_at_most_twelve(passage: str, pieces: list[str]):
    assert relevance.pieces(passage) == pieces


def test_nothing_is_like_a_vector_of_zeros():
    assert relevance.cosine([0.0, 0.0], [1.0, 2.0]) == 0


@pytest.mark.parametrize(
    ("words", "meaning", "is_let_by"),
    [
        (0.0, 0.16, True),
        (0.0, 0.14, False),
        (0.7, 0.08, True),
        (0.7, 0.05, False),
        (0.7, None, True),
        (0.5, None, False),
    ],
)
def test_meaning_is_enough_and_words_want_some_of_it(
    words: float, meaning: float | None, is_let_by: bool
):
    assert relevance.STRICTNESS[3].lets_by(words, meaning) is is_let_by


def test_each_strictness_lets_by_less_than_the_one_before():
    levels = [relevance.STRICTNESS[level] for level in range(1, 6)]

    for name in ("meaning", "words"):
        values = [getattr(level, name) for level in levels]
        assert values == sorted(set(values))
    ranks = list(relevance.RERANKED.values())
    assert ranks == sorted(set(ranks))
