"""The mathematics of learning: log-probabilities of given tokens, and the loss of each method."""

from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor

_CHUNK_BYTES = 2**26


class _LabelLogProbs(torch.autograd.Function):
    """See `label_log_probs`. The head is frozen, so its slope is worked out on the way forward.

    d log p(y | h) / dh = W[y] - softmax(W h) W: one row per token, so that neither logits nor
    probabilities are kept until the way back.
    """

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, head: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        rows = max(1, _CHUNK_BYTES // (4 * head.shape[0]))
        chunks = [
            _chunk(some, head, wanted, with_slope=ctx.needs_input_grad[0])
            for some, wanted in zip(hidden.split(rows), labels.split(rows), strict=True)
        ]
        log_probs, hits, slopes = (torch.cat(parts) for parts in zip(*chunks, strict=True))
        ctx.save_for_backward(slopes)
        ctx.mark_non_differentiable(hits)
        return log_probs, hits

    @staticmethod
    def backward(ctx: Any, slope: Tensor, _: Tensor) -> tuple[Tensor, None, None]:
        (slopes,) = ctx.saved_tensors
        return slope[:, None].to(slopes.dtype) * slopes, None, None


def _chunk(
    hidden: Tensor, head: Tensor, labels: Tensor, *, with_slope: bool
) -> tuple[Tensor, Tensor, Tensor]:
    logits = F.linear(hidden.to(head.dtype), head).float()  # (n, V)
    picked = labels[:, None]
    log_probs = logits.gather(1, picked).squeeze(1) - logits.logsumexp(1)
    hits = logits.argmax(1) == labels
    if not with_slope:
        return log_probs, hits, hidden[:, :0]
    pull = logits.softmax(1).neg_()
    pull.scatter_add_(1, picked, torch.ones_like(log_probs)[:, None])
    return log_probs, hits, (pull.to(head.dtype) @ head).to(hidden.dtype)


def label_log_probs(hidden: Tensor, head: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Log-probability of each label, and whether it was the likeliest token.

    Memory does not grow with the vocabulary: at most 64 MiB of logits exist at a time.

    Args:
        hidden: last hidden states where a label is predicted, shape (N, H).
        head: the frozen output layer, shape (V, H).
        labels: the tokens that are to come, shape (N,).

    Returns:
        log_probs: shape (N,), float32, differentiable in `hidden`.
        hits: shape (N,), bool.
    """
    log_probs, hits = cast(Any, _LabelLogProbs).apply(hidden, head, labels)
    return log_probs, hits


def supervised_loss(log_probs: Tensor, labels_of_step: int) -> Tensor:
    """A piece's share of a step's mean negative log-probability per label, in nats.

    Args:
        log_probs: of the piece's labels, shape (N,).
        labels_of_step: labels of all pieces of the step together.
    """
    return -log_probs.sum() / labels_of_step


def rewards(
    chosen: Tensor, rejected: Tensor, ref_chosen: Tensor, ref_rejected: Tensor, *, beta: float
) -> tuple[Tensor, Tensor]:
    """The implicit rewards of both ends of each preference pair: beta x log(policy / reference).

    Args:
        chosen: summed log-probabilities of the better ends under the policy, shape (B,).
        rejected: those of the worse ends.
        ref_chosen: those of the better ends under the frozen reference.
        ref_rejected: those of the worse ends under the frozen reference.
        beta: pull towards the reference, > 0.
    """
    return beta * (chosen - ref_chosen), beta * (rejected - ref_rejected)


def dpo_loss(chosen_reward: Tensor, rejected_reward: Tensor, pairs_of_step: int) -> Tensor:
    """A piece's share of a step's mean DPO loss, -log sigmoid of the rewards' margin, in nats.

    Args:
        chosen_reward: of the better ends of the piece's pairs, shape (B,).
        rejected_reward: of the worse ends.
        pairs_of_step: pairs of all pieces of the step together.
    """
    return -F.logsigmoid(chosen_reward - rejected_reward).sum() / pairs_of_step
