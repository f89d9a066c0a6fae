"""The kinds of process that `serve` starts stand without the extras."""

import subprocess
import sys

EXTRAS = ("gguf", "huggingface_hub", "numpy", "openvino", "tokenizers", "torch", "transformers")


def test_the_api_and_the_worker_load_without_any_extra():
    program = (
        f"import sys; sys.modules.update(dict.fromkeys({EXTRAS!r})); "  # None: not to be found
        "from linarite.cli import kinds"
    )

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
