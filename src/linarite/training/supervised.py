"""Supervised fine-tuning: the answers of the training data become likelier, word for word."""

from collections.abc import Sequence

import torch

from linarite.training.losses import supervised_loss
from linarite.training.method import Check, Scores
from linarite.training.model import TunedModel
from linarite.training.plan import pieces
from linarite.training.writing import Tokens


class Supervised:
    """Learns the targets of single examples. Each target of a step weighs the same."""

    def __init__(
        self, model: TunedModel, training: Sequence[Tokens], validation: Sequence[Tokens]
    ) -> None:
        self._model = model
        self._training = training
        self._validation = validation
        self._budget = model.piece_budget()
        self.lengths = [len(example) for example in training]
        self.validation_lengths = [len(example) for example in validation]

    def learn(self, batch: Sequence[int], check: Check) -> Scores:
        """See `Method.learn`."""
        labels = sum(len(self._training[place].targets) for place in batch)
        loss_sum, hit_sum = 0.0, 0
        for piece in pieces(batch, self.lengths, self._budget):
            check()
            examples = [self._training[place] for place in piece]
            self._model.learns(saves_memory=self.lengths[piece[-1]] > self._budget)
            log_probs, hits, _ = self._model.target_log_probs(examples)
            loss = supervised_loss(log_probs, labels)
            loss.backward()
            loss_sum += loss.item()
            hit_sum += int(hits.sum())
        return {"loss": loss_sum, "mean_token_accuracy": hit_sum / labels}

    @torch.no_grad()
    def judge(self, places: Sequence[int], check: Check) -> Scores:
        """See `Method.judge`."""
        labels = sum(len(self._validation[place].targets) for place in places)
        loss_sum, hit_sum = 0.0, 0
        self._model.looks()
        for piece in pieces(places, self.validation_lengths, self._budget):
            check()
            examples = [self._validation[place] for place in piece]
            log_probs, hits, _ = self._model.target_log_probs(examples)
            loss_sum += supervised_loss(log_probs, labels).item()
            hit_sum += int(hits.sum())
        return {"loss": loss_sum, "mean_token_accuracy": hit_sum / labels}
