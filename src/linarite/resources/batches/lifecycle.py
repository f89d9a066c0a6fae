"""The life of a batch.

    validating ──▶ in_progress ──▶ finalizing ──┬──▶ completed
        │  │            │              │        └──▶ expired
        │  └──▶ failed ◀┼──────────────┤
        └───────────────┴──────────────┴──▶ cancelling ──▶ cancelled

A batch whose time is over goes through `finalizing` like one that is answered: what is there is
written, and the requests that never ran make it `expired`. Past `validating`, only a failure of
the server itself makes a batch `failed`.

Contract: BatchStatus.
"""

from linarite.states import Lifecycle
from linarite.wire.batches import BatchStatus as S

BATCH = Lifecycle(
    "batch",
    {
        S.VALIDATING: frozenset({S.IN_PROGRESS, S.FAILED, S.CANCELLING}),
        S.IN_PROGRESS: frozenset({S.FINALIZING, S.FAILED, S.CANCELLING}),
        S.FINALIZING: frozenset({S.COMPLETED, S.EXPIRED, S.FAILED, S.CANCELLING}),
        S.CANCELLING: frozenset({S.CANCELLED, S.FAILED}),
        S.COMPLETED: frozenset(),
        S.FAILED: frozenset(),
        S.EXPIRED: frozenset(),
        S.CANCELLED: frozenset(),
    },
)

VALIDATED = (S.IN_PROGRESS, S.FINALIZING, S.CANCELLING)
"""The states whose tokens count against a deployment's limit (`cancelling` if it got that far)."""

OPEN = (S.VALIDATING, *VALIDATED)
"""The states that something follows."""

ENDINGS = {
    S.FINALIZING: (S.COMPLETED, S.EXPIRED),
    S.CANCELLING: (S.CANCELLED, S.CANCELLED),
}
"""How a batch that winds up ends: all its requests answered, or some of them never run."""


def entered_at(status: S) -> str:
    """The column and wire field that says when `status` was entered."""
    return f"{status}_at"
