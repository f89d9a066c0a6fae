"""The life of a tuning job.

    pending ──▶ running ──┬──▶ succeeded
       │           │      └──▶ failed
       ├───────────┼─────────────▲
       └───────────┴──▶ cancelled

A job waits in `pending` until its resource has room for one more that runs; what fails before
that, fails there. Cancelling is one move: what still runs then is stopped by the worker behind it.

Contract: FineTuningState; `created` is kept by the contract for compatibility and never entered.
"""

from linarite.states import Lifecycle
from linarite.wire.models import FineTuningState as S

JOB = Lifecycle(
    "fine-tuning job",
    {
        S.PENDING: frozenset({S.RUNNING, S.FAILED, S.CANCELLED}),
        S.RUNNING: frozenset({S.SUCCEEDED, S.FAILED, S.CANCELLED}),
        S.SUCCEEDED: frozenset(),
        S.FAILED: frozenset(),
        S.CANCELLED: frozenset(),
    },
)
