"""The life of a run of an ingestion job.

    notRunning ──▶ running ──▶ succeeded
         │            └──────▶ failed
         └────────────────────▲

A run waits in `notRunning` until a worker takes it. Cancelling ends it there at once; one that is
running is only marked, and fails as soon as its workers have let go of the index, so that the next
run never meets them. A job has one open run at most.

Contract: OperationState.
"""

from linarite.states import Lifecycle
from linarite.wire.ingestion import OperationState as S

RUN = Lifecycle(
    "run of an ingestion job",
    {
        S.NOT_RUNNING: frozenset({S.RUNNING, S.FAILED}),
        S.RUNNING: frozenset({S.SUCCEEDED, S.FAILED}),
        S.SUCCEEDED: frozenset(),
        S.FAILED: frozenset(),
    },
)

OPEN = tuple(state for state in RUN.moves if not RUN.is_final(state))
"""The states of a run that keep its job from starting another."""
