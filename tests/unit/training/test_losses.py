"""The losses are what one works out by hand, and so are their slopes."""

import math

import pytest
import torch
import torch.nn.functional as F

from linarite.training import losses
from linarite.training.losses import dpo_loss, label_log_probs, rewards, supervised_loss


def test_a_label_has_the_log_probability_that_softmax_gives_it():
    """Logits (ln 1, ln 3) give the probabilities 1/4 and 3/4; (ln 2, ln 2) give 1/2 each."""
    hidden = torch.tensor([[0.0, math.log(3)], [math.log(2), math.log(2)]])

    log_probs, hits = label_log_probs(hidden, torch.eye(2), torch.tensor([1, 0]))

    assert log_probs.tolist() == pytest.approx([math.log(3 / 4), math.log(1 / 2)])
    assert hits.tolist() == [True, True]


def test_the_slope_equals_the_one_that_autograd_finds(monkeypatch):
    torch.manual_seed(0)
    hidden = torch.randn(7, 5, requires_grad=True)
    head, labels = torch.randn(11, 5), torch.randint(11, (7,))
    weights = torch.randn(7)
    monkeypatch.setattr(losses, "_CHUNK_BYTES", 4 * 11 * 3)  # three rows at a time

    ours = torch.autograd.grad((label_log_probs(hidden, head, labels)[0] * weights).sum(), hidden)
    loss = F.cross_entropy(F.linear(hidden, head), labels, reduction="none")
    theirs = torch.autograd.grad((-loss * weights).sum(), hidden)

    torch.testing.assert_close(ours[0], theirs[0])


def test_the_supervised_loss_is_the_mean_over_all_labels_of_a_step():
    """Two pieces of one step with three labels: (1 + 2) / 3 + 3 / 3 = 2."""
    pieces = [torch.tensor([-1.0, -2.0]), torch.tensor([-3.0])]

    assert sum(supervised_loss(piece, 3).item() for piece in pieces) == pytest.approx(2.0)


def test_the_loss_of_preferences_by_hand():
    """Rewards of 0.1 x (ln 4 gained, ln 4 lost): margin 0.2 ln 4, -log sigmoid of that 0.5640."""
    gained = torch.tensor([math.log(4)])

    chosen, rejected = rewards(gained - 5, -gained - 7, gained * 0 - 5, gained * 0 - 7, beta=0.1)

    assert (chosen - rejected).item() == pytest.approx(0.2 * math.log(4))
    expected = math.log(1 + 4**-0.2)
    assert dpo_loss(chosen, rejected, 1).item() == pytest.approx(expected)


def test_a_model_that_is_its_reference_has_the_loss_of_a_coin():
    none = torch.zeros(3)

    assert dpo_loss(*rewards(none, none, none, none, beta=0.3), 3).item() == pytest.approx(
        math.log(2)
    )
