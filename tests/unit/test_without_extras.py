"""The API and the worker need none of the extras: a server before others' engines has none."""

import subprocess
import sys

EXTRAS = ("numpy", "openvino", "openvino_genai", "tokenizers", "torch", "transformers")


def test_api_and_worker_load_without_the_extras():
    barred = f"import sys; sys.modules |= dict.fromkeys({EXTRAS!r})"

    subprocess.run(
        [sys.executable, "-c", f"{barred}; import linarite.app, linarite.worker"], check=True
    )
