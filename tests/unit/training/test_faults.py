"""What the machine runs out of is told in words that a user can act on."""

import errno

import pytest
import torch

from linarite.training.faults import explained


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "disk_full"),
        (OSError(errno.EFBIG, "File too large"), "disk_full"),
        (MemoryError(), "out_of_memory"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "out_of_memory"),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB"), "out_of_memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "out_of_memory"),
    ],
    ids=["disk", "limit", "python", "system", "gpu", "cpu"],
)
def test_what_ran_out_is_told(error, code):
    failure = explained(error)

    assert failure is not None
    assert failure.code == code


def test_a_mistake_of_ours_is_not_explained_away():
    assert explained(RuntimeError("mat1 and mat2 shapes cannot be multiplied")) is None
