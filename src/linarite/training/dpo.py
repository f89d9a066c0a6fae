"""Direct preference optimisation: the better end of each pair gains on the worse one.

The reference is the model that the job starts from. Its log-probabilities are worked out once,
before the first step, and kept with the job.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from linarite.training import durable
from linarite.training.losses import dpo_loss, rewards
from linarite.training.method import Check, Scores
from linarite.training.model import TunedModel
from linarite.training.plan import Batch, pieces
from linarite.training.writing import Tokens

_KEEP_SECONDS = 30.0


@dataclass(frozen=True)
class Pair:
    """The better and the worse end of a chat, each with what precedes it."""

    chosen: Tokens
    rejected: Tokens

    @property
    def ends(self) -> tuple[Tokens, Tokens]:
        """Both ends."""
        return self.chosen, self.rejected

    @property
    def width(self) -> int:
        """Tokens that looking at it takes, padding included."""
        return 2 * max(len(self.chosen), len(self.rejected))

    def __len__(self) -> int:
        return len(self.chosen) + len(self.rejected)


@dataclass(frozen=True)
class _Data:
    """Pairs and what the reference says to their ends, shape (N, 2)."""

    pairs: Sequence[Pair]
    reference: Tensor

    def pieces(self, places: Sequence[int], budget: int) -> Iterator[Batch]:
        """Some pairs in pieces."""
        yield from pieces(places, [pair.width for pair in self.pairs], budget)


class Dpo:
    """Learns preferences. Each pair of a step weighs the same."""

    def __init__(
        self,
        model: TunedModel,
        training: Sequence[Pair],
        validation: Sequence[Pair],
        reference: Tensor,
        beta: float,
    ) -> None:
        self._model = model
        self._training = _Data(training, reference[: len(training)])
        self._validation = _Data(validation, reference[len(training) :])
        self._beta = beta
        self._budget = model.piece_budget()
        self.lengths = [len(pair) for pair in training]
        self.validation_lengths = [len(pair) for pair in validation]

    def learn(self, batch: Sequence[int], check: Check) -> Scores:
        """See `Method.learn`."""
        totals = _Totals()
        for piece in self._training.pieces(batch, self._budget):
            check()
            widest = max(self._training.pairs[place].width for place in piece)
            self._model.learns(saves_memory=widest > self._budget)
            self._losses(self._training, piece, len(batch), totals).backward()
        return totals.means(len(batch))

    @torch.no_grad()
    def judge(self, places: Sequence[int], check: Check) -> Scores:
        """See `Method.judge`."""
        totals = _Totals()
        self._model.looks()
        for piece in self._validation.pieces(places, self._budget):
            check()
            self._losses(self._validation, piece, len(places), totals)
        return totals.means(len(places))

    def _losses(self, data: _Data, piece: Batch, pairs: int, totals: "_Totals") -> Tensor:
        """The loss of a piece, whose figures are added to the totals."""
        sums, hits, labels = _end_log_probs(self._model, [data.pairs[place] for place in piece])
        reference = data.reference[list(piece)].to(sums.device)
        chosen, rejected = rewards(
            sums[0], sums[1], reference[:, 0], reference[:, 1], beta=self._beta
        )
        loss = dpo_loss(chosen, rejected, pairs)
        totals.loss += loss.item()
        totals.chosen += chosen.sum().item()
        totals.rejected += rejected.sum().item()
        totals.right += int((chosen > rejected).sum())
        totals.hits += hits
        totals.labels += labels
        return loss


@dataclass
class _Totals:
    """Sums over the pairs of a step; of the loss, the mean."""

    loss: float = 0.0
    chosen: float = 0.0
    rejected: float = 0.0
    right: int = 0
    hits: int = 0
    labels: int = 0

    def means(self, pairs: int) -> Scores:
        return {
            "loss": self.loss,
            "mean_token_accuracy": self.hits / self.labels,
            "reward_margin": (self.chosen - self.rejected) / pairs,
            "reward_accuracy": self.right / pairs,
            "reward_chosen": self.chosen / pairs,
            "reward_rejected": self.rejected / pairs,
        }


def reference_log_probs(
    model: TunedModel, pairs: Sequence[Pair], kept: Path, check: Check
) -> Tensor:
    """What the model says to both ends of each pair, summed over an end's targets.

    Args:
        model: as the job starts from it.
        pairs: of training and validation.
        kept: a file that holds the answer, or the part of it that is known already.
        check: see `Check`.

    Returns:
        Log-probabilities of chosen and rejected ends, shape (len(pairs), 2).
    """
    known = _known(kept, len(pairs))
    waiting = [place for place in range(len(pairs)) if torch.isnan(known[place, 0])]
    widths = [pair.width for pair in pairs]
    model.looks()
    kept_at = time.monotonic()
    try:
        for piece in pieces(waiting, widths, model.piece_budget()):
            check()
            with torch.no_grad():
                sums, _, _ = _end_log_probs(model, [pairs[place] for place in piece])
            known[list(piece)] = sums.T.cpu()
            if time.monotonic() - kept_at > _KEEP_SECONDS:
                _keep(known, kept)
                kept_at = time.monotonic()
    finally:
        if waiting:
            _keep(known, kept)
    return known


def _known(kept: Path, count: int) -> Tensor:
    try:
        known = load_file(kept)["log_probs"]
    except (FileNotFoundError, SafetensorError):
        return torch.full((count, 2), torch.nan)
    return known if known.shape == (count, 2) else torch.full((count, 2), torch.nan)


def _keep(known: Tensor, kept: Path) -> None:
    kept.parent.mkdir(exist_ok=True)
    durable.write_whole(kept, save({"log_probs": known}))


def _end_log_probs(model: TunedModel, pairs: Sequence[Pair]) -> tuple[Tensor, int, int]:
    """Summed log-probabilities of the ends, shape (2, B): chosen, rejected.

    Beside them, of the chosen ends' targets: how many were the likeliest, how many there are.
    """
    ends = [pair.chosen for pair in pairs] + [pair.rejected for pair in pairs]
    log_probs, hits, counts = model.target_log_probs(ends)
    sums = torch.stack([part.sum() for part in log_probs.split(counts)])
    labels = sum(counts[: len(pairs)])
    return sums.view(2, len(pairs)), int(hits[:labels].sum()), labels
