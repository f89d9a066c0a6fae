"""A tiny model learns: what it should, by the hyperparameters, and the same way each time."""

from array import array
from pathlib import Path

import pytest
import torch
from tests.support.training_jobs import chats, curve, log_of, preferences, write_job

from linarite.training import command
from linarite.training.dpo import Dpo, Pair
from linarite.training.model import TunedModel
from linarite.training.supervised import Supervised
from linarite.training.writing import Tokens


@pytest.fixture
def model(base: Path) -> TunedModel:
    """In full precision, whatever the hardware has: what is compared here is equal but for it."""
    return TunedModel.load(base / "hf", None, seed=1, in_bf16=False)


def _never() -> None:
    """Nobody asks to stop."""


def _train(folder: Path) -> Path:
    assert command.main([str(folder)]) == 0
    assert log_of(folder)[-1]["kind"] == "succeeded"
    return folder


def _slopes(model: TunedModel) -> dict[str, torch.Tensor]:
    found = {name: weight.grad.clone() for name, weight in model.weights.items()}
    for weight in model.weights.values():
        weight.grad = None
    return found


def test_the_loss_is_the_one_that_transformers_finds(model):
    ids = list(b"hello there")
    labels = torch.tensor([[-100] * 6 + ids[6:]])

    scores = Supervised(model, [Tokens(array("i", ids), array("i", range(6, 11)))], []).learn(
        [0], _never
    )

    theirs = model.model(input_ids=torch.tensor([ids]), labels=labels).loss
    assert scores["loss"] == pytest.approx(theirs.item(), rel=1e-5)


def test_a_token_after_the_last_target_has_no_influence(model):
    targets = array("i", [3, 4])
    whole, begin = (Tokens(array("i", list(text)), targets) for text in (b"hello there", b"hello"))
    method = Supervised(model, [whole, begin], [])

    method.learn([0], _never)
    first = _slopes(model)
    method.learn([1], _never)
    second = _slopes(model)

    for name, slope in first.items():
        torch.testing.assert_close(slope, second[name], rtol=1e-4, atol=1e-6)


def test_a_batch_learns_what_its_examples_learn_one_by_one(model):
    """The mean over all targets: each example's slope weighs as many targets as it has."""
    examples = [
        Tokens(array("i", list(text)), array("i", range(start, len(text))))
        for text, start in ((b"a longer example here", 4), (b"short", 2), (b"in between", 3))
    ]
    counts = [len(example.targets) for example in examples]
    method = Supervised(model, examples, [])

    method.learn([0, 1, 2], _never)
    together = _slopes(model)
    method._budget = 1
    method.learn([0, 1, 2], _never)
    in_pieces = _slopes(model)
    singles = []
    for place in range(3):
        method.learn([place], _never)
        singles.append(_slopes(model))

    for name, slope in together.items():
        mean = sum(one[name] * n for one, n in zip(singles, counts, strict=True)) / sum(counts)
        torch.testing.assert_close(slope, mean, rtol=1e-3, atol=1e-5)
        torch.testing.assert_close(slope, in_pieces[name], rtol=1e-3, atol=1e-5)


def test_a_pair_whose_worse_end_is_too_long_is_learned_in_less_memory(model):
    short, long = (
        Tokens(array("i", list(text)), array("i", [3])) for text in (b"short", b"x" * 50)
    )
    method = Dpo(model, [Pair(short, long)], [], torch.zeros(1, 2), beta=0.1)
    method._budget = 60

    method.learn([0], _never)

    assert model.model.get_base_model().is_activation_checkpointing


def test_the_same_seed_gives_the_same_training_and_another_seed_another(base, tmp_path):
    first, again, other = (
        _train(write_job(tmp_path / name, base, chats(12), seed=seed, n_epochs=1))
        for name, seed in (("first", 3), ("again", 3), ("other", 4))
    )

    assert curve(first) == curve(again)
    assert curve(first) != curve(other)
    result = "checkpoints/step-12/adapter_model.safetensors"
    assert (first / result).read_bytes() == (again / result).read_bytes()


@pytest.mark.parametrize(
    "wish",
    [{"n_epochs": 3}, {"batch_size": 6}, {"learning_rate_multiplier": 3.0}],
    ids=["epochs", "batch", "rate"],
)
def test_each_hyperparameter_changes_the_curve(base, tmp_path, wish):
    usual = {"n_epochs": 2, "batch_size": 4, "learning_rate_multiplier": 1.0}
    plain = _train(write_job(tmp_path / "plain", base, chats(12), **usual))

    changed = _train(write_job(tmp_path / "changed", base, chats(12), **(usual | wish)))

    assert curve(changed) != curve(plain)
    assert log_of(changed, "plan")[0]["hyperparameters"] == usual | wish


@pytest.mark.parametrize("wish", [{"beta": 0.5}, {"l2_multiplier": 10.0}], ids=["beta", "l2"])
def test_each_hyperparameter_of_preferences_changes_the_curve(base, tmp_path, wish):
    usual = {"n_epochs": 2, "batch_size": 4, "learning_rate_multiplier": 10.0}
    usual |= {"beta": 0.1, "l2_multiplier": 0.0}
    plain = _train(write_job(tmp_path / "plain", base, preferences(12), method="dpo", **usual))

    changed = _train(
        write_job(tmp_path / "changed", base, preferences(12), method="dpo", **(usual | wish))
    )

    assert curve(changed) != curve(plain)


def test_a_tiny_model_learns_a_tiny_set(base, tmp_path):
    folder = write_job(tmp_path / "job", base, chats(20), chats(5, start=50), n_epochs=6)

    _train(folder)

    losses = curve(folder)
    assert sum(losses[-20:]) < 0.4 * sum(losses[:20])
    judged = curve(folder, "full_valid_loss")
    assert judged[-1] < judged[0]


def test_preferences_raise_the_margin_of_pairs_that_were_not_seen(base, tmp_path):
    folder = write_job(
        tmp_path / "job",
        base,
        preferences(24),
        preferences(6, start=70),
        method="dpo",
        n_epochs=3,
        batch_size=4,
    )

    _train(folder)

    assert curve(folder)[0] == pytest.approx(0.693147, abs=1e-3)  # bf16 has no more digits
    margins = curve(folder, "full_valid_reward_margin")
    assert 0 < margins[0] < margins[-1]
    assert curve(folder, "full_valid_reward_accuracy")[-1] == 1.0


class _Tight(TunedModel):
    """A model with memory for forty tokens at a time."""

    saves_memory = False

    def piece_budget(self) -> int:
        return 40

    def learns(self, *, saves_memory: bool) -> None:
        self.saves_memory = saves_memory
        super().learns(saves_memory=saves_memory)


@pytest.mark.parametrize("longer", ["chosen", "rejected"])
def test_a_pair_with_one_long_end_is_learned_in_less_memory(base, longer):
    model = _Tight.load(base / "hf", None, seed=1)
    ends = {end: Tokens(array("i", [1] * 4), array("i", [3])) for end in ("chosen", "rejected")}
    ends[longer] = Tokens(array("i", [1] * 30), array("i", [29]))

    Dpo(model, [Pair(**ends)], [], torch.zeros(1, 2), beta=0.1).learn([0], _never)

    assert model.saves_memory


def test_a_training_goes_on_from_an_adapter(base, tmp_path):
    first = _train(write_job(tmp_path / "first", base, chats(20), n_epochs=3))

    second = write_job(
        tmp_path / "second",
        base,
        chats(20),
        adapter=first / "checkpoints" / "step-60",
        n_epochs=1,
    )

    losses = curve(_train(second))
    assert losses[0] < 0.7 * curve(first)[0]


def test_preferences_may_start_from_an_adapter_which_is_then_the_reference(base, tmp_path):
    first = _train(write_job(tmp_path / "first", base, chats(20), n_epochs=1))

    second = write_job(
        tmp_path / "second",
        base,
        preferences(12),
        method="dpo",
        adapter=first / "checkpoints" / "step-20",
        n_epochs=1,
    )

    assert curve(_train(second))[0] == pytest.approx(0.693147, abs=1e-5)


def test_what_is_cut_off_and_left_out_is_told(base, tmp_path):
    long = chats(1)
    long[0]["messages"][1]["content"] = "word " * 200
    silent = chats(1, start=3)
    silent[0]["messages"][1]["weight"] = 0
    folder = write_job(tmp_path / "job", base, [*chats(10), *long, *silent], n_epochs=1)

    _train(folder)

    told = [line["message"] for line in log_of(folder, "message")]
    assert told[0].startswith("Training data: 1 of 11 texts were longer than 512 tokens")
    assert told[1].startswith("Training data: 1 example(s) were left out")
    assert log_of(folder, "plan")[0]["examples"] == 11
