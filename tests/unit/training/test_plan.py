"""What was left open is settled as the service settles it, and the data's order is a function."""

import pytest

from linarite.training.faults import TrainingFailure
from linarite.training.plan import batches_of_epoch, make_plan, pieces, trained_tokens
from linarite.training.spec import Wishes


def _plan(examples: int, method="supervised", seed=1, **wishes):
    return make_plan(method, Wishes(**wishes), examples=examples, width=576, seed=seed)


@pytest.mark.parametrize(
    ("examples", "epochs"),
    [(10, 10), (33, 3), (20, 5), (40, 3), (4, 25), (8_333, 3), (10_000, 2), (30_000, 1)],
)
def test_the_epochs_follow_from_the_number_of_examples(examples, epochs):
    assert _plan(examples).n_epochs == epochs


@pytest.mark.parametrize(("examples", "size"), [(10, 1), (1_000, 2), (10_000, 20), (10**6, 256)])
def test_a_batch_is_a_500th_of_the_examples(examples, size):
    assert _plan(examples).batch_size == size


@pytest.mark.parametrize(("examples", "size"), [(6, 6), (50, 8), (10_000, 20)])
def test_a_batch_of_preferences_is_of_eight_at_least(examples, size):
    assert _plan(examples, "dpo").batch_size == size


def test_what_was_asked_for_is_done():
    plan = _plan(50, "dpo", n_epochs=4, batch_size=8, learning_rate_multiplier=0.5, beta=0.3)

    assert plan.hyperparameters() == {
        "n_epochs": 4,
        "batch_size": 8,
        "learning_rate_multiplier": 0.5,
        "beta": 0.3,
        "l2_multiplier": 0.1,
    }
    assert (plan.steps_per_epoch, plan.steps) == (7, 28)


def test_a_job_has_at_most_two_billion_tokens():
    plan = _plan(10, n_epochs=50)

    assert trained_tokens(plan, [4_000_000] * 10) == 2_000_000_000
    with pytest.raises(TrainingFailure, match="2000000050 in 50 epochs"):
        trained_tokens(plan, [4_000_001] + [4_000_000] * 9)


def test_the_rate_rises_and_falls_and_is_lower_for_wide_models_and_preferences():
    plan = _plan(100, n_epochs=10, batch_size=10, learning_rate_multiplier=2)
    rates = [plan.rate(step) for step in range(1, plan.steps + 1)]

    assert rates[:3] == pytest.approx([max(rates) / 3, max(rates) * 2 / 3, max(rates)])
    assert rates[3:] == sorted(rates[3:], reverse=True)
    assert 0 < rates[-1] < 0.001 * max(rates)
    assert max(rates) == pytest.approx(2 * 5e-4 * (2000 / 576) ** 0.78)
    wide = make_plan("supervised", Wishes(), examples=10, width=4096, seed=1)
    assert wide.base_rate == pytest.approx(2.86e-4, rel=0.01)
    assert _plan(10, "dpo").base_rate == pytest.approx(_plan(10).base_rate / 10)


def test_every_epoch_has_every_example_once_in_an_order_of_its_own():
    lengths = [place % 17 for place in range(103)]
    plan = _plan(103, batch_size=4)

    first, second = (batches_of_epoch(plan, epoch, lengths) for epoch in (1, 2))

    assert first == batches_of_epoch(plan, 1, lengths)
    assert first != second
    assert first != batches_of_epoch(_plan(103, batch_size=4, seed=2), 1, lengths)
    for batches in (first, second):
        assert sorted(place for batch in batches for place in batch) == list(range(103))
        assert sorted(map(len, batches)) == [3] + [4] * 25


def test_the_examples_of_a_batch_are_of_about_one_length():
    lengths = [(37 * place) % 100 for place in range(128)]

    batches = batches_of_epoch(_plan(128, batch_size=8), 1, lengths)

    spread = [max(lengths[i] for i in b) - min(lengths[i] for i in b) for b in batches]
    assert max(spread) <= 10


def test_a_batch_is_cut_into_pieces_that_fit():
    lengths = [10, 90, 20, 40, 300, 10]

    cut = pieces(range(6), lengths, budget=100)

    assert cut == [(0, 5, 2), (3,), (1,), (4,)]
