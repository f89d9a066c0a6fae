"""`system_fingerprint`: a word for all that decides what an engine answers, besides the request."""

import hashlib
import os
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

import orjson

from linarite.engines import adapters
from linarite.engines.installed import FORMAT, InstalledModel, read_model
from linarite.engines.sampling import DETERMINISTIC

_LETTERS = 10
_PACKAGES = ("linarite", "openvino", "openvino-genai", "tokenizers")


def fingerprint(model: InstalledModel, settings: Sequence[Any], *, is_deterministic: bool) -> str:
    """Such as ``fp_0a1b2c3d4e``: another one where the model, a version or a setting is another.

    With ``_deterministic`` behind it the same request gets the same answer as long as it stays;
    without, a `seed` is an effort only.

    Args:
        model: whose files are told apart by their digests.
        settings: of the engine.
        is_deterministic: whether it answers each request the same again.
    """
    base = model if model.base_folder is None else read_model(model.base_folder)
    adapter = b""
    if model.adapter_folder is not None:
        adapter = (model.adapter_folder / adapters.WEIGHTS_FILE).read_bytes()
    stated = {
        "files": sorted(base.source.values()),
        "format": FORMAT,
        "adapter": hashlib.sha256(adapter).hexdigest(),
        "versions": [version(package) for package in _PACKAGES],
        "processors": len(os.sched_getaffinity(0)),
        "settings": list(settings),
    }
    digest = hashlib.sha256(orjson.dumps(stated)).hexdigest()[:_LETTERS]
    return f"fp_{digest}_{DETERMINISTIC}" if is_deterministic else f"fp_{digest}"
