"""The life of a file.

    pending ──▶ running ──▶ processed ──▶ deleted
       │           └─────▶ error ───────▶ deleted
       └──▶ error, deleted

Small files are `processed` from the start. `deleted` is what a file becomes that is deleted while
work still reads its bytes; when that ends its row goes, as that of any other deleted file goes at
once. The contract's `uploaded` and `deleting` are never entered.

Contract: FileState.
"""

from linarite.states import Lifecycle
from linarite.wire.files import FileState as S

FILE = Lifecycle(
    "file",
    {
        S.PENDING: frozenset({S.RUNNING, S.ERROR, S.DELETED}),
        S.RUNNING: frozenset({S.PROCESSED, S.ERROR, S.DELETED}),
        S.PROCESSED: frozenset({S.DELETED}),
        S.ERROR: frozenset({S.DELETED}),
        S.DELETED: frozenset(),
    },
)
