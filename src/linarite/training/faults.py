"""Why a training ends before its time, and what its user is told.

    TrainingFailure   for good: the job has failed, for a reason that its user can act on
    Interrupted       for now: somebody wants the process to end, and will start it again

Anything else is a mistake of ours, or the end of the machine.
"""

import errno

_DISK_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_MEMORY_WORDS = ("out of memory", "can't allocate memory", "not enough memory")


class TrainingFailure(Exception):
    """The job cannot succeed.

    Args:
        code: one word for programs.
        message: what is wrong and what would be right.
        param: the field of the job that is at fault, if one is.
    """

    def __init__(self, code: str, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.param = param


class Interrupted(Exception):
    """The process was asked to end; what was learned is kept."""


def explained(error: Exception) -> TrainingFailure | None:
    """What an exception of the libraries or the system means for the user; None: nothing known."""
    if isinstance(error, OSError) and error.errno in _DISK_FULL:
        return TrainingFailure(
            "disk_full",
            "The disk that holds the job's folder is full, or files there may not become as large. "
            "Free some space or raise the limit, then start a new job.",
        )
    told = str(error).lower()
    if (
        isinstance(error, MemoryError)
        or (isinstance(error, OSError) and error.errno == errno.ENOMEM)
        or (isinstance(error, RuntimeError) and any(words in told for words in _MEMORY_WORDS))
    ):
        return TrainingFailure(
            "out_of_memory",
            "The machine ran out of memory. Lower the batch size, shorten the longest examples, "
            "or train a smaller model.",
            "hyperparameters",
        )
    return None
