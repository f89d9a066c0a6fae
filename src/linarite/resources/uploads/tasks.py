"""What comes round for uploads."""

from linarite.resources.uploads.service import Uploads
from linarite.tasks.task import Schedule


def schedules(uploads: Uploads) -> list[Schedule]:
    """Uploads whose two hours are over."""
    return [Schedule("uploads.expire", 60, uploads.expire)]
