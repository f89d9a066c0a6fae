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


def test_a_vector_counts_by_what_it_is_above_the_model_s_background():
    """A model that finds 0.7 in anything and 0.85 here says as much as one with 0.0 and 0.5."""
    assert relevance.of_vector(0.85, 0.7) == pytest.approx(0.5)
    assert relevance.of_vector(0.5, 0.0) == pytest.approx(0.5)
    assert relevance.of_vector(0.1, 0.2) == 0


def test_the_background_is_the_middle_of_what_has_nothing_to_do_with_the_question():
    question = [1.0, 0.0]
    others = [[1.0, 0.0], [0.0, 1.0], [3.0, 4.0]]

    assert relevance.background(question, others) == pytest.approx(0.6)


def test_nothing_is_like_a_vector_of_zeros():
    assert relevance.cosine([0.0, 0.0], [1.0, 2.0]) == 0


@pytest.mark.parametrize(
    ("words", "vector", "has_vectors", "is_let_by"),
    [
        (0.0, 0.4, True, True),
        (0.0, 0.3, True, False),
        (0.7, 0.2, True, True),
        (0.7, 0.1, True, False),
        (0.7, None, True, False),
        (0.9, None, True, True),
        (0.7, None, False, True),
        (0.5, None, False, False),
    ],
)
def test_a_vector_is_enough_and_words_want_some_of_it(
    words: float, vector: float | None, has_vectors: bool, is_let_by: bool
):
    threshold = relevance.STRICTNESS[3]

    assert threshold.lets_by(words, vector, has_vectors=has_vectors) is is_let_by


def test_each_strictness_lets_by_less_than_the_one_before():
    levels = [relevance.STRICTNESS[level] for level in range(1, 6)]

    for name in ("vector", "words"):
        values = [getattr(level, name) for level in levels]
        assert values == sorted(set(values))
    ranks = list(relevance.RERANKED.values())
    assert ranks == sorted(set(ranks))
