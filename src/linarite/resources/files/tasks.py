"""The durable work of files, as the worker runs it."""

from functools import partial

from linarite.outbound import Outbound
from linarite.resources.files.importing import Importer, fail, validate
from linarite.resources.files.jsonl import Verdict
from linarite.resources.files.service import IMPORT, VALIDATE, Files
from linarite.resources.files.sweeping import drop_leftovers, drop_unused_blobs, expire_files
from linarite.tasks.task import Schedule, Task
from linarite.wire.errors import ErrorCode


def tasks(files: Files, outbound: Outbound) -> list[Task]:
    """What is put down by `files`."""
    importer = Importer(files, outbound)
    return [
        Task(VALIDATE, partial(validate, files), partial(_give_up, files), concurrency=2),
        Task(IMPORT, importer.perform, importer.give_up, concurrency=4),
    ]


def schedules(files: Files) -> list[Schedule]:
    """What comes round."""
    return [
        Schedule("files.expire", 60, partial(expire_files, files)),
        Schedule("files.drop_unused_blobs", 60, partial(drop_unused_blobs, files)),
        Schedule("files.drop_leftovers", 1800, partial(drop_leftovers, files)),
    ]


def _give_up(files: Files, file_id: str, _error: Exception) -> None:
    told = "Validation of jsonl file failed: the server could not read the file."
    fail(files, file_id, Verdict(told, ErrorCode.JSONL_VALIDATION_FAILED))
