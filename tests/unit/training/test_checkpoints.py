"""A checkpoint is whole or not there."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from linarite.training.checkpoints import keep_checkpoint
from linarite.training.model import TunedModel


@contextmanager
def _no_file_above(most: int) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_checkpoint_that_does_not_fit_on_the_disk_leaves_nothing_behind(base, tmp_path):
    model = TunedModel.load(base / "hf", None, seed=1)

    with _no_file_above(100_000), pytest.raises(OSError, match="File too large"):
        keep_checkpoint(tmp_path, 3, model, "tiny")

    assert list((tmp_path / "checkpoints").iterdir()) == []
    keep_checkpoint(tmp_path, 3, model, "tiny")
    assert (tmp_path / "checkpoints/step-3/adapter_model.safetensors").stat().st_size > 100_000
