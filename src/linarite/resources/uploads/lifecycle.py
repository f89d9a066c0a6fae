"""The life of an upload.

    pending ──┬──▶ completed
              ├──▶ cancelled
              └──▶ expired

Contract: UploadStatus.
"""

from linarite.states import Lifecycle
from linarite.wire.uploads import UploadStatus as S

UPLOAD = Lifecycle(
    "upload",
    {
        S.PENDING: frozenset({S.COMPLETED, S.CANCELLED, S.EXPIRED}),
        S.COMPLETED: frozenset(),
        S.CANCELLED: frozenset(),
        S.EXPIRED: frozenset(),
    },
)
