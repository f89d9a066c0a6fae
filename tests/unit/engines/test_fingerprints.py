"""A fingerprint changes with all that may change an answer, and says whether a seed is exact."""

from dataclasses import replace
from pathlib import Path

import pytest

from linarite.engines.fingerprints import fingerprint
from linarite.engines.installed import InstalledModel

MODEL = InstalledModel(
    "one", "chat", Path("models/one"), 512, has_chat_template=True, source={"model.gguf": "0a1b"}
)


def test_it_is_the_same_for_the_same_engine():
    first, again = (fingerprint(MODEL, [64], is_deterministic=False) for _ in range(2))

    assert first == again
    assert first.startswith("fp_")


@pytest.mark.parametrize(
    ("model", "settings"), [(replace(MODEL, source={"model.gguf": "ffff"}), [64]), (MODEL, [32])]
)
def test_it_changes_with_the_models_files_and_the_settings(model, settings):
    first = fingerprint(MODEL, [64], is_deterministic=False)

    assert fingerprint(model, settings, is_deterministic=False) != first


def test_it_says_whether_the_engine_is_deterministic():
    assert fingerprint(MODEL, [1], is_deterministic=True).endswith("_deterministic")
    assert not fingerprint(MODEL, [1], is_deterministic=False).endswith("_deterministic")
