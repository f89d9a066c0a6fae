"""A tiny model to learn on."""

import os
from pathlib import Path

import pytest
from tests.support.tiny_models import tiny_config, write_tiny_model

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An installed model's folder, as far as training looks into it."""
    folder = tmp_path_factory.mktemp("base")
    write_tiny_model(folder / "hf", tiny_config(model_type="llama"))
    return folder
